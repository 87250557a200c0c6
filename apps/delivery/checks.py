"""Checks of single values, for the dataclasses that files and settings become: key, value and rule in one line."""

import re

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""Of environments, runs, and objects in Kubernetes."""


def matches(key: str, value: str, pattern: re.Pattern[str], rule: str) -> None:
    """Refuse a value that is not wholly of the pattern."""
    if pattern.fullmatch(value) is None:
        raise ValueError(f"{key} = {value!r}: must be {rule}")


def name(key: str, value: str) -> None:
    """Refuse what cannot be a name in Kubernetes, or of a file."""
    matches(key, value, NAME, "a name of up to 63 lower case letters, digits and inner hyphens")


def positive(record: object, *keys: str) -> None:
    """Refuse numbers of a record that are not greater than 0."""
    for key in keys:
        value = getattr(record, key)
        if value <= 0:
            raise ValueError(f"{key} = {value:g}: must be greater than 0")
