"""`python -m delivery STEP --settings FILE --result FILE`: one command line for all steps."""

import argparse
import getpass
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..gate import Decision
from ..releases import Act, RecordError, Release, read, written
from ..repository import ContentError, RepositoryError
from . import acts
from .aliases import Aligned, align
from .errors import Code, StepError
from .overview import Status, status, table
from .settings import Settings, read_settings

T = TypeVar("T")
PERSONS = {"approve", "revert", "render"}
"""Steps that people do: who they are need not be given."""


@dataclass(frozen=True)
class Rendered:
    """The manifests that differed."""

    paths: tuple[str, ...]


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise StepError(f"{path}: cannot be read: {problem}", Code.WRONG) from problem


def _record(kind: type[T], path: str) -> T:
    return read(kind, _text(path), path)


def _shown(result: Any) -> str:
    if isinstance(result, Status):
        return table(result)
    return str(result) if isinstance(result, acts.Outcome) else written(result).rstrip()


def _act(words: argparse.Namespace) -> Act:
    try:
        who = words.who or getpass.getuser()
    except (KeyError, OSError) as problem:
        raise StepError("who acts has no name here: give one by --who", Code.WRONG) from problem
    return Act(who, words.why, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _built(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.built(given, _record(Release, words.release), _act(words))


def _serving(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.serving(given, words.environment, _record(Release, words.release), _act(words))


def _gate_ended(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.gate_ended(given, _record(Release, words.release), _record(Decision, words.decision), _act(words))


def _abandoned(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.abandoned(given, _record(Release, words.release), _act(words))


def _approve(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    return acts.approve(given, words.digest, words.run, _act(words))


def _revert(given: Settings, words: argparse.Namespace) -> acts.Outcome:
    if (words.digest is None) != (words.run is None):
        raise StepError("--digest and --run name a release together: give both, or neither", Code.WRONG)
    return acts.revert(given, words.environment or given.manifests.names[-1], _act(words), words.digest, words.run)


def _render(given: Settings, words: argparse.Namespace) -> Rendered:
    return Rendered(acts.rendered(given, _act(words)))


def _align(given: Settings, _: argparse.Namespace) -> Aligned:
    return align(given)


def _status(given: Settings, _: argparse.Namespace) -> Status:
    return status(acts.releases(given))


STEPS: dict[str, tuple[str, Callable[[Settings, argparse.Namespace], Any]]] = {
    "built": ("put a release into the first environment", _built),
    "serving": ("wait until an environment serves a release", _serving),
    "gate-ended": ("promote a release that passed its gate, or take it back", _gate_ended),
    "abandoned": ("take a release back whose test ended without a decision", _abandoned),
    "approve": ("let a tested release into production", _approve),
    "revert": ("withdraw a release; without a digest the one that runs now", _revert),
    "render": ("render the manifests anew after settings changed", _render),
    "align": ("make MLflow's aliases say what Git says", _align),
    "status": ("what runs where, since when, by whom and why", _status),
}


def parser() -> argparse.ArgumentParser:
    """All steps and their arguments."""
    made = argparse.ArgumentParser(prog="python -m delivery")
    steps = made.add_subparsers(dest="step", required=True, metavar="STEP")
    for name, (text, _) in STEPS.items():
        step = steps.add_parser(name, help=text, description=text)
        step.add_argument("--settings", required=True, help="JSON file with the settings of all steps")
        step.add_argument("--result", help="file to write the outcome to, as JSON")
        if name not in {"align", "status"}:
            step.add_argument("--who", required=name not in PERSONS, help="who acts; a person's login name by default")
            step.add_argument("--why", default="", help="for those who ask later")
        if name in {"built", "serving", "gate-ended", "abandoned"}:
            step.add_argument("--release", required=True, help="JSON file with digest, version, revision and run")
        if name in {"serving", "revert"}:
            step.add_argument("--environment", required=name == "serving")
        if name == "gate-ended":
            step.add_argument("--decision", required=True, help="JSON file with the gate's decision")
        if name in {"approve", "revert"}:
            step.add_argument("--digest", required=name == "approve", help="sha256:...")
            step.add_argument("--run", required=name == "approve", help="run whose test counts")
    return made


def _save(path: Path, text: str) -> None:
    """Whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)  # whoever collects results is another user
    os.replace(file.name, path)


def run(words: argparse.Namespace) -> int:
    """Do one step; its exit code."""
    result = STEPS[words.step][1](read_settings(_text(words.settings), words.settings), words)
    if words.result:
        _save(Path(words.result), written(result))
    print(_shown(result))
    return result.code if isinstance(result, acts.Outcome) else Code.DONE


def main(words: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    given = parser().parse_args(words)
    try:
        return int(run(given))
    except StepError as problem:
        reason, code = str(problem), problem.code
    except (RecordError, ContentError) as problem:
        reason, code = str(problem), Code.WRONG
    except (RepositoryError, OSError) as problem:
        reason, code = str(problem), Code.UNEXPECTED
    print(f"{given.step}: {reason}", file=sys.stderr)
    return int(code)
