"""The message of a commit: what runs where from now on, why, and what a program may read."""

import textwrap
from collections.abc import Iterator

from ..releases import Change, Plan, Record

TITLE = 72
WIDTH = 100


def line(text: str) -> str:
    """Text on one line, of characters that a terminal only shows."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _named(change: Change) -> str:
    release = change.after
    return "nothing" if release is None else f"version {release.version}"


def title(record: Record) -> str:
    """The sentence of the record."""
    by_release: dict[str, list[str]] = {}
    for change in record.changes:
        by_release.setdefault(_named(change), []).append(change.environment)
    parts = [f"{' and '.join(names)} to {named}" for named, names in by_release.items()]
    text = f"{record.event}: {'; '.join(parts)}" if parts else f"{record.event}: {line(record.reason)}"
    return textwrap.shorten(text, TITLE, placeholder="...")


def _trailers(record: Record) -> Iterator[str]:
    yield f"Record: records/{record.number:06d}.json"
    yield f"Event: {record.event}"
    yield f"Who: {line(record.act.who)}"
    yield f"When: {record.act.time}"
    for change in record.changes:
        after = change.after
        runs = "nothing" if after is None else f"{after.digest} version={after.version} run={after.run}"
        yield f"Runs: {change.environment} {runs}"


def message(plan: Plan) -> str:
    """The message for a plan that changes something."""
    record = plan.record
    if record is None:
        raise ValueError(f"{plan.answer}: a plan that changes nothing has no commit")
    why = textwrap.fill(line(record.reason), WIDTH) or "No reason was given."
    return "\n".join((title(record), "", why, "", *_trailers(record), ""))
