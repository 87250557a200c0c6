"""Frozen dataclasses as JSON and back. These files steer production, so what is read must be what would be written.

Unknown, missing and doubled keys are refused, and values of another type, with the place where they stand.
"""

import json
import math
import re
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
KINDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
LARGEST = 2**53
"""Whole numbers up to this are the same as numbers with a fraction."""
SURROGATE = re.compile("[\ud800-\udfff]")


class RecordError(ValueError):
    """This is no record of that kind."""


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def plain(value: Any) -> Any:
    """As JSON has it: objects, lists, strings, numbers; sets in order."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def written(value: Any) -> str:
    """JSON for people and for Git: one value on a line, keys in the order of the fields, always the same text."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    doubled = sorted({key for key in keys if keys.count(key) > 1})
    if doubled:
        raise RecordError(f"{', '.join(doubled)}: stands there twice; keep one")
    return dict(pairs)


def _wrong(where: str, value: Any, kind: str) -> RecordError:
    return RecordError(f"{where} = {json.dumps(value)[:80]}: must be {kind}")


def _object(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(where, data, "an object")
    names = [field.name for field in fields(kind)]
    unknown, missing = sorted(set(data) - set(names)), [name for name in names if name not in data]
    if unknown:
        raise RecordError(f"{where}.{unknown[0]}: unknown key; known are: {', '.join(names)}")
    if missing:
        raise RecordError(f"{where}.{missing[0]}: is missing")
    values = {name: _value(_hints(kind)[name], data[name], f"{where}.{name}") for name in names}
    try:
        return kind(**values)
    except ValueError as error:
        raise RecordError(f"{where}.{error}") from error


def _items(kind: Any, data: Any, where: str) -> tuple[Any, ...] | frozenset[Any]:
    if not isinstance(data, list):
        raise _wrong(where, data, "a list")
    items = tuple(_value(get_args(kind)[0], item, f"{where}[{index}]") for index, item in enumerate(data))
    if get_origin(kind) is tuple:
        return items
    if len(set(items)) < len(items):
        raise _wrong(where, data, "a list without doubles")
    return frozenset(items)


def _value(kind: Any, data: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in {types.UnionType, Union}:
        inner = next(option for option in get_args(kind) if option is not types.NoneType)
        return None if data is None else _value(inner, data, where)
    if origin in {tuple, frozenset}:
        return _items(kind, data, where)
    return _object(kind, data, where) if is_dataclass(kind) else _scalar(kind, data, where)


def _scalar(kind: Any, data: Any, where: str) -> Any:
    if issubclass(kind, StrEnum):
        if data not in [member.value for member in kind]:
            raise _wrong(where, data, f"one of: {', '.join(kind)}")
        return kind(data)
    if kind is float and type(data) is int and abs(data) <= LARGEST:
        return float(data)
    # JSON may hold what no file can say again: half of a character, and numbers beyond those of a computer.
    halved = type(data) is str and not data.isascii() and SURROGATE.search(data)
    if type(data) is not kind or halved or (kind is float and not math.isfinite(data)):
        raise _wrong(where, data, KINDS[kind])
    return data


def _no_number(name: str) -> float:
    raise RecordError(f"{name}: is no number")


def parsed(text: str, where: str) -> Any:
    """JSON without doubled keys, or RecordError."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{where}: is not JSON: {error}") from error


def read(kind: type[T], text: str, where: str) -> T:
    """The record in this text, or RecordError, which names the place."""
    record: T = _object(kind, parsed(text, where), where)
    return record
