"""A release, the evidence of its test, and the state of all environments as Git holds it."""

import re
from dataclasses import dataclass

from ..checks import matches, name
from ..gate import Decision, Outcome

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
VERSION = re.compile(r"[1-9][0-9]*")
REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
KEPT = 20
"""So many releases are remembered for each environment: how far back one can revert."""


@dataclass(frozen=True)
class Release:
    """What runs: an image by its digest and a model by its version, made from a revision by one run of the pipeline."""

    digest: str
    version: str
    """The model's version in MLflow."""
    revision: str
    """The commit that it was made from."""
    run: str
    """The run of the pipeline that made it. Each run makes one release; the same image can come from several."""

    def __post_init__(self) -> None:
        """Refuse what could not be found again."""
        matches("digest", self.digest, DIGEST, "sha256: and 64 hexadecimal digits")
        matches("version", self.version, VERSION, "the number of a model version in MLflow")
        matches("revision", self.revision, REVISION, "a full Git commit, 40 or 64 hexadecimal digits")
        name("run", self.run)

    def __str__(self) -> str:
        """Short, for sentences."""
        return f"version {self.version} ({self.digest[:19]}, run {self.run})"

    def same_bits(self, other: "Release") -> bool:
        """Whether the same would run, whichever run made it."""
        return (self.digest, self.version) == (other.digest, other.version)


@dataclass(frozen=True)
class Act:
    """Who did something, why and when."""

    who: str
    why: str
    time: str
    """UTC, like 2026-01-31T02:00:00Z."""

    def __post_init__(self) -> None:
        """Refuse anonymous acts."""
        if not self.who:
            raise ValueError("who is empty: name the person or the workflow that acts")
        matches("time", self.time, TIME, "UTC in ISO 8601, like 2026-01-31T02:00:00Z")


@dataclass(frozen=True)
class Evidence:
    """What the gate found of a release."""

    release: Release
    decision: Decision
    act: Act

    @property
    def outcome(self) -> Outcome:
        """It follows from the verdicts; nobody can claim another one."""
        return self.decision.outcome


@dataclass(frozen=True)
class Tested:
    """A release that has passed the gate, and where the evidence of it is."""

    release: Release
    evidence: str
    """Path of the evidence in the releases repository."""


@dataclass(frozen=True)
class Candidate:
    """The release under test: it alone may be in the first environment without having passed."""

    release: Release
    serving: bool = False
    """Whether the first environment has been seen serving it; no gate can have tested it before."""


@dataclass(frozen=True)
class Environment:
    """What an environment has run, and may go back to."""

    name: str
    passed: tuple[Tested, ...] = ()
    """Releases that passed the gate and were put here, oldest first, without those that were withdrawn."""

    @property
    def last(self) -> Release | None:
        """The last one that passed."""
        return self.passed[-1].release if self.passed else None


@dataclass(frozen=True)
class State:
    """What the releases repository says. The first environment is the gate's, the last is production."""

    environments: tuple[Environment, ...]
    number: int = 0
    """Grows by one with every change. A plan that was made for another number is refused."""
    candidate: Candidate | None = None
    awaiting: Tested | None = None
    """Passed, in every environment but production, and not yet promoted."""
    built: Release | None = None
    """The last one that was taken up."""
    runs: frozenset[str] = frozenset()
    """Every run whose release was ever taken up."""

    @property
    def production(self) -> Environment:
        """The last environment."""
        return self.environments[-1]

    def current(self, environment: Environment) -> Release | None:
        """What an environment runs, None where it is empty."""
        if self.candidate is not None and environment.name == self.environments[0].name:
            return self.candidate.release
        return environment.last


def empty(names: tuple[str, ...]) -> State:
    """The state before the first release."""
    if len(names) < 2 or len(set(names)) != len(names):
        rule = "name two or more, each once, the gate's first and production last"
        raise ValueError(f"environments = {', '.join(names)}: {rule}")
    for each in names:
        name("environment", each)
    return State(tuple(map(Environment, names)))
