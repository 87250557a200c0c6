"""Whether production is asked about something else than its model was made for. Pure.

What is compared is what it answers with the labels of the samples that its repository keeps: by the population
stability index, the sum over the classes of (seen - expected) * ln(seen / expected), of shares. 0 is no difference; 0.1
is called little and 0.25 much. Among N predictions and M samples of K classes that are of the same kind it is some
(K - 1) * (1/N + 1/M) by chance: 0.03 for 500, 1,000 and 10.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .checks import positive

HALF = 0.5
"""Added to every class on both sides: one that was never seen has a share that has a logarithm."""


@dataclass(frozen=True)
class Limits:
    """From when on it counts."""

    index: float = 0.2
    predictions: int = 500
    """Fewer say nothing."""
    hours: int = 24
    """So far back."""

    def __post_init__(self) -> None:
        """Refuse what would always or never be drift."""
        positive(self, "index", "predictions", "hours")


@dataclass(frozen=True)
class Finding:
    """What was found."""

    drifted: bool
    index: float
    predictions: int
    reason: str
    """One sentence with figures, without a full stop."""


def index(expected: Mapping[str, float], seen: Mapping[str, float]) -> float:
    """The population stability index of two counts by class."""
    classes = sorted({*expected, *seen})

    def shares(counts: Mapping[str, float]) -> list[float]:
        whole = sum(counts.values()) + HALF * len(classes)
        return [(counts.get(name, 0.0) + HALF) / whole for name in classes]

    pairs = zip(shares(expected), shares(seen), strict=True)
    return math.fsum((new - old) * math.log(new / old) for old, new in pairs)


def judge(limits: Limits, expected: Mapping[str, float], seen: Mapping[str, float]) -> Finding:
    """Whether it has drifted; with too few predictions it has not."""
    count = round(sum(seen.values()))
    asked = f"{count} predictions in {limits.hours} h"
    if count < limits.predictions:
        return Finding(False, 0.0, count, f"{asked}: {limits.predictions} are needed to say anything")
    found = index(expected, seen)
    verb = "reaches" if found >= limits.index else "is below"
    return Finding(
        found >= limits.index, found, count, f"the index of {asked} is {found:.2f}, which {verb} {limits.index:g}"
    )
