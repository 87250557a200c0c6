"""Property values: secrets inside maps, the SDK's wire form, and property paths."""

import re
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime import rpc

from rehearsal.engine.errors import BadInput
from rehearsal.protocol import UNKNOWN, Props

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - Pulumi's marker of a secret, not one
_PART = re.compile(r'\["([^"]+)"\]|\[(\d+|\*)\]|\.?([^.\[]+)')
_MISSING = object()
Path = tuple[str | int, ...]


@dataclass(frozen=True, repr=False)
class Secret:
    """A value that is encrypted at rest and never shown."""

    value: Any

    def __repr__(self) -> str:
        """Show nothing of the value."""
        return "[secret]"


def plain(value: Any) -> Any:
    """Unwrap the secrets, at any depth, for a provider."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def contains(value: Any, kind: type) -> bool:
    """Tell whether a Secret, or an Unknown, is anywhere in the value."""
    if isinstance(value, kind):
        return True
    if isinstance(value, Secret):
        return contains(value.value, kind)
    if isinstance(value, dict):
        return any(contains(item, kind) for item in value.values())
    return isinstance(value, list) and any(contains(item, kind) for item in value)


def secret_keys(props: Props) -> set[str]:
    """Top-level keys with a secret somewhere below."""
    return {key for key, value in props.items() if contains(value, Secret)}


def mark(props: Props, keys: set[str]) -> Props:
    """Make the values of these keys secret, as a whole."""
    return {key: Secret(plain(value)) if key in keys and value is not None else value for key, value in props.items()}


def decode(value: struct_pb2.Value) -> Any:
    """Turn a wire value into a plain one with Secret and UNKNOWN inside; whole numbers become int."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return _decode_struct(value.struct_value)
        case "list_value":
            return [decode(item) for item in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return UNKNOWN if value.string_value == rpc.UNKNOWN else value.string_value
        case "bool_value":
            return value.bool_value
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:
    if SIGNATURE not in struct.fields:
        return {key: decode(item) for key, item in struct.fields.items()}
    if struct.fields[SIGNATURE].string_value != SECRET:
        raise BadInput("assets, archives and resource references as inputs are not supported by this engine")
    inner = decode(struct.fields["value"])
    return inner if isinstance(inner, Secret) else Secret(inner)


def decode_props(struct: struct_pb2.Struct) -> Props:
    """Decode the property map of a request; properties without a value are left out, as the SDK does."""
    return {key: decode(item) for key, item in struct.fields.items() if item.WhichOneof("kind") != "null_value"}


def encode_props(props: Props) -> struct_pb2.Struct:
    """Turn a property map into its wire form."""
    struct = struct_pb2.Struct()
    struct.update(_encode(props))
    return struct


def _encode(value: Any) -> Any:
    if value is UNKNOWN:
        return rpc.UNKNOWN
    if isinstance(value, Secret):
        return {SIGNATURE: SECRET, "value": _encode(value.value)}
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    return [_encode(item) for item in value] if isinstance(value, list | tuple) else value


def parse_path(text: str) -> Path:
    """Split `a.b[0]["c"]` into its parts; `*` stands for every element."""
    return tuple(
        int(index) if index.isdigit() else quoted or index or name for quoted, index, name in _PART.findall(text)
    )


def covers(pattern: Path, path: Path) -> bool:
    """Tell whether the path is the pattern or something below it."""
    return len(pattern) <= len(path) and all(a in ("*", b) for a, b in zip(pattern, path, strict=False))


def lookup(value: Any, path: Path) -> Any:
    """Value at the path, secret if anything on the way to it is; None when there is none."""
    secret = False
    for part in path:
        if isinstance(value, Secret):
            value, secret = value.value, True
        value = _child(value, part)
        if value is _MISSING:
            return None
    return Secret(value) if secret and not isinstance(value, Secret) else value


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(part), _MISSING)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return _MISSING


def keep_ignored(old: Any, new: Any, path: Path) -> Any:
    """Return the new value with what ignoreChanges names taken from the old one."""
    if not path:
        return old
    if isinstance(old, Secret) or isinstance(new, Secret):
        return Secret(keep_ignored(plain(old), plain(new), path))
    head, rest = path[0], path[1:]
    if isinstance(new, list) and isinstance(old, list):
        chosen = range(min(len(old), len(new))) if head == "*" else [head]
        return [
            keep_ignored(old[i], item, rest) if i in chosen and i < len(old) else item for i, item in enumerate(new)
        ]
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new
    result = dict(new)
    for key in {*old, *new} if head == "*" else {str(head)}:
        if key in old:
            result[key] = keep_ignored(old[key], new.get(key, {}), rest)
        elif not rest:
            result.pop(key, None)
    return result
