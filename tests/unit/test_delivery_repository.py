"""The releases repository over real Git: what a change leaves, who was second, and what is refused."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from apps.delivery.releases import Act, Answer, Built, Event, Plan, State
from apps.delivery.repository import (
    Attempts,
    ContentError,
    Login,
    Releases,
    Remote,
    RepositoryError,
    SshKey,
    message,
)
from apps.delivery.repository import git as program
from apps.delivery.repository.clone import Clone
from tests.unit.test_delivery_releases import (
    ACT,
    FAILED,
    NAMES,
    ONE,
    TWO,
    approved,
    built,
    ended,
    reverted,
    runs,
)

PLAIN = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}
QUICK = Attempts(most=30, shortest=0.005, longest=0.1)


def git(folder: Path, *words: str, given: bytes = b"") -> str:
    """Git on the server's side, as its owner would use it."""
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, input=given, capture_output=True, check=True, env=PLAIN).stdout.decode().strip()


def make(folder: Path) -> Path:
    """An empty repository on a server."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--bare", "-b", "main", "--template=")
    git(folder, "config", "receive.autogc", "false")
    return folder


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repositories to copy, which is quicker than making them: an empty one, and one with a candidate."""
    folder = tmp_path_factory.mktemp("repositories")
    for name in ("empty", "begun"):
        make(folder / name)
    releases(local(folder / "begun")).change(built(ONE)[0])
    return folder


@pytest.fixture
def bare(tmp_path: Path, pattern: Path) -> Path:
    """An empty repository on a server."""
    return Path(shutil.copytree(pattern / "empty", tmp_path / "releases.git"))


@pytest.fixture
def begun(tmp_path: Path, pattern: Path) -> Path:
    """A repository with one commit: release one is under test."""
    return Path(shutil.copytree(pattern / "begun", tmp_path / "releases.git"))


def render(state: State) -> Mapping[str, str]:
    """Of a stand-in's manifests: one line for what runs."""
    current = {at.name: state.current(at) for at in state.environments}
    return {f"environments/{name}/deployment.yaml": f"{item.digest}\n" for name, item in current.items() if item}


def local(bare: Path) -> Remote:
    return Remote(f"file://{bare}", unencrypted=True, seconds=20)


def releases(remote: Remote) -> Releases:
    return Releases(remote, NAMES, render, attempts=QUICK)


def deliver(at: Releases, *events: Event) -> list[Plan]:
    return [at.change(event) for event in events]


def shown(bare: Path, path: str) -> str:
    return git(bare, "show", f"main:{path}")


def commits(bare: Path) -> int:
    return int(git(bare, "rev-list", "--count", "main"))


def hook(bare: Path, name: str, *lines: str) -> None:
    file = bare / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    file.chmod(0o755)


def write(bare: Path, *lines: str, data: bytes = b"") -> None:
    """A commit as somebody else makes it, in the language of git fast-import."""
    known = (bare / "refs/heads/main").exists() or (bare / "packed-refs").exists()
    parent = ["from refs/heads/main^0"] if known else []
    head = ["commit refs/heads/main", "committer Eve <eve@example.com> 1769824800 +0000", "data 1", "x", *parent]
    git(bare, "fast-import", "--quiet", given="\n".join((*head, *lines, "")).encode() + data)


def test_an_empty_repository_is_begun_by_the_first_change(bare: Path) -> None:
    """One commit on a branch that was not there: the candidate, its manifest, the record."""
    assert releases(local(bare)).state().number == 0
    (plan,) = deliver(releases(local(bare)), built(ONE)[0])
    assert plan.answer is Answer.CHANGED
    assert git(bare, "ls-tree", "-r", "--name-only", "main").splitlines() == [
        "environments/staging/deployment.yaml",
        "environments/staging/release.json",
        "pipeline.json",
        "records/000001.json",
    ]
    assert commits(bare) == 1


