"""Combinations of options in which every two values of any two options occur together."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def pairwise(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Greedy: each row takes, axis by axis, the value that completes most pairs that no row before has."""
    names = list(axes)
    missing = set(pairs_of(axes))
    rows = []
    while missing:
        # One missing pair begins the row, so that every row completes one at least.
        (first, at), (second, of) = min(missing)
        row: dict[str, int] = {first: at, second: of}
        for name in names:
            if name not in row:
                fresh = [sum(pair(name, i, *kv) in missing for kv in row.items()) for i in range(len(axes[name]))]
                row[name] = fresh.index(max(fresh))
        missing -= {pair(*a, *b) for a, b in itertools.combinations(row.items(), 2)}
        rows.append({name: axes[name][row[name]] for name in names})
    return rows


def pairs_of(axes: Mapping[str, Sequence[Any]]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """Every two values of any two axes, by index."""
    for one, other in itertools.combinations(axes, 2):
        for at, of in itertools.product(range(len(axes[one])), range(len(axes[other]))):
            yield pair(one, at, other, of)


def pair(one: str, at: int, other: str, of: int) -> tuple[tuple[str, int], tuple[str, int]]:
    """Two values, in one order."""
    first, second = sorted([(one, at), (other, of)])
    return first, second
