"""The gate's thresholds and error rates. Values that contradict each other are refused, with the remedy.

False promotions: of releases that truly break one of the rules by however little, at most `Errors.false_promotion`
pass. False reverts: of releases that are truly good, at most `Errors.false_revert` fail. Good is not the mere opposite
of bad: no number of requests tells what lies just within a rule from what lies just outside. Between them is a zone of
indifference. At the default gate:

| test | bad | good | either way |
|---|---|---|---|
| success | <= 95 % of requests are answered | >= 99 % answered, and in time | between |
| p95 | p95 >= 2,000 ms | 99 % of requests answered under 2,000 ms | between |
| accuracy | 5 points or more below production's | not below it; <= 8 % of samples disagree | between |
| latency | slower than 1.5 times production's on half of the samples | on <= 25 % of the samples | between |

Integration, restarts and memory are not estimates: one violation that was seen fails the release. That there may be one
which was not seen is not covered, nor are requests that depend on each other (see `sequential`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..checks import positive
from . import paired, sequential

STATISTICAL_TESTS = 4
"""Success, p95, accuracy and latency. A good release may fail by each of them, so they share `false_revert`. A bad one
must pass all, so that each may use the whole of `false_promotion`."""
BY_EVIDENCE = 0.25
"""Of the accuracy test's part: how often a good candidate may fail by evidence; the rest is for samples that end too
early."""


def _shares(owner: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(owner, name) < 1:
            raise ValueError(f"{name} = {getattr(owner, name)}: must lie between 0 and 1, give 0.95 for 95 %")


@dataclass(frozen=True)
class Errors:
    """How often the gate may mislead."""

    false_promotion: float = 0.01
    false_revert: float = 0.05

    def __post_init__(self) -> None:
        """Refuse what is no chance."""
        _shares(self, "false_promotion", "false_revert")


@dataclass(frozen=True)
class Contract:
    """What `/predict` must answer: a JSON object with a known class and a probability."""

    classes: frozenset[str]
    label: str = "label"
    """Key of the class name."""
    probability: str = "probability"
    """Key of a number from 0 to 1."""
    samples: int = 20
    """So many answers are looked at."""
    attempts: int = 60
    """Requests in all, until so many answers are there."""

    def __post_init__(self) -> None:
        """Refuse a contract that anything or nothing fulfils."""
        positive(self, "samples")
        if not self.classes:
            raise ValueError("classes is empty: name the classes that the model knows")
        if self.attempts < self.samples:
            raise ValueError(f"attempts = {self.attempts}: must be at least samples, {self.samples}")


@dataclass(frozen=True)
class Resources:
    """What a pod may use under load."""

    memory_share: float = 0.9
    """Of its limit; the rest is for what the load test does not do."""
    readings: int = 3
    """So many times at least its memory is read under load."""

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        positive(self, "readings")
        _shares(self, "memory_share")


@dataclass(frozen=True)
class Load:
    """How much load, and what must hold under it."""

    requests: int = 100
    """In a round; most good releases need one or two."""
    concurrency: int = 10
    rounds: int = 5
    """The last one decides."""
    success: float = 0.95
    """More than this share must be answered."""
    p95_ms: float = 2000.0
    """95 % of requests must take less."""
    good: float = 0.99
    """A release that answers this share, and in time, is good."""

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        positive(self, "requests", "concurrency", "rounds", "p95_ms")
        _shares(self, "success", "good")
        lowest = max(self.success, 0.95)
        if self.good <= lowest:
            raise ValueError(f"good = {self.good:g}: must be greater than {lowest:g}, the share that a release needs")


@dataclass(frozen=True)
class Comparison:
    """How much worse than production a release may be, on the same labelled samples."""

    samples: int = 100
    """In a round."""
    rounds: int = 10
    accuracy_margin: float = 0.05
    latency_ratio: float = 1.5
    latency_floor_ms: float = 50.0
    """Faster than this is never too slow: a ratio of two small numbers is noise."""
    good_slower: float = 0.25
    """A release that exceeds the ratio on this share of samples is good."""

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        positive(self, "samples", "rounds", "latency_floor_ms")
        _shares(self, "accuracy_margin", "good_slower")
        if self.latency_ratio < 1:
            raise ValueError(f"latency_ratio = {self.latency_ratio:g}: must be 1 or more")
        if self.good_slower >= 0.5:
            raise ValueError(
                f"good_slower = {self.good_slower:g}: must be smaller than 0.5, the share that is too slow"
            )


@dataclass(frozen=True)
class Settings:
    """All of the gate."""

    contract: Contract
    resources: Resources = field(default_factory=Resources)
    load: Load = field(default_factory=Load)
    comparison: Comparison = field(default_factory=Comparison)
    errors: Errors = field(default_factory=Errors)

    def __post_init__(self) -> None:
        """Refuse error rates that so few samples cannot give."""
        for _ in self._plans():
            pass

    def _plans(self) -> Iterator[sequential.Plan]:
        yield from (self.success_plan, self.p95_plan, self.latency_plan)

    @property
    def _false_fail(self) -> float:
        return self.errors.false_revert / STATISTICAL_TESTS

    @property
    def _errors(self) -> dict[str, float]:
        return {"false_pass": self.errors.false_promotion, "false_fail": self._false_fail}

    def _load_plan(self, bad: float) -> sequential.Plan:
        load, good = self.load, round(1 - self.load.good, 12)
        return sequential.plan(load.requests, load.rounds, bad=bad, good=good, **self._errors)

    @property
    def success_plan(self) -> sequential.Plan:
        """The test of the share of requests that are not answered."""
        return self._load_plan(round(1 - self.load.success, 12))

    @property
    def p95_plan(self) -> sequential.Plan:
        """The test of the share of requests that are not answered in time: p95 is below the limit if 5 % are not."""
        return self._load_plan(0.05)

    @property
    def latency_plan(self) -> sequential.Plan:
        """The test of the share of samples on which the release is too much slower: a sign test."""
        at = self.comparison
        return sequential.plan(at.samples, at.rounds, bad=0.5, good=at.good_slower, **self._errors)

    @property
    def accuracy_bet(self) -> paired.Bet:
        """The test of the difference in accuracy."""
        at = self.comparison
        by_evidence = self._false_fail * BY_EVIDENCE
        return paired.Bet(at.accuracy_margin, at.samples * at.rounds, self.errors.false_promotion, by_evidence)
