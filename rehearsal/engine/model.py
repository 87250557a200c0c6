"""Plain data about a run: steps, plans, summaries, and names of resources."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

CHANGES = ("create", "update", "replace", "delete")
STACK = "pulumi:pulumi:Stack"
INTERRUPTED, UNEXPECTED = 130, 3


@dataclass(frozen=True)
class Change:
    """A property that differs; old and new are for people: shortened, secrets hidden."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Step:
    """What happened, or would happen, to one resource."""

    op: str
    """create, update, replace, delete, same or read."""
    urn: str
    changes: tuple[Change, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why it is replaced, or what a read found."""
    seconds: float = 0.0

    @property
    def type(self) -> str:
        """Type token."""
        return type_of(self.urn)

    @property
    def name(self) -> str:
        """Logical name."""
        return name_of(self.urn)

    def to_json(self) -> dict[str, Any]:
        """Render with type and name."""
        return {**asdict(self), "type": self.type, "name": self.name}


@dataclass(frozen=True)
class Failure:
    """A resource that failed and why."""

    urn: str
    cause: str


@dataclass(frozen=True)
class Summary:
    """The result of a run. A Plan is the same for what would be done."""

    steps: tuple[Step, ...]
    outputs: dict[str, Any] = field(default_factory=dict)
    """Stack outputs, secrets as `[secret]`."""
    failures: tuple[Failure, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False
    unexpected: bool = False
    """There were changes although none were expected."""

    @property
    def counts(self) -> dict[str, int]:
        """Steps per operation."""
        return dict(Counter(step.op for step in self.steps))

    @property
    def changed(self) -> bool:
        """Tell whether anything was, or would be, changed."""
        return any(step.op in CHANGES for step in self.steps)

    @property
    def exit_code(self) -> int:
        """0 done, 1 a resource failed, 3 changes where none were expected, 130 interrupted."""
        if self.interrupted:
            return INTERRUPTED
        return 1 if self.failures else UNEXPECTED if self.unexpected else 0

    def to_json(self) -> dict[str, Any]:
        """Render as plain JSON data."""
        return {
            "steps": [step.to_json() for step in self.steps],
            "counts": self.counts,
            "outputs": self.outputs,
            "failures": [asdict(failure) for failure in self.failures],
            "seconds": round(self.seconds, 2),
            "interrupted": self.interrupted,
        }


Plan = Summary


def make_urn(stack: str, project: str, parent: str, type_: str, name: str) -> str:
    """Name a resource as the real engine does: the types of its parents, without the stack's, then its own."""
    chain = parent.split("::")[2] if parent else STACK
    types = type_ if chain == STACK else f"{chain}${type_}"
    return f"urn:pulumi:{stack}::{project}::{types}::{name}"


def name_of(urn: str) -> str:
    """Logical name in a URN."""
    return urn.split("::", 3)[3]


def type_of(urn: str) -> str:
    """Type token in a URN, without its parents."""
    return urn.split("::", 3)[2].rsplit("$", 1)[-1]


def provider_urn(reference: str) -> str:
    """URN in a provider reference `URN::ID`."""
    return reference.rpartition("::")[0]


def no_provider(type_: str, custom: bool) -> bool:
    """Tell whether nothing but the state knows the resource: components, the stack, and provider resources."""
    return not custom or type_.startswith("pulumi:providers:")


def sentence(urns: Iterable[str]) -> str:
    """List URNs, one a line."""
    return "".join(f"\n  {urn}" for urn in urns)
