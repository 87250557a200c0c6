"""The steps of the command line: what each is given, and which function does it."""

import argparse
import getpass
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..gate import Decision
from ..measure import Measured
from ..releases import Act, Release, parsed, read, written
from . import acts
from .aliases import Aligned, align
from .drift import Comparison, look
from .ending import Finished, finish
from .errors import Code, StepError
from .files import text
from .made import make_release
from .overview import Status, status, table
from .record import Recorded, record
from .settings import Settings
from .source import CheckedOut, Wanted, checkout, wanted_by
from .testing import Trial, judge

T = TypeVar("T")


@dataclass(frozen=True)
class Word:
    """An argument, which means the same to every step."""

    text: str
    default: str | None = None


WORDS = {
    "who": Word("who acts; a person's login name by default"),
    "why": Word("for those who ask later", ""),
    "release": Word("JSON file with digest, version, revision and run"),
    "environment": Word("name of the environment; for a revert production by default"),
    "decision": Word("JSON file with the gate's decision; `test` leaves there all that it found"),
    "digest": Word("sha256:..."),
    "run": Word("name of the pipeline's run"),
    "revision": Word("full commit, or name of a branch"),
    "of": Word("JSON file with the revision: the trainer's result, or a release"),
    "notes": Word("folder for the files revision and version, each one line, for programs that read no JSON"),
    "to": Word("folder that is empty, or not there yet"),
    "training": Word("JSON file with the trainer's result"),
    "build": Word("JSON file with BuildKit's metadata"),
    "samples": Word("the labelled samples of the revision, samples.jsonl"),
    "drifted": Word("file that gets true or false"),
}


@dataclass(frozen=True)
class Step:
    """One step of the command line."""

    text: str
    run: Callable[[Settings, argparse.Namespace], Any]
    needs: tuple[str, ...] = ()
    """Words without which it does nothing."""
    may: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rendered:
    """The manifests that differed."""

    paths: tuple[str, ...]


def shown(result: Any) -> str:
    """What a step did, for people."""
    if isinstance(result, Status):
        return table(result)
    return str(result) if isinstance(result, acts.Outcome) else written(result).rstrip()


def _record(kind: type[T], path: str) -> T:
    return read(kind, text(Path(path)), path)


def _release(words: argparse.Namespace) -> Release:
    return _record(Release, words.release)


def _decision(path: str) -> Decision:
    """By itself, or with the measurements that `test` left around it."""
    said = text(Path(path))
    data = parsed(said, path)
    whole = isinstance(data, dict) and "measurements" in data
    return read(Measured, said, path).decision if whole else read(Decision, said, path)


def _act(words: argparse.Namespace) -> Act:
    try:
        who = words.who or getpass.getuser()
    except (KeyError, OSError) as problem:
        raise StepError("who acts has no name here: give one by --who", Code.WRONG) from problem
    return Act(who, words.why, acts.now())


def _checkout(given: Settings, words: argparse.Namespace) -> CheckedOut:
    if (words.revision is None) == (words.of is None):
        raise StepError("give either --revision or --of", Code.WRONG)
    wanted = Wanted(words.revision) if words.of is None else wanted_by(Path(words.of))
    return checkout(given, wanted, Path(words.to), None if words.notes is None else Path(words.notes))


def _make(given: Settings, words: argparse.Namespace) -> Release:
    return make_release(given, Path(words.training), Path(words.build), words.run)


def _built(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.built(given, _release(words), _act(words))


def _serving(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.serving(given, words.environment, _release(words), _act(words))


def _deploy(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.deploy(given, _release(words), _act(words))


def _test(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return judge(given, Trial(_release(words), Path(words.samples), Path(words.decision)), _act(words))


def _gate_ended(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.gate_ended(given, _release(words), _decision(words.decision), _act(words))


def _abandoned(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.abandoned(given, _release(words), _act(words))


def _approve(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.approve(given, words.digest, words.run, _act(words))


def _revert(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    if (words.digest is None) != (words.run is None):
        raise StepError("--digest and --run name a release together: give both, or neither", Code.WRONG)
    return acts.revert(given, words.environment or given.manifests.names[-1], _act(words), words.digest, words.run)


def _render(given: Settings, words: argparse.Namespace) -> Rendered:
    return Rendered(acts.rendered(given, _act(words)))


def _record_step(given: Settings, words: argparse.Namespace) -> Recorded:
    return record(given, _release(words), None if words.decision is None else _decision(words.decision))


def _finish(given: Settings, words: argparse.Namespace) -> Finished:
    return finish(given, words.run, _act(words))


def _align(given: Settings, _: argparse.Namespace) -> Aligned:
    return align(given)


def _drift(given: Settings, words: argparse.Namespace) -> Comparison:
    return look(given, Path(words.samples), None if words.drifted is None else Path(words.drifted))


def _status(given: Settings, _: argparse.Namespace) -> Status:
    return status(acts.releases(given))


STEPS = {
    "checkout": Step(
        "put a revision of the model's repository into a folder", _checkout, ("to",), ("revision", "of", "notes")
    ),
    "release": Step("make a release of a training and a build", _make, ("training", "build", "run")),
    "deploy": Step("put a release into the first environment, and wait for it", _deploy, ("who", "release"), ("why",)),
    "test": Step(
        "let the gate measure a release, and record its outcome",
        _test,
        ("who", "release", "samples", "decision"),
        ("why",),
    ),
    "record": Step("tag the version in MLflow with what the gate found", _record_step, ("release",), ("decision",)),
    "finish": Step(
        "after a run, however it ended: end its test, tag its version, align", _finish, ("who", "run"), ("why",)
    ),
    "drift": Step(
        "compare what production answered lately with its repository's samples", _drift, ("samples",), ("drifted",)
    ),
    "align": Step("make MLflow's aliases say what Git says", _align),
    "built": Step("put a release into the first environment", _built, ("who", "release"), ("why",)),
    "serving": Step(
        "wait until an environment serves a release", _serving, ("who", "environment", "release"), ("why",)
    ),
    "gate-ended": Step(
        "promote a release that passed its gate, or take it back", _gate_ended, ("who", "release", "decision"), ("why",)
    ),
    "abandoned": Step(
        "take a release back whose test ended without a decision", _abandoned, ("who", "release"), ("why",)
    ),
    "approve": Step("let a tested release into production", _approve, ("digest", "run"), ("who", "why")),
    "revert": Step(
        "withdraw a release; without a digest the one that runs now",
        _revert,
        (),
        ("who", "why", "environment", "digest", "run"),
    ),
    "render": Step("render the manifests anew after settings changed", _render, (), ("who", "why")),
    "status": Step("what runs where, since when, by whom and why", _status),
}
"""Programs say who acts; of people, who need not, the login name is taken."""
