"""What the gate is told of a release: numbers only. Who measured them, and how, is another's business."""

from dataclasses import dataclass


class MeasurementError(ValueError):
    """Measured otherwise than the gate asks for: this says nothing about the release, for or against it."""


@dataclass(frozen=True)
class Answer:
    """What `/predict` answered to one sample."""

    sample: str
    status: int | None
    """HTTP status; None where no answer came."""
    body: str = ""


@dataclass(frozen=True)
class PodUse:
    """What one pod of the release used while it was under load."""

    name: str
    restarts: int
    oom_kills: int
    peak_bytes: int
    limit_bytes: int
    readings: int
    """How many times its memory was read under load."""


@dataclass(frozen=True)
class Pair:
    """One labelled sample, answered by production and by the candidate."""

    sample: str
    truth: str
    production: str
    candidate: str
    production_ms: float
    candidate_ms: float


@dataclass(frozen=True)
class Measurements:
    """All that has been measured so far. More of it is appended, nothing is taken away or put in another order."""

    expected_version: str
    served_versions: tuple[str, ...] = ()
    """Every version that `/version` named, one for each pod that answered."""
    answers: tuple[Answer, ...] = ()
    pods: tuple[PodUse, ...] = ()
    concurrency: int = 0
    """How many requests were under way at a time."""
    requests: tuple[float | None, ...] = ()
    """Milliseconds of each request, in the order of their start (that of their end would put the quick ones first);
    None where the answer was missing or an error."""
    production: str | None = None
    """The version in production; None where there is none yet, so that there is nothing to compare with."""
    pairs: tuple[Pair, ...] = ()
    """In an order that was fixed before anything was measured."""
