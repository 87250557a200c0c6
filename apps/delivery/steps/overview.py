"""What runs where, since when, by whom and why: from Git alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..releases import Act, Record, Release
from ..repository import Releases

WIDTH = 60
"""Characters of a cell that the table shows."""
HEAD = ("ENVIRONMENT", "VERSION", "DIGEST", "SINCE", "WHO", "WHY")


@dataclass(frozen=True)
class Row:
    """One environment."""

    environment: str
    release: Release | None
    act: Act | None
    """What put the release there; None where nothing ever changed, or where it is long ago."""
    awaits: str
    """What the environment waits for, or nothing."""


@dataclass(frozen=True)
class Status:
    """All environments."""

    number: int
    rows: tuple[Row, ...]


def _last(records: Sequence[Record], environment: str) -> Act | None:
    return next((r.act for r in records for change in r.changes if change.environment == environment), None)


def status(repository: Releases) -> Status:
    """What the repository says."""
    state, records = repository.history()
    awaits = {at.name: "" for at in state.environments}
    if state.candidate is not None:
        awaits[state.environments[0].name] = "under test"
    if state.awaiting is not None:
        item = state.awaiting.release
        command = f"approve --digest {item.digest} --run {item.run}"
        awaits[state.production.name] = f"version {item.version} passed and awaits `{command}`"
    rows = (Row(at.name, state.current(at), _last(records, at.name), awaits[at.name]) for at in state.environments)
    return Status(state.number, tuple(rows))


def _cells(row: Row) -> tuple[str, ...]:
    release, act = row.release, row.act
    what = ("-", "-") if release is None else (release.version, release.digest[:19])
    who = ("-", "-", "") if act is None else (act.time, act.who, act.why)
    cells = (row.environment, *what, *who)
    return tuple(" ".join("".join(c if c.isprintable() else " " for c in cell).split())[:WIDTH] for cell in cells)


def table(found: Status) -> str:
    """For people."""
    lines = [HEAD, *map(_cells, found.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*texts, *(f"{row.environment}: {row.awaits}" for row in found.rows if row.awaits)])
