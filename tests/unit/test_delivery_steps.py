"""The steps, with real Git. The servers of models and of aliases are small ones of the test: stand-ins."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from apps.delivery import steps
from apps.delivery.gate import Decision, Outcome, Test, Verdict
from apps.delivery.measure import Limits
from apps.delivery.releases import Policy, Release, State, written
from apps.delivery.repository import Login, Releases, Remote
from apps.delivery.steps import Address, Mlflow, Settings, StepError, Waiting
from apps.delivery.steps.command import main
from tests.environments import PROJECT
from tests.unit.test_delivery_manifests import SETTINGS as MANIFESTS
from tests.unit.test_delivery_releases import ACT, FAILED, ONE, PASSED, THREE, TWO, approved, built, ended, runs
from tests.unit.test_delivery_repository import commits, git

NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there."""
PASSWORD = "hunter2-of-the-test"


def given(bare: Path, **changed: Any) -> Settings:
    settings = Settings(
        repository=Remote(f"file://{bare}", unencrypted=True, seconds=20),
        policy=Policy.APPROVAL,
        manifests=MANIFESTS,
        addresses=(Address("staging", NOWHERE),),
        waiting=Waiting(5, 0.005, 6),
        mlflow=Mlflow(NOWHERE, "Digits", None, None),
        source=None,
        gate=None,
        limits=Limits(),
        drift=None,
        work=None,
    )
    return replace(settings, **changed)


@pytest.fixture(scope="session")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories to copy: one with a candidate, and one where two awaits approval while production runs one."""
    folder = tmp_path_factory.mktemp("repositories")
    (folder / "candidate").mkdir()
    git(folder / "candidate", "init", "--quiet", "--bare", "-b", "main", "--template=")
    git(folder / "candidate", "config", "receive.autogc", "false")
    steps.releases(given(folder / "candidate")).change(built(ONE)[0])
    shutil.copytree(folder / "candidate", folder / "awaiting")
    at = steps.releases(given(folder / "awaiting"))
    for event in (built(ONE)[1], ended(ONE), approved(ONE), *built(TWO), ended(TWO)):
        at.change(event)
    return folder


@pytest.fixture
def candidate(patterns: Path, tmp_path: Path) -> Path:
    """Release one is under test."""
    return Path(shutil.copytree(patterns / "candidate", tmp_path / "releases.git"))


@pytest.fixture
def awaiting(patterns: Path, tmp_path: Path) -> Path:
    """Release two passed the gate; production runs one."""
    return Path(shutil.copytree(patterns / "awaiting", tmp_path / "releases.git"))


def state(bare: Path) -> State:
    return steps.releases(given(bare)).state()


@dataclass
class Cli:
    """The command line, with its files in a folder."""

    folder: Path
    settings: Settings

    def file(self, name: str, value: Any) -> str:
        path = self.folder / name
        path.write_text(written(value))
        return str(path)

    def __call__(self, step: str, *words: str, who: bool = True) -> int:
        common = ["--settings", self.file("settings.json", self.settings), "--result", str(self.folder / "result.json")]
        return main([step, *common, *(["--who", "ada", "--why", "test"] if who else []), *words])

    def result(self) -> Any:
        return json.loads((self.folder / "result.json").read_text())


@pytest.fixture
def cli(tmp_path: Path, candidate: Path) -> Cli:
    return Cli(tmp_path, given(candidate))


@pytest.fixture
def later(tmp_path: Path, awaiting: Path) -> Cli:
    return Cli(tmp_path, given(awaiting))


@dataclass
class Server:
    """Answers requests by a function: method, path and body to status and body."""

    url: str = ""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    login: str = ""
    answer: Callable[[str, str, Any], tuple[int, Any]] = lambda *_: (404, {})


@pytest.fixture
def server() -> Iterator[Server]:
    """A real HTTP server on this computer."""
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(text) if text else None
            found.asked.append((self.command, self.path, body))
            allowed = not found.login or self.headers.get("Authorization") == found.login
            status, answer = found.answer(self.command, self.path, body) if allowed else (401, {})
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815  names of the base class

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    yield found
    http.shutdown()
    http.server_close()


def version(release: Release) -> tuple[int, Any]:
    return 200, {"model_version": release.version, "model": "Digits", "revision": release.revision[:7]}


def test_a_release_that_was_built_is_deployed_or_waits(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 4: something else is under test, so a workflow tries again."""
    assert cli("built", "--release", cli.file("one.json", ONE)) == 0
    assert cli.result()["answer"] == "repeated"
    assert cli("built", "--release", cli.file("two.json", TWO)) == 4
    assert "later: version 1" in capsys.readouterr().out
    assert cli.result()["runs"][0] == {"environment": "staging", "release": json.loads(written(ONE))}


