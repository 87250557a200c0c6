"""`python -m delivery STEP --settings FILE --result FILE`: one command line for all steps."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..releases import RecordError, written
from ..repository import ContentError, RepositoryError
from .acts import Outcome
from .errors import Code, StepError
from .files import save, text
from .settings import read_settings
from .words import STEPS, WORDS, shown


def parser() -> argparse.ArgumentParser:
    """All steps and their arguments."""
    made = argparse.ArgumentParser(prog="python -m delivery")
    steps = made.add_subparsers(dest="step", required=True, metavar="STEP")
    for name, step in STEPS.items():
        command = steps.add_parser(name, help=step.text, description=step.text)
        command.add_argument("--settings", required=True, help="JSON file with the settings of all steps")
        command.add_argument("--result", help="file to write the outcome to, as JSON")
        for word in (*step.needs, *step.may):
            command.add_argument(
                f"--{word}", required=word in step.needs, default=WORDS[word].default, help=WORDS[word].text
            )
    return made


def run(words: argparse.Namespace) -> int:
    """Do one step; its exit code."""
    result = STEPS[words.step].run(read_settings(text(Path(words.settings)), words.settings), words)
    if words.result:
        save(Path(words.result), written(result))
    print(shown(result))
    return result.code if isinstance(result, Outcome) else Code.DONE


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
