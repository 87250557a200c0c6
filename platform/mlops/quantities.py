"""Quantities as the API server writes them back: any other spelling is a difference at the next refresh."""

UNITS = ("Mi", "Gi", "Ti")
"""Each 1024 of the one before it."""


def written(quantity: str) -> str:
    """A quantity of memory or storage in the largest unit that leaves it whole; nothing has no unit."""
    unit = next((unit for unit in UNITS if quantity.endswith(unit)), None)
    if unit is None:
        return quantity
    count = int(quantity.removesuffix(unit))
    for larger in UNITS[UNITS.index(unit) + 1 :]:
        if count % 1024:
            break
        count, unit = count // 1024, larger
    return f"{count}{unit}" if count else "0"


def gigabytes(count: int) -> str:
    """A size that the environment gives in gigabytes of 1024^3 bytes."""
    return written(f"{count}Gi")


def mebibytes(quantity: str) -> int:
    """A quantity of memory with a unit, in Mi."""
    unit = next(unit for unit in UNITS if quantity.endswith(unit))
    return int(quantity.removesuffix(unit)) * int(1024 ** UNITS.index(unit))
