"""The steps of a run: a checkout, a release of what was made, its test, and the end. Real Git; model servers, the
cluster's API and MLflow are small servers of the test: stand-ins."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.delivery import manifests, steps
from apps.delivery.gate import Outcome
from apps.delivery.releases import Act, Answer, RecordError, written
from apps.delivery.repository import ContentError, Remote
from apps.delivery.steps import Address, Settings, StepError, Trial, Waiting
from apps.delivery.steps.source import Wanted, wanted_by
from tests.unit.test_delivery_manifests import SETTINGS as MANIFESTS
from tests.unit.test_delivery_measure import LIMITS, SETTINGS, Bench
from tests.unit.test_delivery_measure_load import SAMPLES, error, every
from tests.unit.test_delivery_releases import ACT, ONE
from tests.unit.test_delivery_repository import git
from tests.unit.test_delivery_steps import (
    Aliases,
    Cli,
    Server,
    at_mlflow,
    awaiting,
    candidate,
    cli,
    given,
    patterns,
    server,
    state,
)

__all__ = ["awaiting", "candidate", "cli", "patterns", "server"]
WHO = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
REVISION = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "d" * 64
MODELS = MANIFESTS.image.partition("/")[2]
TRAINED = {
    **{"passed": True, "reason": "", "model": "Digits", "model_version": "7", "run_id": "x"},
    **{"revision": REVISION, "sha256": "a" * 64, "metrics": {"accuracy": 0.96}},
}
BUILT = {"containerimage.digest": DIGEST, "image.name": "registry.registry.svc/models/digits:run-9"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model's repository with a branch of two commits."""
    folder = tmp_path / "model"
    folder.mkdir()
    git(folder, "init", "--quiet", "-b", "main", "--template=")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    for name in ("first", "second"):
        (folder / "file").write_text(name)
        (folder / "samples.jsonl").write_text("")
        git(folder, "add", ".")
        git(folder, *WHO, "commit", "--quiet", "-m", name)
    return folder


def of(source: Path, candidate: Path) -> Settings:
    return given(candidate, source=Remote(f"file://{source}", unencrypted=True, seconds=20))


def test_a_branch_is_checked_out_as_the_commit_that_it_says_now(source: Path, candidate: Path, tmp_path: Path) -> None:
    """What comes after names the commit: the branch may move on meanwhile. Git's own folder is not in the checkout."""
    newest = git(source, "rev-parse", "HEAD").strip()
    (tmp_path / "notes").mkdir()
    made = steps.checkout(of(source, candidate), Wanted("main", "7"), tmp_path / "to", tmp_path / "notes")
    assert made.revision == newest
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["file", "samples.jsonl"]
    assert (tmp_path / "to" / "file").read_text() == "second"
    assert (tmp_path / "notes" / "revision").read_text() == f"{newest}\n"
    assert (tmp_path / "notes" / "version").read_text() == "7\n"


def test_an_older_commit_is_checked_out_by_its_name(source: Path, candidate: Path, tmp_path: Path) -> None:
    """A release is tested with the samples of its own revision."""
    old = git(source, "rev-parse", "HEAD~1").strip()
    steps.checkout(of(source, candidate), Wanted(old), tmp_path / "to")
    assert (tmp_path / "to" / "file").read_text() == "first"


