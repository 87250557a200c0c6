"""Combinations of options in which every two values of any two options occur together."""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Choice = tuple[str, int]
"""An axis, and which of its values."""
Pair = tuple[Choice, Choice]
Clashes = Mapping[Choice, set[Choice]]
"""What cannot be chosen beside a choice."""
Left = Mapping[str, frozenset[int]]
"""The values that can still be chosen on each axis."""


def pairwise(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """As few rows as `covering` needs for every pair."""
    return [{name: axes[name][at] for name, at in row.items()} for row in covering(axes)]


def covering(axes: Mapping[str, Sequence[Any]], clashes: Clashes | None = None) -> Iterator[dict[str, int]]:
    """Greedy: each row takes, axis by axis, the value that completes most pairs that no row before has.

    With clashes, what can occur together is covered.
    """
    clashing = clashes or {}
    missing = possible(axes, clashing)
    while missing:
        # One missing pair begins the row, so that every row completes one at least.
        row = dict(min(missing))
        left = _narrowed(_every(axes), row.items(), clashing)
        assert left is not None
        for name in axes:
            if name not in row:
                row[name], left = _freshest(name, row, left, missing, clashing)
        missing.difference_update(pairs_in(row))
        yield {name: row[name] for name in axes}


def scattered(axes: Mapping[str, Sequence[Any]], clashes: Clashes, dice: random.Random) -> dict[str, int]:
    """A row by chance."""
    left = _every(axes)
    for name in dice.sample(list(axes), len(axes)):
        values = sorted(left[name])
        tried = (_narrowed(left, [(name, at)], clashes) for at in dice.sample(values, len(values)))
        left = next(narrowed for narrowed in tried if narrowed is not None)
    return {name: min(left[name]) for name in axes}


def possible(axes: Mapping[str, Sequence[Any]], clashes: Clashes) -> set[Pair]:
    """The pairs that can occur: their choices do not clash, nor does what these need."""
    every = _every(axes)
    return {found for found in pairs_of(axes) if _narrowed(every, found, clashes) is not None}


def _every(axes: Mapping[str, Sequence[Any]]) -> Left:
    return {name: frozenset(range(len(values))) for name, values in axes.items()}


def _freshest(name: str, row: Mapping[str, int], left: Left, missing: set[Pair], clashes: Clashes) -> tuple[int, Left]:
    """The value of an axis that completes most pairs of a row, and what is left of the other axes then."""
    fresh = {at: sum(pair(name, at, *chosen) in missing for chosen in row.items()) for at in sorted(left[name])}
    for at in sorted(fresh, key=lambda at: -fresh[at]):
        narrowed = _narrowed(left, [(name, at)], clashes)
        if narrowed is not None:
            return at, narrowed
    raise ValueError(f"nothing can be chosen for {name} beside {row}")


def _narrowed(left: Left, choices: Iterable[Choice], clashes: Clashes) -> Left | None:
    """What is left of every axis once something is chosen; None where nothing is left of one."""
    less, queue = dict(left), list(choices)
    for name, at in queue:
        if at not in less[name]:
            return None
        less[name] = frozenset([at])
        for other, of in clashes.get((name, at), ()):
            if of in less[other]:
                less[other] -= {of}
                if not less[other]:
                    return None
                if len(less[other]) == 1:
                    queue.append((other, min(less[other])))  # the loop goes on with it
    return less


def pairs_of(axes: Mapping[str, Sequence[Any]]) -> Iterator[Pair]:
    """Every two values of any two axes, by index."""
    for one, other in itertools.combinations(axes, 2):
        for at, of in itertools.product(range(len(axes[one])), range(len(axes[other]))):
            yield pair(one, at, other, of)


def pairs_in(row: Mapping[str, int]) -> Iterator[Pair]:
    """Every two choices of a row."""
    return (pair(*one, *other) for one, other in itertools.combinations(row.items(), 2))


def pair(one: str, at: int, other: str, of: int) -> Pair:
    """Two values, in one order."""
    first, second = sorted([(one, at), (other, of)])
    return first, second
