"""Tables of properties, and the pure comparison of recorded with wanted inputs.

Owns what `diff`, `check` and `read` have in common. The rules are those of the Terraform SDK, on which the published
providers stand: an empty value is the same as none, an optional and computed property that is left out means "as it
is", and the order of a set does not matter.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.protocol import Diff, Props, ProviderError, Result, Unknown


@dataclass(frozen=True)
class Prop:
    """One input of a resource type, by its wire name."""

    name: str
    api: str = ""
    """Name in the service's API; empty when it needs code of its own."""
    force_new: bool = False
    """A change replaces the resource."""
    computed: bool = False
    """The service chooses a value when none is given."""
    default: Any = None
    """The provider's value when none is given."""
    unordered: bool = False
    """A list whose order has no meaning."""
    required: bool = False


Table = Mapping[str, Prop]

REGION = Prop("region", force_new=True, computed=True)


def table(*props: Prop) -> Table:
    """Properties by wire name; every OpenStack type also takes `region`."""
    return {prop.name: prop for prop in (*props, REGION)}


def has_unknown(value: Any) -> bool:
    """Whether any part of the value is known only after another resource exists."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(item) for item in value)
    return isinstance(value, Unknown)


def canonical(value: Any, *, unordered: bool = False) -> Any:
    """The value without what means nothing: empty members, and the order of a set."""
    if isinstance(value, Mapping):
        items = {key: canonical(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item not in (None, False)} or None
    if isinstance(value, list | tuple):
        members = [canonical(item) for item in value]
        return (sorted(members, key=repr) if unordered else members) or None
    return None if value == "" else value


def same(prop: Prop, old: Any, new: Any) -> bool:
    """Whether two values of a property mean the same to the service."""
    left, right = (
        canonical(prop.default if value is None else value, unordered=prop.unordered) for value in (old, new)
    )
    if not prop.computed and prop.default is None:  # Terraform's zero values: not set, 0 and false are one
        left, right = left or None, right or None
    return bool(left == right)


def recorded(olds: Result) -> Props:
    """Inputs as of the last run; of a resource imported without them, its outputs."""
    return dict(olds.outputs if olds.inputs is None else olds.inputs)


def compare(props: Table, olds: Result, news: Props) -> Diff:
    """Which properties changed, and which of them force a replacement.

    The published bridge deletes first where the name was given by the program and stays the same, because
    two objects of one name may not be able to live side by side; so does this.
    """
    old = recorded(olds)
    changed, replaces = [], []
    for prop in props.values():
        before, after = old.get(prop.name), news.get(prop.name)
        if not has_unknown(after):
            if prop.computed:
                if after is None:
                    continue
                before = olds.outputs.get(prop.name) if before is None else before
            if same(prop, before, after):
                continue
        changed.append(prop.name)
        if prop.force_new:
            replaces.append(prop.name)
    first = bool(replaces) and "name" in props and bool(old.get("name")) and old["name"] == news.get("name")
    return Diff(tuple(changed), tuple(replaces), delete_before_replace=first)


def drift(props: Table, inputs: Props, real: Props) -> Props:
    """Recorded inputs, changed only where what exists differs from them.

    A property that was not given counts only when it has a fixed default: what the service chose is no drift.
    """
    result = dict(inputs)
    for name, value in real.items():
        prop = props.get(name)
        if prop is None or (prop.computed and inputs.get(name) is None):
            continue
        if not same(prop, inputs.get(name), value):
            result[name] = value
    return result


def check_names(kind: str, props: Iterable[str], required: Iterable[str], news: Props) -> None:
    """Refuse inputs that are missing, or that the rehearsal does not honour."""
    unknown = sorted(name for name in set(news) - set(props) if not name.startswith("__") and news[name] is not None)
    if unknown:
        raise ProviderError(
            f"{kind}: the rehearsal does not support the input {', '.join(unknown)}; "
            "leave it out, or rehearse with the real engine"
        )
    missing = [name for name in required if news.get(name) in (None, "")]
    if missing:
        raise ProviderError(f"{kind}: the input {', '.join(missing)} is required; set it in the program")