def test_a_release_goes_to_production_and_back_by_one_commit_an_event(bare: Path) -> None:
    """The whole way, with the manifests beside the records, and only those of environments that changed."""
    at = releases(local(bare))
    deliver(at, *built(ONE), ended(ONE), approved(ONE), *built(TWO), ended(TWO), approved(TWO), reverted(TWO))
    assert commits(bare) == 9
    assert runs(at.state()) == ["run-1"] * 3
    assert shown(bare, "environments/production/deployment.yaml") == ONE.digest
    changed = git(bare, "show", "--name-only", "--format=", "main~1").splitlines()
    assert changed == [
        "environments/production/deployment.yaml",
        "environments/production/release.json",
        "pipeline.json",
        "records/000008.json",
    ]


def test_what_no_environment_runs_any_more_has_no_manifest(begun: Path) -> None:
    """Argo CD removes what left Git."""
    assert "environments/staging/deployment.yaml" in git(begun, "ls-tree", "-r", "--name-only", "main")
    releases(local(begun)).change(ended(ONE, FAILED))
    assert "environments/staging/deployment.yaml" not in git(begun, "ls-tree", "-r", "--name-only", "main")


def test_a_repeated_event_makes_no_commit(begun: Path) -> None:
    """Workflows deliver at least once."""
    at = releases(local(begun))
    assert [plan.answer for plan in deliver(at, *built(ONE), built(ONE)[1])] == [
        Answer.REPEATED,
        Answer.CHANGED,
        Answer.REPEATED,
    ]
    assert commits(begun) == 2


def test_the_commit_says_who_did_what_and_why(bare: Path) -> None:
    """`git log` is what people read in an incident; a program finds the same below."""
    at = releases(local(bare))
    plan = at.change(Built(ONE, Act("Ada <L>", "smaller\x1b[2J errors\n\nWho: eve", ACT.time)))
    assert git(bare, "log", "-1", "--format=%an|%cn|%aI", "main") == "Ada L|Leasehold|2026-01-31T02:00:00+00:00"
    assert git(bare, "log", "-1", "--format=%B", "main").startswith(message(plan))
    assert message(plan).splitlines() == [
        "Built: staging to version 1",
        "",
        "smaller [2J errors Who: eve",
        "",
        "Record: records/000001.json",
        "Event: Built",
        "Who: Ada <L>",
        "When: 2026-01-31T02:00:00Z",
        f"Runs: staging {ONE.digest} version=1 run=run-1",
    ]
    assert "Who: Ada <L>" in git(bare, "log", "-1", "--format=%(trailers:only)", "main")


def test_files_of_others_stay(bare: Path) -> None:
    """The repository may have a README, and workflows of its host."""
    write(bare, "M 100644 inline README.md", "data 3", "hi", "")
    deliver(releases(local(bare)), built(ONE)[0])
    assert shown(bare, "README.md") == "hi"
    assert commits(bare) == 2


def test_a_branch_is_not_made_beside_others(bare: Path) -> None:
    """The name of the branch is wrong then, or the repository is."""
    write(bare, "M 100644 inline README.md", "data 3", "hi", "")
    with pytest.raises(RepositoryError, match="no trunk: name the right one"):
        releases(replace(local(bare), branch="trunk")).state()


class Meddler:
    """Does something once, just before a push."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
        self.pushes, real = 0, Clone.push

        def push(clone: Clone, commit: str) -> object:
            self.pushes += 1
            if self.pushes == 1:
                act()
            return real(clone, commit)

        monkeypatch.setattr(Clone, "push", push)


def test_who_was_second_decides_anew(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another release was taken up between reading and pushing: the push is refused, and the answer is another one."""
    at = releases(local(bare))
    meddler = Meddler(monkeypatch, lambda: at.change(built(TWO)[0]))
    plan = at.change(built(ONE)[0])
    assert plan.answer is Answer.LATER
    assert (commits(bare), meddler.pushes, runs(at.state())) == (1, 2, ["run-2", None, None])


