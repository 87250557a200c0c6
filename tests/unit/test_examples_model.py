"""The example of a model's repository: what of it needs no library, and what it shares with the project.

Its own tests, in its folder, run the rest with the packages of its lock file.
"""

import asyncio
import importlib
import json
import re
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

import versions
from apps.delivery import gate
from apps.delivery.measure import read_samples

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "model"
DIGEST = "a" * 64
GIVEN = {"MLFLOW_TRACKING_URI": "http://mlflow", "MODEL_NAME": "Digits", "REVISION": "0123abc"}
RELEASE = {"model": "Digits", "model_version": "7", "revision": "0123abc", "run_id": "b" * 32, "sha256": DIGEST}
PASSED = {**RELEASE, "passed": True, "reason": "", "metrics": {"accuracy": 0.97}}


def part(name: str) -> Any:
    """A module of the example: it is a repository of its own, so it is not on the project's path."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXAMPLE))


bounds, drain = part("server.bounds"), part("server.drain")
checks, release, result, settings = (
    part(name) for name in ("trainer.checks", "digits.release", "trainer.result", "trainer.settings")
)

BOUNDS = checks.Bounds(least_accuracy=0.95, fewest_parameters=10, most_parameters=20)


@pytest.mark.parametrize(
    ("accuracy", "parameters", "same", "named"),
    [
        (0.9499, 15, True, "accuracy 0.9499"),
        (float("nan"), 15, True, "accuracy nan"),
        (0.97, 9, True, "9 parameters"),
        (0.97, 21, True, "21 parameters"),
        (0.97, 15, False, "saved and loaded"),
    ],
)
def test_each_test_of_a_model_can_fail(accuracy: float, parameters: int, same: bool, named: str) -> None:
    """A gate that cannot fail is none."""
    (reason,) = checks.failures(checks.Measurements(accuracy, parameters, same), BOUNDS)
    assert named in reason


@pytest.mark.parametrize(("accuracy", "parameters"), [(0.95, 10), (1.0, 20)])
def test_the_bounds_themselves_pass(accuracy: float, parameters: int) -> None:
    assert checks.failures(checks.Measurements(accuracy, parameters, True), BOUNDS) == ()


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = result.Result(**PASSED)
    made.write(tmp_path / "result.json")
    assert result.read(tmp_path / "result.json") == made
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    "changed",
    [{"passed": False}, {"reason": "slow"}, {"model_version": None}, {"passed": False, "reason": "slow"}],
)
def test_a_result_cannot_contradict_itself(changed: dict[str, Any]) -> None:
    """A failed training with a version would be built."""
    with pytest.raises(ValueError, match="passed="):
        result.Result(**PASSED | changed)


@pytest.mark.parametrize("content", [[], {}, {**PASSED, "more": 1}])
def test_a_result_of_another_shape_is_refused(content: object, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="exactly the keys"):
        result.read(tmp_path / "result.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", "a/b"),
        ("model_version", "0"),
        ("model_version", 7),
        ("revision", "main"),
        ("run_id", ""),
        ("sha256", ""),
    ],
)
def test_a_release_with_a_wrong_field_is_refused(key: str, value: object) -> None:
    """The server says these to the gate; a wrong one must not get as far."""
    with pytest.raises(ValueError, match=key):
        release.Release(**RELEASE | {key: value})


@pytest.mark.parametrize("key", GIVEN)
def test_a_variable_that_is_not_set_is_named(key: str) -> None:
    with pytest.raises(settings.SettingsError, match=f"not set: {key}"):
        settings.of({**GIVEN, key: ""})


@pytest.mark.parametrize(("key", "value"), [("REVISION", "main"), ("MODEL_NAME", "models:/a")])
def test_a_variable_with_a_wrong_value_is_named_with_it(key: str, value: str) -> None:
    with pytest.raises(settings.SettingsError, match=f"{key}='{value}'"):
        settings.of({**GIVEN, key: value})


def test_the_experiment_is_called_as_the_model_unless_it_is_given() -> None:
    assert settings.of(GIVEN).experiment == "Digits"
    assert settings.of({**GIVEN, "MLFLOW_EXPERIMENT_NAME": "Tries"}).experiment == "Tries"


def test_a_drain_lasts_its_time_and_ends_at_once_when_asked_again() -> None:
    """A person who presses Ctrl+C twice does not wait."""
    now = 100.0
    leaving = drain.Drain(5, lambda: now)
    assert not leaving.began
    assert not leaving.over
    leaving.ask()
    assert leaving.began
    assert not leaving.over
    now = 105.0
    assert leaving.over
    hurried = drain.Drain(5, lambda: now)
    hurried.ask()
    hurried.ask()
    assert hurried.over


def asked(*pieces: bytes, said: int | None = None, stall: bool = False) -> tuple[int, bytes]:
    """Status and body that a request gets from an application that answers with what it was sent."""
    waiting: Iterator[dict[str, Any]] = iter(
        {"type": "http.request", "body": piece, "more_body": stall or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    )
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        message = next(waiting, None)
        if message is None:
            await asyncio.sleep(60)
        return message or {}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def echo(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 (an application's arguments)
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    headers = [] if said is None else [(b"content-length", str(said).encode())]
    asyncio.run(bounds.Bounds(echo, 8, 0.05)({"type": "http", "headers": headers}, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_a_body_comes_whole_however_it_was_cut() -> None:
    assert asked(b"12", b"34", b"5678") == (200, b"12345678")


def test_a_body_is_refused_for_what_it_says_it_is_before_any_of_it_is_read() -> None:
    assert asked(said=9)[0] == 413


def test_a_body_is_refused_for_what_it_is() -> None:
    assert asked(b"12345678", b"9", said=1)[0] == 413


def test_a_body_that_stalls_is_given_up() -> None:
    """It would hold a place that others need."""
    assert asked(b"1", stall=True)[0] == 408


def test_the_image_needs_no_network_and_no_root() -> None:
    lines = [line for line in (EXAMPLE / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    words = [line.split()[0] for line in lines]
    assert not {"RUN", "ADD"} & set(words)
    assert lines[0] == f"ARG BASE_IMAGE={versions.MLFLOW.tagged}"
    assert {"FROM ${BASE_IMAGE}", "USER 65534:65534", "EXPOSE 8000"} <= set(lines)
    command = lines[-1].removeprefix("CMD ")
    assert json.loads(command) == ["python3", "-m", "server"]


def test_the_build_is_sent_only_what_it_copies() -> None:
    """A secret beside the code must not get into a layer, nor the tests."""
    copied = {line.split()[1] for line in (EXAMPLE / "Dockerfile").read_text().splitlines() if line.startswith("COPY ")}
    ignored = (EXAMPLE / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == copied


def pins(path: Path) -> dict[str, str]:
    """Versions of a lock file."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def test_its_samples_are_enough_for_the_gate() -> None:
    """With fewer, good releases would fail for want of evidence more often than the gate says."""
    labels = frozenset(part("trainer.task").LABELS)
    found = read_samples(EXAMPLE / "samples.jsonl", labels)
    wanted = gate.Comparison()
    assert len(found) >= wanted.samples * wanted.rounds
    assert {sample.truth for sample in found} == labels


def test_the_example_is_tested_with_what_its_base_image_has() -> None:
    base, own = pins(ROOT / "rehearsal" / "images" / "mlflow.lock"), pins(EXAMPLE / "requirements.lock")
    served = ("fastapi", "mlflow", "numpy", "prometheus-client", "pydantic", "scikit-learn", "starlette", "uvicorn")
    assert {name: own[name] for name in served} == {name: base[name] for name in served}


@pytest.mark.parametrize("folder", sorted((EXAMPLE / "revisions").glob("*/")), ids=lambda folder: folder.name)
def test_a_revision_replaces_one_file_of_the_example(folder: Path) -> None:
    """What makes it good or bad can be read in one place; a file that was renamed would silently change nothing."""
    (file,) = (path for path in folder.rglob("*.py") if path.is_file())
    original = EXAMPLE / file.relative_to(folder)
    assert original.read_text() != file.read_text()


def test_nothing_of_the_example_knows_the_project() -> None:
    """It is a user's repository."""
    for file in EXAMPLE.rglob("*.py"):
        assert not re.search(
            r"^\s*(?:from|import) (?:mlops|rehearsal|versions|config|infra|apps)\b", file.read_text(), re.M
        )