def test_an_environment_serves_a_release_when_every_answer_is_it(candidate: Path, server: Server) -> None:
    """While pods are replaced both versions answer; one answer of the old one begins the count anew."""
    replies = iter([(503, {}), version(TWO), *[version(ONE)] * 5, version(TWO), (200, b"no JSON"), *[version(ONE)] * 6])
    server.answer = lambda *_: next(replies)
    found = steps.serving(given(candidate, addresses=(Address("staging", server.url),)), "staging", ONE, ACT)
    assert (found.answer, found.number, len(server.asked)) == ("changed", 2, 15)
    assert server.asked[0][:2] == ("GET", "/version")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (version(TWO), "it serves version 2"),
        ((200, {"model_version": "1", "revision": "abcdef0"}), "of revision abcdef0, not 0000000"),
        ((302, {}), "it answered 302"),
        ((200, b"x" * 5_000_000), "the answer is longer than 4,194,304 bytes"),
        ((200, []), "and no JSON object"),
    ],
)
def test_an_environment_that_does_not_serve_it_is_not_waited_for_ever(
    candidate: Path, server: Server, reply: tuple[int, Any], said: str
) -> None:
    """The last answer says why; nothing is recorded, so the gate cannot pass."""
    server.answer = lambda *_: reply
    settings = given(candidate, addresses=(Address("staging", server.url),), waiting=Waiting(0.1, 0.02, 3))
    with pytest.raises(StepError, match="did not serve version 1") as caught:
        steps.serving(settings, "staging", ONE, ACT)
    assert said in str(caught.value)
    assert caught.value.code == 1
    assert commits(candidate) == 1


