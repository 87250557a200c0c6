"""YAML for people and for Git, of strings, whole numbers, truths, lists and mappings: one text for one value."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*(:[A-Za-z0-9/._-]+|@sha256:[0-9a-f]{64})*")
"""Strings that need no quotes, if they are not among the following."""
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
"""In YAML 1.1, these in any case are not strings."""


def yaml(value: Mapping[str, Any]) -> str:
    """The text of an object; keys stay in their order."""
    return "".join(f"{line}\n" for line in _mapping(value))


def _scalar(value: Any) -> str:
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return json.dumps(value, ensure_ascii=True)  # JSON's strings, numbers and truths are YAML's


def _mapping(value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{_scalar(key)}:"
            yield from (f"  {line}" for line in _mapping(item))
        elif isinstance(item, (list, tuple)) and item:
            yield f"{_scalar(key)}:"
            yield from (f"  {line}" for line in _items(item))
        else:
            yield f"{_scalar(key)}: {_scalar(item)}"


def _items(value: list[Any] | tuple[Any, ...]) -> Iterator[str]:
    for item in value:
        lines = list(_mapping(item)) if isinstance(item, Mapping) and item else [_scalar(item)]
        yield from (f"{'- ' if index == 0 else '  '}{line}" for index, line in enumerate(lines))