@pytest.mark.parametrize("revision", ["nowhere", "0" * 40, "--upload-pack=x", "main:x", "../main", "HEAD~1"])
def test_a_revision_that_is_not_there_is_named_and_leaves_nothing(
    source: Path, candidate: Path, tmp_path: Path, revision: str
) -> None:
    """It is somebody's text: no option of git, no path."""
    with pytest.raises(ContentError, match="source repository"):
        steps.checkout(of(source, candidate), Wanted(revision), tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


def test_a_link_that_leads_out_of_the_checkout_is_refused(source: Path, candidate: Path, tmp_path: Path) -> None:
    """Whoever wrote the revision would read the step's token by it."""
    (source / "samples.jsonl").unlink()
    (source / "samples.jsonl").symlink_to("/run/tokens/git")
    git(source, "add", ".")
    git(source, *WHO, "commit", "--quiet", "-m", "link")
    with pytest.raises(ContentError, match="leads out of the checkout"):
        steps.checkout(of(source, candidate), Wanted("main"), tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.parametrize(("value", "version"), [(TRAINED, "7"), (ONE, ONE.version)])
def test_a_trainers_result_and_a_release_say_what_they_were_made_of(tmp_path: Path, value: Any, version: str) -> None:
    """So that the build and the test see the same files as the training did."""
    file = tmp_path / "given.json"
    file.write_text(json.dumps(value) if isinstance(value, dict) else written(value))
    assert wanted_by(file) == Wanted(REVISION if value is TRAINED else ONE.revision, version)
    file.write_text("{}")
    with pytest.raises(RecordError, match="revision: must be a string"):
        wanted_by(file)


def test_a_release_is_what_the_trainer_and_the_build_say(cli: Cli) -> None:
    """Its digest is the build's, its version and revision are the trainer's. What attests more is an index."""
    training, build = cli.folder / "training.json", cli.folder / "build.json"
    training.write_text(json.dumps(TRAINED))
    index = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": DIGEST, "size": 856}
    image = {**BUILT, "image.name": f"registry.registry.svc/{MODELS}:run-9", "containerimage.descriptor": index}
    build.write_text(json.dumps(image))
    words = ("--training", str(training), "--build", str(build), "--run", "run-9")
    assert cli("release", *words, who=False) == 0
    assert cli.result() == {"digest": DIGEST, "version": "7", "revision": REVISION, "run": "run-9"}


@pytest.mark.parametrize(
    ("training", "build", "said"),
    [
        ({"passed": False, "reason": "accuracy 0.2", "model_version": None, "sha256": None}, {}, (3, "accuracy 0.2")),
        ({"passed": False, "reason": "x"}, {}, (2, "model_version: must be null")),
        ({"model": "Other"}, {}, (2, "must be 'Digits'")),
        ({"sha256": "x"}, {}, (2, "64 hexadecimal digits")),
        ({"revision": "main"}, {}, (2, "revision")),
        ({}, {"containerimage.digest": "sha256:1"}, (2, "digest")),
        ({}, {"containerimage.digest": None}, (2, "must be a string")),
        ({}, {"image.name": "registry/other:1"}, (2, "which environments pull")),
        ({}, {"containerimage.descriptor": {"digest": "sha256:2"}}, (2, "is not the descriptor's")),
    ],
)
def test_a_release_that_contradicts_what_made_it_is_none(
    cli: Cli, capsys: pytest.CaptureFixture[str], training: dict[str, Any], build: dict[str, Any], said: tuple[int, str]
) -> None:
    """A model that failed its trainer's tests ends the run with 3: nothing after it changes."""
    files = {"training": {**TRAINED, **training}, "build": {**BUILT, "image.name": f"r/{MODELS}:1", **build}}
    words = []
    for name, value in files.items():
        (cli.folder / f"{name}.json").write_text(json.dumps(value))
        words += [f"--{name}", str(cli.folder / f"{name}.json")]
    assert cli("release", *words, "--run", "run-9", who=False) == said[0]
    assert said[1] in capsys.readouterr().err


def test_a_test_ends_in_git_with_what_was_measured(
    candidate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured by the real functions; a second time is the first one's outcome, without a measurement."""
    bench = Bench()
    ended, asked = judged(bench, candidate, tmp_path, monkeypatch)
    assert (ended.answer, ended.code) == (Answer.CHANGED, 0)
    assert state(candidate).current(state(candidate).environments[1]) == ONE
    assert json.loads((tmp_path / "found.json").read_text())["decision"]["verdicts"]
    again, more = judged(bench, candidate, tmp_path, monkeypatch)
    assert (again.answer, again.code, more) == (Answer.REPEATED, 0, asked)


def test_a_test_that_fails_takes_staging_back_and_is_an_error_the_second_time_too(
    candidate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that is tried again must not turn a failure into something else."""
    for _ in range(2):
        ended, _ = judged(Bench(first=bad(), second=bad()), candidate, tmp_path, monkeypatch)
        assert ended.code == 3
    assert state(candidate).current(state(candidate).environments[0]) is None


def bad() -> Any:
    return replace(Bench().first, predict=every(2, error))


def judged(bench: Bench, bare: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[steps.Outcome, int]:
    """The outcome of the step, and how many predictions were asked for since the bench began."""
    lines = [json.dumps({"body": json.loads(sample.body), "truth": sample.truth}) for sample in SAMPLES]
    (folder / "samples.jsonl").write_text("\n".join(lines))
    bench.first.version = bench.second.version = json.dumps({"model_version": ONE.version})
    with bench.running(folder) as (target, api):
        monkeypatch.setattr(manifests, "CONTAINER", target.pods.container)
        monkeypatch.setattr(manifests, "PORT", target.pods.port)
        addresses = tuple(Address(name, target.service.url) for name in ("staging", "canary", "production"))
        settings = given(bare, addresses=addresses, gate=SETTINGS, limits=LIMITS, waiting=Waiting(5, 0.005, 6))
        if state(bare).candidate is not None:
            steps.serving(settings, "staging", ONE, ACT)
        trial = Trial(ONE, folder / "samples.jsonl", folder / "found.json")
        return steps.judge(settings, trial, ACT, api), len(bench.first.asked)


def test_what_is_not_served_yet_is_not_tested(candidate: Path, tmp_path: Path) -> None:
    """The gate would measure what ran before."""
    with pytest.raises(StepError, match="was not seen serving"):
        steps.judge(given(candidate), Trial(ONE, tmp_path / "a", tmp_path / "b"), ACT)


def test_what_was_never_deployed_is_not_tested(candidate: Path, tmp_path: Path) -> None:
    """Its evidence would be another's."""
    other = replace(ONE, run="run-77")
    with pytest.raises(StepError, match="is not under test in staging"):
        steps.judge(given(candidate), Trial(other, tmp_path / "a", tmp_path / "b"), ACT)


def test_the_end_of_a_run_takes_its_own_candidate_back_and_no_other(candidate: Path, server: Server) -> None:
    """A run that was stopped in the middle must not keep staging for ever."""
    Aliases(server)
    settings = at_mlflow(candidate, server)
    other = steps.finish(settings, "run-77", Act("ada", "", steps.acts.now()))
    assert not other.abandoned
    assert state(candidate).candidate is not None
    ended = steps.finish(settings, ONE.run, Act("ada", "", steps.acts.now()))
    assert ended.abandoned
    assert ended.recorded is None
    assert state(candidate).candidate is None
    assert not steps.finish(settings, ONE.run, ACT).abandoned


def test_the_end_of_a_run_tags_the_version_with_what_the_gate_found(awaiting: Path, server: Server) -> None:
    """Who looks at a version in MLflow sees whether it passed, and where the evidence is."""
    kept = Aliases(server)
    done = steps.finish(at_mlflow(awaiting, server), "run-2", ACT)
    assert done.recorded is not None
    tags = {tag.key: tag.value for tag in done.recorded.tags}
    assert (tags["leasehold.gate"], tags["leasehold.evidence"]) == (Outcome.PASSED.value, "evidence/run-2.json")
    assert [body["version"] for _, path, body in server.asked if path.endswith("set-tag")] == ["2"] * len(tags)
    assert kept.aliases["staging"] == "2"
