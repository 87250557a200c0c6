"""What the engine asks of a provider: the verbs of Pulumi's provider protocol over plain property maps.

The same modules can later be served as provider plugins: nothing here knows the engine.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Props = dict[str, Any]


class Unknown:
    """A value that is known only after the resource it comes from exists (previews, and diffs of dependents)."""

    def __repr__(self) -> str:
        """Show as the placeholder that previews print."""
        return "[unknown]"


UNKNOWN = Unknown()


class ProviderError(Exception):
    """A verb failed. The text names the cause and, where there is one, the next command; never a secret."""


class Untouched(ProviderError):  # noqa: N818 - it names a state of the world
    """A create failed, and certainly made nothing: what has that name or mark is not of this run."""


class Unfinished(ProviderError):  # noqa: N818 - it names a state of the resource
    """It was made or changed and exists, but did not become usable: the state keeps it, the next run waits again."""

    def __init__(self, text: str, result: "Result") -> None:
        """Say what failed, and what exists."""
        super().__init__(text)
        self.result = result


@dataclass(frozen=True)
class Call:
    """The circumstances of one verb."""

    urn: str
    provider: Mapping[str, Any] = field(default_factory=dict)
    """Inputs of the explicit provider resource; empty for the default provider."""
    timeout: float = 600.0
    """Seconds after which the verb must have ended, from customTimeouts or the type's default."""
    cancel: threading.Event = field(default_factory=threading.Event)
    """Set when the run is interrupted: waits end early with a ProviderError."""
    known: frozenset[str] = frozenset()
    """For `find`: ids that the state has already under this URN; what an interrupted create left is none of them."""
    before: Mapping[str, Any] = field(default_factory=dict)
    """For `check`: the inputs recorded for what is updated or stays; empty for what is made, or made anew."""


@dataclass(frozen=True)
class Diff:
    """What a provider says about old and new inputs."""

    changed: tuple[str, ...] = ()
    """Property paths that differ, camelCase, for people."""
    replaces: tuple[str, ...] = ()
    """Those among them that cannot be changed in place."""
    delete_before_replace: bool = False


@dataclass(frozen=True)
class Result:
    """What exists after `create`, `read` or `update`."""

    id: str
    outputs: Props
    inputs: Props | None = None
    """Set by `read`: the inputs that would make what was found."""


class Provider(Protocol):
    """One resource type. Ids and property maps are as in Pulumi's state; every verb may raise ProviderError."""

    def check(self, call: Call, news: Props) -> Props:
        """Inputs with the provider's defaults filled in; refuses bad ones."""

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:
        """Compare recorded inputs and outputs with new inputs; UNKNOWN counts as a change."""

    def create(self, call: Call, news: Props) -> Result:
        """Make it and wait until it is usable."""

    def read(self, call: Call, olds: Result) -> Result | None:
        """What is there now; None when it is gone."""

    def update(self, call: Call, olds: Result, news: Props) -> Result:
        """Change it in place."""

    def delete(self, call: Call, olds: Result) -> None:
        """Remove it and wait until it is gone; gone already is success."""

    def find(self, call: Call, news: Props) -> str | None:
        """Id of what an interrupted `create` left behind, looked up by its mark; None when there is nothing."""
