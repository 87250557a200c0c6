"""What the gate says: one verdict for each test, with its figures in a sentence, and the decision that follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Undecided means that more must be measured: it is never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


class Part(StrEnum):
    """The parts of the gate, in the order in which a person reads them."""

    INTEGRATION = "integration"
    RESOURCES = "resources"
    LOAD = "load"
    COMPARISON = "comparison"


class Test(StrEnum):
    """The tests of all parts. A release passes when every one of them has passed."""

    __test__ = False  # not one of pytest's

    VERSION = "version"
    CONTRACT = "contract"
    RESTARTS = "restarts"
    OOM_KILLS = "oom_kills"
    MEMORY = "memory"
    SUCCESS = "success"
    P95 = "p95"
    ACCURACY = "accuracy"
    LATENCY = "latency"

    @property
    def part(self) -> Part:
        """The part that it belongs to."""
        return _PARTS[self]


_PARTS: Mapping[Test, Part] = {
    Test.VERSION: Part.INTEGRATION,
    Test.CONTRACT: Part.INTEGRATION,
    Test.RESTARTS: Part.RESOURCES,
    Test.OOM_KILLS: Part.RESOURCES,
    Test.MEMORY: Part.RESOURCES,
    Test.SUCCESS: Part.LOAD,
    Test.P95: Part.LOAD,
    Test.ACCURACY: Part.COMPARISON,
    Test.LATENCY: Part.COMPARISON,
}


@dataclass(frozen=True)
class Figure:
    """One measured number by its name; the unit is the name's ending."""

    name: str
    value: float


@dataclass(frozen=True)
class Verdict:
    """What one test found."""

    test: Test
    outcome: Outcome
    reason: str
    """One sentence with figures, without a full stop."""
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What the gate decides of a release."""

    verdicts: tuple[Verdict, ...]

    @property
    def outcome(self) -> Outcome:
        """One failed test fails the release; a test without a verdict leaves it undecided."""
        if any(verdict.outcome is Outcome.FAILED for verdict in self.verdicts):
            return Outcome.FAILED
        passed = {verdict.test for verdict in self.verdicts if verdict.outcome is Outcome.PASSED}
        if passed == set(Test) and len(self.verdicts) == len(passed):
            return Outcome.PASSED
        return Outcome.UNDECIDED

    @property
    def undecided(self) -> tuple[Test, ...]:
        """The tests that need more measurements."""
        return tuple(verdict.test for verdict in self.verdicts if verdict.outcome is Outcome.UNDECIDED)

    @property
    def reason(self) -> str:
        """Why, in one line: of the tests that failed, else of those that are undecided, else of all."""
        told = [verdict for verdict in self.verdicts if verdict.outcome is self.outcome]
        return "; ".join(f"{verdict.test.part}: {verdict.reason}" for verdict in told)
