"""What comes after a run, however it ended: nothing of it stays half done."""

from dataclasses import dataclass

from ..releases import Abandoned, Act
from .acts import releases
from .aliases import Aligned, align
from .mlflow import registry_of
from .record import Recorded, tagged
from .settings import Settings


@dataclass(frozen=True)
class Finished:
    """What was left to do."""

    abandoned: bool
    """Whether the run's release was still under test, which it is no more."""
    recorded: Recorded | None
    """What the version in MLflow says of the gate; None where none ended in this run."""
    aligned: Aligned


def finish(settings: Settings, run: str, act: Act) -> Finished:
    """End the test of this run's release if none ended it, tag its version with what the gate found, and align.

    A release of another run is left alone. Each may be done again.
    """
    repository = releases(settings)
    candidate = repository.state().candidate
    mine = candidate is not None and candidate.release.run == run
    if candidate is not None and mine:
        repository.change(Abandoned(candidate.release, act))
    evidence = repository.evidence(run)
    recorded = None if evidence is None else tagged(registry_of(settings), evidence)
    return Finished(mine, recorded, align(settings))