def test_nobody_waits_for_what_git_does_not_say(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """The release was replaced meanwhile, or the environment has no address: no wait would help."""
    two = cli.file("two.json", TWO)
    assert cli("serving", "--environment", "staging", "--release", two) == 2
    assert cli("serving", "--environment", "canary", "--release", two) == 2
    said = capsys.readouterr().err
    assert "staging is to run version 1" in said
    assert "environment = 'canary': has no address; known are: staging" in said


def test_the_gates_decision_is_the_exit_code(cli: Cli) -> None:
    """3: the gate said no, and says so again when asked again; staging went back, and the evidence is in Git."""
    one, decision = cli.file("one.json", ONE), cli.file("decision.json", FAILED)
    words = ("gate-ended", "--release", one, "--decision", decision)
    assert [cli(*words), cli(*words)] == [3, 3]
    assert cli.result()["answer"] == "repeated"
    bare = cli.folder / "releases.git"
    assert runs(state(bare)) == [None, None, None]
    assert "p95 of 100 requests is 2,310 ms" in git(bare, "show", "main:evidence/run-1.json")


def test_a_gate_that_has_not_decided_promotes_nothing(cli: Cli) -> None:
    """Nor does one that passed what nobody saw serving."""
    one = cli.file("one.json", ONE)
    unsure = Decision((Verdict(Test.P95, Outcome.UNDECIDED, "too few requests"),))
    assert cli("gate-ended", "--release", one, "--decision", cli.file("unsure.json", unsure)) == 2
    assert cli("gate-ended", "--release", one, "--decision", cli.file("passed.json", PASSED)) == 2
    assert commits(cli.folder / "releases.git") == 1


def test_a_test_that_ended_without_a_decision_frees_staging(cli: Cli) -> None:
    """Its workflow was stopped."""
    assert cli("abandoned", "--release", cli.file("one.json", ONE)) == 0
    assert runs(state(cli.folder / "releases.git")) == [None, None, None]


def test_a_person_approves_what_was_tested_and_nothing_else(later: Cli, awaiting: Path) -> None:
    """Another digest is refused; the same approval again has no effect."""
    assert later("approve", "--digest", THREE.digest, "--run", TWO.run) == 2
    assert later("approve", "--digest", TWO.digest, "--run", ONE.run) == 2
    assert commits(awaiting) == 7
    words = ("approve", "--digest", TWO.digest, "--run", TWO.run)
    assert [later(*words), later(*words)] == [0, 0]
    assert (later.result()["answer"], commits(awaiting)) == ("repeated", 8)
    assert runs(state(awaiting)) == ["run-2"] * 3


def test_a_revert_is_one_command_without_mlflow(later: Cli, awaiting: Path) -> None:
    """Nobody listens where MLflow should be, and nobody has to name a digest."""
    assert later("approve", "--digest", TWO.digest, "--run", TWO.run) == 0
    assert later("revert") == 0
    assert runs(state(awaiting)) == ["run-1"] * 3
    assert f"@{ONE.digest}" in git(awaiting, "show", "main:environments/production/deployment.yaml")
    assert later("revert", "--digest", TWO.digest, "--run", TWO.run) == 0
    assert (later.result()["answer"], commits(awaiting)) == ("repeated", 9)


def test_a_person_has_the_name_of_the_login(later: Cli, awaiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody types it in an incident. Where there is none, as in a pod, it must be given."""
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    words = ("approve", "--digest", TWO.digest, "--run", TWO.run)
    assert later(*words, who=False) == 0
    assert git(awaiting, "log", "-1", "--format=%an", "main") == "grace"

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert later("revert", who=False) == 2
    assert later("status", who=False) == 0


def test_a_revert_that_cannot_be_meant_is_refused(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """Production that runs nothing, a candidate that has its own end, half a name, an environment that is none."""
    assert cli("revert") == 2
    assert cli("revert", "--environment", "staging") == 2
    assert cli("revert", "--environment", "prod") == 2
    assert cli("revert", "--digest", ONE.digest) == 2
    said = capsys.readouterr().err.splitlines()
    for line, expected in zip(
        said, ("production runs nothing", "end that with `abandoned`", "'prod': is none", "give both"), strict=True
    ):
        assert expected in line


def test_production_keeps_the_only_release_that_it_has(later: Cli, awaiting: Path) -> None:
    """Taking it away would be an outage."""
    assert later("revert") == 2
    assert "no earlier release" in later.result()["reason"]
    assert commits(awaiting) == 7


def test_settings_that_changed_reach_what_runs_already(later: Cli, awaiting: Path) -> None:
    """New limits, without a release."""
    more = tuple(replace(at, replicas=3) for at in MANIFESTS.environments)
    later.settings = replace(later.settings, manifests=replace(MANIFESTS, environments=more))
    assert later("render") == 0
    assert later.result()["paths"] == [f"environments/{name}/deployment.yaml" for name in sorted(MANIFESTS.names)]
    assert "replicas: 3" in git(awaiting, "show", "main:environments/production/deployment.yaml")


class Aliases:
    """Keeps aliases as MLflow does, with its paths and bodies: a stand-in."""

    def __init__(self, server: Server, **aliases: str) -> None:
        self.aliases = aliases
        self.versions = {"1", "2", "3"}
        self.before_answer: Callable[[int], None] = lambda _: None
        self.reads = 0
        server.answer = self

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/api/2.0/mlflow/registered-models/get?name=Digits" and method == "GET":
            self.reads += 1
            self.before_answer(self.reads)
            entries = [{"alias": alias, "version": at} for alias, at in self.aliases.items()]
            return 200, {"registered_model": {"name": "Digits", **({"aliases": entries} if entries else {})}}
        if path == "/api/2.0/mlflow/model-versions/set-tag" and body["name"] == "Digits" and method == "POST":
            return 200, {}
        if path != "/api/2.0/mlflow/registered-models/alias" or body["name"] != "Digits":
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        if method == "DELETE":
            self.aliases.pop(body["alias"])
        elif body["version"] not in self.versions:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"version {body['version']} not found"}
        else:
            self.aliases[body["alias"]] = body["version"]
        return 200, {}


TARGET = {"development": "2", "staging": "2", "canary": "2", "production": "1"}


def at_mlflow(bare: Path, server: Server, **changed: Any) -> Settings:
    mlflow = Mlflow(**{"url": server.url, "model": "Digits", "login": None, "authority": None, **changed})
    return given(bare, mlflow=mlflow)


def test_aliases_follow_git(awaiting: Path, server: Server) -> None:
    """From nothing; a second time nothing is to be moved. Aliases of other people stay."""
    kept = Aliases(server, champion="3", production="3")
    found = steps.align(at_mlflow(awaiting, server))
    assert kept.aliases == {**TARGET, "champion": "3"}
    assert (found.number, len(found.moves)) == (7, 4)
    assert steps.align(at_mlflow(awaiting, server)).moves == ()


def test_an_alias_of_an_environment_that_runs_nothing_goes(candidate: Path, server: Server) -> None:
    """Else MLflow says that production runs what was never there."""
    kept = Aliases(server, production="3", staging="1")
    steps.align(at_mlflow(candidate, server))
    assert kept.aliases == {"development": "1", "staging": "1"}


def test_a_move_by_others_meanwhile_is_seen(awaiting: Path, server: Server) -> None:
    """The look after the last move finds what another one, with an older view, made wrong."""
    kept = Aliases(server)

    def meddle(reads: int) -> None:
        if reads == 2:
            kept.aliases["production"] = "3"

    kept.before_answer = meddle
    assert len(steps.align(at_mlflow(awaiting, server)).moves) == 5
    assert kept.aliases == TARGET


def test_git_that_moves_on_meanwhile_is_followed(awaiting: Path, server: Server) -> None:
    """A promotion between the two looks: the aliases say the newer state at the end."""
    kept = Aliases(server)

    def promote(reads: int) -> None:
        if reads == 1:
            steps.releases(given(awaiting)).change(approved(TWO))

    kept.before_answer = promote
    assert steps.align(at_mlflow(awaiting, server)).number == 8
    assert kept.aliases == {**TARGET, "production": "2"}


def test_aliases_that_never_rest_are_given_up(awaiting: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else keeps moving them: a person has to look."""
    monkeypatch.setattr("apps.delivery.steps.aliases.PAUSE", 0)
    monkeypatch.setattr("apps.delivery.steps.aliases.TURNS", 3)
    kept = Aliases(server)
    kept.before_answer = lambda _: kept.aliases.update(production="3")
    with pytest.raises(StepError, match="changed during 3 turns; do the same again"):
        steps.align(at_mlflow(awaiting, server))


def test_what_mlflow_refuses_is_one_sentence(awaiting: Path, server: Server) -> None:
    """A version that somebody deleted, a model that is not there, no MLflow at all, no address of one."""
    Aliases(server).versions.remove("2")
    with pytest.raises(StepError, match=r"setting development to version 2: answered 404.*version 2 not found"):
        steps.align(at_mlflow(awaiting, server))
    with pytest.raises(StepError, match="reading the aliases of Other: answered 404"):
        steps.align(at_mlflow(awaiting, server, model="Other"))
    with pytest.raises(StepError, match=r"reading the aliases of Digits: gave no answer: .* Connection refused"):
        steps.align(given(awaiting))
    with pytest.raises(StepError, match="mlflow is null"):
        steps.align(given(awaiting, mlflow=None))


def test_the_login_of_mlflow_comes_from_a_file_and_goes_nowhere_else(
    awaiting: Path, server: Server, tmp_path: Path
) -> None:
    """A redirect is not followed: another server would get the password. A wrong one is not tried again."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    login = Login("robot", str(file))
    server.login = "Basic " + base64.b64encode(f"robot:{PASSWORD}".encode()).decode()
    kept = Aliases(server)
    steps.align(at_mlflow(awaiting, server, login=login))
    assert kept.aliases == TARGET
    server.answer = lambda *_: (302, {})
    with pytest.raises(StepError, match="answered 302"):
        steps.align(at_mlflow(awaiting, server, login=login))
    assert not [path for _, path, _ in server.asked if "elsewhere" in path]
    file.write_text("wrong")
    with pytest.raises(StepError, match="answered 401") as caught:
        steps.align(at_mlflow(awaiting, server, login=login))
    assert caught.value.code == 2


def test_the_table_says_what_runs_where_since_when_by_whom_and_why(
    later: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what a person may do next, to be copied."""
    assert later("status", who=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ENVIRONMENT  VERSION  DIGEST               SINCE                 WHO  WHY",
        "staging      2        sha256:000000000000  2026-01-31T02:00:00Z  ada  test",
        "canary       2        sha256:000000000000  2026-01-31T02:00:00Z  ada  test",
        "production   1        sha256:000000000000  2026-01-31T02:00:00Z  ada  test",
        f"production: version 2 passed and awaits `approve --digest {TWO.digest} --run run-2`",
    ]
    assert later.result()["rows"][2]["release"]["run"] == "run-1"


def test_an_environment_that_never_ran_anything_has_dashes(cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    """What is under test is said to be."""
    assert cli("status", who=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["production", "-", "-", "-", "-"]
    assert lines[4] == "staging: under test"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"policy": "approval"', '"policy": "nobody"', "settings.json.policy"),
        ('"seconds": 20', '"second": 20', "repository.second: unknown key"),
        ('"environment": "staging"', '"environment": "stage"', "'stage' is no environment"),
        ("127.0.0.1:9", "me:secret@127.0.0.1:9", "without a login"),
        ('"answers": 6', '"answers": 0', "answers = 0: must be greater than 0"),
        ("file://", "ext::", "must be https or ssh"),
    ],
)
def test_wrong_settings_are_named_with_their_place(
    cli: Cli, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    """Exit code 2: trying again does not help."""
    file = cli.folder / "settings.json"
    text = written(cli.settings)
    assert old in text
    file.write_text(text.replace(old, new))
    assert main(["status", "--settings", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_what_a_step_finds_decides_whether_trying_again_helps(
    cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No repository: 1. A file that is not there: 2. A repository that somebody edited by hand: 2."""
    assert cli("built", "--release", str(cli.folder / "none.json")) == 2
    bare = cli.folder / "releases.git"
    bare.rename(cli.folder / "away")
    assert cli("status", who=False) == 1
    (cli.folder / "away").rename(bare)
    monkeypatch.setattr(Releases, "history", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    assert cli("status", who=False) == 1
    assert "status: no space left" in capsys.readouterr().err


def test_the_settings_are_read_as_they_were_written(candidate: Path) -> None:
    """Pulumi writes them, the steps read them: one text for both."""
    assert steps.read_settings(written(given(candidate)), "settings") == given(candidate)


def test_in_an_image_the_folder_is_the_package(later: Cli) -> None:
    """`python -m delivery`, with the standard library and git alone: neither this project nor its packages."""
    command = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import runpy,sys; sys.path.insert(0, sys.argv.pop(1)); sys.argv[0] = ''",
    ]
    command[-1] += "; runpy.run_module('delivery', run_name='__main__')"
    words = [str(PROJECT / "apps"), "status", "--settings", later.file("settings.json", later.settings)]
    ran = subprocess.run([*command, *words], capture_output=True, text=True, check=True, cwd="/", env=dict(os.environ))
    assert ran.stdout.startswith("ENVIRONMENT  VERSION")
