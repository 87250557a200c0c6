"""The mark on every cloud object: which stack it belongs to and which resource it is.

Audits, recovery and destroy find objects by it, also when the state that made them is lost.
"""

from dataclasses import dataclass

PACKAGE = "leasehold"
URN_LENGTH = 255
"""Of a mark, as Neutron's descriptions are at most."""
STACK = f"{PACKAGE}-stack"
"""Metadata key of Nova and Cinder objects."""


def stack_tag(stack: str) -> str:
    """Neutron tag of everything of a stack."""
    return f"{STACK}={stack}"


def lease_name(stack: str, name: str) -> str:
    """Name of a lease at its site: Blazar has no tags."""
    return f"{PACKAGE}-{stack}-{name}"


@dataclass(frozen=True)
class Marks:
    """Marks of the children of one component."""

    stack: str
    types: tuple[str, ...]
    """Type tokens from the outermost component to the one that owns the objects."""

    @property
    def tags(self) -> list[str]:
        """Neutron tags."""
        return [PACKAGE, stack_tag(self.stack)]

    def urn(self, kind: str, name: str) -> str:
        """The resource's URN as Pulumi builds it, written to `description` or metadata at creation.

        Computed here because an object cannot be given its own URN, and the engine's copy would cost an
        output per object.
        """
        types = "$".join((*self.types, kind))
        return f"urn:pulumi:{self.stack}::{PACKAGE}::{types}::{name}"[:URN_LENGTH]

    def metadata(self, kind: str, name: str) -> dict[str, str]:
        """Nova and Cinder metadata."""
        return {STACK: self.stack, f"{PACKAGE}-urn": self.urn(kind, name)}