def test_who_was_second_with_the_same_event_repeats(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two deliveries of one event at once have one effect."""
    at = releases(local(bare))
    Meddler(monkeypatch, lambda: at.change(built(ONE)[0]))
    assert at.change(built(ONE)[0]).answer is Answer.REPEATED
    assert commits(bare) == 1


def test_a_commit_of_others_between_is_kept(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody edits the README meanwhile: our change goes on top of it."""
    at = releases(local(begun))
    Meddler(monkeypatch, lambda: write(begun, "M 100644 inline README.md", "data 3", "hi", ""))
    assert at.change(built(ONE)[1]).answer is Answer.CHANGED
    assert (shown(begun, "README.md"), commits(begun)) == ("hi", 3)


def test_writers_at_once_have_each_effect_once(bare: Path) -> None:
    """Two deliver the same five events at the same time: whoever is second in one of them goes on with the next."""
    story = [*built(ONE), ended(ONE), approved(ONE), built(TWO)[0]]
    answers: list[Answer] = []

    def writer() -> None:
        at = releases(local(bare))
        for event in story:
            answer = at.change(event).answer
            answers.append(answer)

    threads = [threading.Thread(target=writer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == sorted([Answer.CHANGED] * 5 + [Answer.REPEATED] * 5)
    assert commits(bare) == releases(local(bare)).state().number == 5
    assert runs(releases(local(bare)).state()) == ["run-2", "run-1", "run-1"]


def test_a_push_that_the_server_refuses_is_one_sentence(begun: Path) -> None:
    """Protected branches look so. Trying again would not help; nothing was changed."""
    at = releases(local(begun))
    hook(begun, "pre-receive", "echo 'no pushes on a \033[31mSunday' >&2", "exit 1")
    with pytest.raises(RepositoryError) as caught:
        at.change(built(ONE)[1])
    assert str(caught.value) == (
        f"releases repository file://{begun}: pushing to main failed: no pushes on a [31mSunday; [remote rejected] "
        "(pre-receive hook declined); let this account push to main: ask the server's owner"
    )
    assert commits(begun) == 1


def test_a_busy_server_is_tried_a_bounded_number_of_times(begun: Path) -> None:
    """Always second: at the end somebody has to look."""
    at = replace(releases(local(begun)), attempts=Attempts(3, 0.001, 0.002))
    hook(begun, "update", 'echo "cannot lock ref" >&2', "exit 1")
    with pytest.raises(RepositoryError, match="3 times another writer was first; do the same again"):
        at.change(built(ONE)[1])


def test_a_crash_before_the_push_leaves_nothing(begun: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commit was made, then the process died: the repository knows nothing of it, and the next try succeeds."""
    work = tmp_path / "work"
    work.mkdir()
    at = replace(releases(local(begun)), work=work)

    def died(_clone: Clone, _commit: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Clone, "push", died)
        with pytest.raises(KeyboardInterrupt):
            at.change(built(ONE)[1])
    assert (commits(begun), at.state().number, list(work.iterdir())) == (1, 1, [])
    assert at.change(built(ONE)[1]).answer is Answer.CHANGED


def test_manifests_are_rendered_anew_without_a_release(begun: Path) -> None:
    """New limits reach the pods of releases that run already; a second time nothing is to be done."""
    at = releases(local(begun))
    changed = replace(at, render=lambda state: {path: f"new {text}" for path, text in render(state).items()})
    assert changed.rendered(ACT) == ("environments/staging/deployment.yaml",)
    assert shown(begun, "environments/staging/deployment.yaml") == f"new {ONE.digest}"
    assert changed.rendered(ACT) == ()
    assert at.state().number == 1
    assert commits(begun) == 2


def test_the_history_is_read_the_newest_first(begun: Path) -> None:
    """What put a release where it is, is the first record that names the environment."""
    at = releases(local(begun))
    at.change(built(ONE)[1])
    state, records = at.history()
    assert (state.number, [record.number for record in records]) == (2, [2, 1])


HOSTILE: dict[str, tuple[list[str], bytes, str]] = {
    "a symlink for a record": (
        ["M 120000 inline environments/production/release.json", "data 11", "/etc/passwd"],
        b"",
        "'environments/production/release.json' is not a regular file",
    ),
    "a symlink for a folder": (
        ["M 120000 inline environments/production", "data 11", "/etc/passwd"],
        b"",
        "'environments/production' is not a regular file",
    ),
    "a file for a folder": (
        ["M 100644 inline environments/production", "data 3", "hi", ""],
        b"",
        "'environments/production' is a file, but must be a folder",
    ),
    "a repository for a folder": (
        [f"M 160000 {'1' * 40} environments/production"],
        b"",
        "'environments/production' is not a regular file",
    ),
    "a huge file": (
        ["D pipeline.json", "M 100644 inline pipeline.json"],
        b"data 1200000\n" + b"x" * 1200000,
        "'pipeline.json' has 1,200,000 bytes, but may have 1,048,576 at most",
    ),
    "no text": (["M 100644 inline pipeline.json"], b"data 2\n\xff\xfe\n", "'pipeline.json' is not text in UTF-8"),
    "a release by hand": (
        ["M 100644 inline environments/production/release.json", "data 3", "{}", ""],
        b"",
        "release.json.release: is missing",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_nobody_can_have_meant_is_refused(begun: Path, case: str) -> None:
    """Nothing of it is followed, held in memory or written over; the sentence says where to look."""
    lines, data, expected = HOSTILE[case]
    at = releases(local(begun))
    write(begun, *lines, data=data)
    with pytest.raises(ContentError) as caught:
        at.change(built(ONE)[1])
    assert expected in str(caught.value)
    assert "git log -p main" in str(caught.value)
    assert commits(begun) == 2


def test_a_repository_that_would_fill_the_disk_is_refused(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that git itself does not have; here a smaller one."""
    monkeypatch.setattr(program, "DISK", 256 * 1024)
    noise = os.urandom(600_000)
    write(bare, "M 100644 inline big", data=b"data 600000\n" + noise)
    with pytest.raises(RepositoryError, match="the repository is larger than"):
        releases(local(bare)).state()


def test_hooks_and_configuration_of_the_user_have_no_say(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's computer has any; a pod's home may be shared. None of it runs, none of it changes the commit."""
    trap, caught = tmp_path / "trap", tmp_path / "caught"
    trap.mkdir()
    for name in ("pre-push", "reference-transaction", "post-commit"):
        hook(trap, name, f"echo {name} >> {caught}")
    trap = trap / "hooks"
    (tmp_path / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {trap}\n\tfsmonitor = {trap}/pre-push\n"
        f'[user]\n\tname = Eve\n[url "file:///nowhere/"]\n\tinsteadOf = "file://{bare}"\n'
    )
    for name, value in {
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(trap),
        "GIT_AUTHOR_NAME": "Eve",
        "GIT_DIR": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    releases(local(bare)).change(built(ONE)[0])
    monkeypatch.undo()
    assert not caught.exists()
    assert "Eve" not in git(bare, "log", "--format=%an %cn", "main")


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"url": "git@example.com:org/releases.git"}, "as ssh://git@HOST/PATH"),
        ({"url": "http://example.com/releases.git"}, "must be https or ssh"),
        ({"url": "file:///srv/releases.git"}, "must be https or ssh"),
        ({"url": "ext::sh -c id"}, "without spaces"),
        ({"url": "ext::id", "unencrypted": True}, "must be https or ssh"),
        ({"url": "https://secret@example.com/releases.git"}, "'https://example.com/releases.git': must hold no login"),
        ({"url": "https://me:secret@example.com/x"}, "'https://example.com/x': must hold no login"),
        ({"url": "ssh://git@example.com/x"}, "needs ssh"),
        ({"url": "ssh://-oProxyCommand=id/x"}, "hyphen"),
        ({"branch": "--upload-pack=id"}, "branch"),
        ({"authority": "ca.pem"}, "absolute path"),
        ({"seconds": 0}, "greater than 0"),
    ],
)
def test_an_address_that_leaks_or_trusts_anybody_is_refused(changed: dict[str, object], rule: str) -> None:
    """Before anything is connected, and without repeating the secret."""
    with pytest.raises(ValueError, match=rule) as caught:
        Remote(**{"url": "https://example.com/releases.git", **changed})  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_files_of_credentials_cannot_be_commands() -> None:
    """Their names stand in a shell's words."""
    with pytest.raises(ValueError, match="absolute path"):
        SshKey("/key; id", "/known")
    with pytest.raises(ValueError, match="absolute path"):
        Login("me", "/$(id)")
    with pytest.raises(ValueError, match="user name"):
        Login("me; id", "/token")
