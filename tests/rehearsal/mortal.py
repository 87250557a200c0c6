"""The command line, killed in the middle: `python -m tests.rehearsal.mortal VERB FILE up`, as `python -m rehearsal up`.

At the first create (or update, or delete) of a type that the file does not name yet, it writes the name there and ends
by SIGKILL, with all that it started: the provider has done its work, and the state does not know that.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from rehearsal.cli import main
from rehearsal.engine.run import Run
from rehearsal.engine.state import Resource
from rehearsal.protocol import Result

Work = Callable[[], Result | None]


def make_mortal(verb: str, file: Path) -> None:
    """Let every run of the engine in this process end so."""
    perform, one = Run.perform, threading.Lock()

    def mortal(run: Run, op: str, resource: Resource, done: str, work: Work, *news: Resource | None) -> Result | None:
        def last() -> Result | None:
            result = work()
            with one:
                if done == verb and resource.type not in types(file):
                    with file.open("a") as known:
                        known.write(f"{resource.type}\n")
                    os.killpg(0, signal.SIGKILL)
            return result

        return perform(run, op, resource, done, last, *news)

    Run.perform = mortal  # type: ignore[method-assign, assignment]


def types(file: Path) -> set[str]:
    """Those at which a run was killed."""
    return set(file.read_text().split()) if file.exists() else set()


if __name__ == "__main__":
    _, verb, file, *words = sys.argv
    make_mortal(verb, Path(file))
    sys.exit(main(words))
