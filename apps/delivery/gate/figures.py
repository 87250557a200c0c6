"""How numbers stand in the sentences of verdicts."""

from collections.abc import Sequence


def percent(share: float) -> str:
    """0.953 as "95.3 %", with no more digits than say something."""
    return f"{round(100 * share, 1):g} %"


def milliseconds(value: float) -> str:
    """With thousands apart, as people write them."""
    return f"{value:,.0f} ms"


def counted(number: int, noun: str) -> str:
    """One pod, two pods."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed (nearest rank); 0 of nothing."""
    if not values:
        return 0.0
    rank = -int(-len(values) * share // 1)
    return sorted(values)[max(rank, 1) - 1]
