"""What a rule is: a pure function over what the program asks for, with the sentence and the remedy that people read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .values import UNKNOWN, at


@dataclass(frozen=True)
class Resource:
    """One resource as the program asks for it."""

    type: str
    """Pulumi's type token."""
    name: str
    """Logical name."""
    inputs: Mapping[str, Any]
    """With Secret and UNKNOWN inside."""
    protect: bool = False
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """Seconds by verb; a verb that is left out has the provider's default."""
    urn: str = ""

    def at(self, *path: str | int) -> Any:
        """The opened input at a path: None when there is none, UNKNOWN when that is not known yet."""
        return at(self.inputs, *path)

    def named(self, *kinds: str) -> bool:
        """Whether the type is one of these: a whole token, or the kind of a Kubernetes object of any version."""
        kind = self.type.rpartition(":")[2] if self.type.startswith("kubernetes:") else None
        return self.type in kinds or kind in kinds

    @property
    def namespace(self) -> Any:
        """Where a Kubernetes object is."""
        return self.at("metadata", "namespace")


@dataclass(frozen=True)
class Finding:
    """A resource that does not do what a rule demands."""

    resource: Resource
    detail: str
    """What is wrong, and where; never a value that may be a secret."""


OfOne = Callable[[Resource], Iterable[str]]
OfStack = Callable[[Sequence[Resource]], Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """A demand on a stack."""

    id: str
    subject: str
    demand: str
    remedy: str
    check: OfStack
    whole: bool
    """Whether it looks at the stack as a whole; else each resource is judged alone."""


def each(remedy: str) -> Callable[[OfOne], Rule]:
    """Make a rule of a function that says what is wrong with one resource. Its docstring is the demand."""

    def made(function: OfOne) -> Rule:
        def check(resources: Sequence[Resource]) -> Iterator[Finding]:
            for resource in resources:
                yield from (Finding(resource, detail) for detail in function(resource))

        return _rule(function, remedy, check, whole=False)

    return made


def whole(remedy: str) -> Callable[[OfStack], Rule]:
    """Make a rule of a function that says what is wrong between resources. Its docstring is the demand."""
    return lambda function: _rule(function, remedy, function, whole=True)


def uncovered(resources: Sequence[Resource], covered: Sequence[Any]) -> Iterator[Resource]:
    """Namespaces that are not among those that something is in; none, where that may be any."""
    for space in resources if UNKNOWN not in covered else ():
        if space.named("Namespace") and space.at("metadata", "name") not in (None, UNKNOWN, *covered):
            yield space


def _rule(function: Callable[..., Any], remedy: str, check: OfStack, *, whole: bool) -> Rule:
    name, subject = function.__name__.replace("_", "-"), function.__module__.rpartition(".")[2]
    return Rule(name, subject, " ".join((function.__doc__ or "").split()), remedy, check, whole)
