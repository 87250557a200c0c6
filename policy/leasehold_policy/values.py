"""Values of inputs: secrets inside maps, what is not known yet, and how rules look at both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class Unknown:
    """A value that is known only after the resource it comes from exists."""

    def __repr__(self) -> str:
        """Show as previews do."""
        return "[unknown]"


UNKNOWN = Unknown()
"""What is not known yet is no fault: a rule that needs it says nothing."""


@dataclass(frozen=True, repr=False)
class Secret:
    """A value that Pulumi encrypts and never shows. Findings name its place, never its content."""

    value: Any

    def __repr__(self) -> str:
        """Show nothing of the value."""
        return "[secret]"


@dataclass(frozen=True)
class Node:
    """A value somewhere in the inputs."""

    path: tuple[str | int, ...]
    value: Any
    secret: bool
    """Whether it, or what it is in, is a secret."""

    @property
    def key(self) -> str:
        """The last name on its path; an element of a list has that of the list."""
        return next((part for part in reversed(self.path) if isinstance(part, str)), "")

    @property
    def place(self) -> str:
        """Its path, for people."""
        return place(*self.path)


def place(*path: str | int) -> str:
    """A path as people write it."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def walk(value: Any, *path: str | int, secret: bool = False) -> Iterator[Node]:
    """The value, and everything below it."""
    if isinstance(value, Secret):
        yield from walk(value.value, *path, secret=True)
        return
    yield Node(path, value, secret)
    below = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in below:
        yield from walk(item, *path, key, secret=secret)


def opened(value: Any) -> Any:
    """The value without the mark of a secret."""
    return opened(value.value) if isinstance(value, Secret) else value


def at(value: Any, *path: str | int) -> Any:
    """The opened value at a path: None when there is none, UNKNOWN when that is not known yet."""
    value = opened(value)
    for part in path:
        if isinstance(value, Unknown):
            return UNKNOWN
        if isinstance(value, Mapping):
            value = opened(value.get(str(part)))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = opened(value[part])
        else:
            return None
    return value


def absent(value: Any) -> bool:
    """Whether nothing is there; what is not known yet counts as there."""
    return value is None or (isinstance(value, str | Mapping | Sequence) and not value)


def given(value: Any) -> bool:
    """Whether something is there, and known."""
    return not absent(value) and not isinstance(value, Unknown)


def names(values: Any) -> set[Any]:
    """The texts in a list, and UNKNOWN if one of them, or all of it, is not known yet."""
    found = (
        values
        if isinstance(values, list | tuple)
        else [UNKNOWN]
        if isinstance(opened(values), Unknown)
        else items(values)
    )
    return {item for item in map(opened, found) if isinstance(item, str | Unknown)}


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a map, else an empty one."""
    value = opened(value)
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """The opened elements if it is a list, else none."""
    value = opened(value)
    return [opened(item) for item in value] if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """The value if it is a number, or the text of one."""
    value = opened(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def unknown_within(value: Any) -> bool:
    """Whether anything in the value is not known yet."""
    return any(isinstance(node.value, Unknown) for node in walk(value))
