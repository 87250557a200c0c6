"""Schedules as cron writes them, and when a CronWorkflow's next run is due. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
PART = re.compile(r"(\*|\?|[0-9]{1,9})(?:-([0-9]{1,9}))?(?:/([0-9]{1,9}))?")
FIELDS = {
    *("schedules", "timezone", "concurrencyPolicy", "startingDeadlineSeconds", "suspend", "workflowSpec"),
    *("workflowMetadata", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
}
FARTHEST = timedelta(days=5 * 366)
"""A schedule without a time until then has none: 30 February."""


class ScheduleError(Exception):
    """A schedule that cannot be read."""


@dataclass(frozen=True)
class Schedule:
    """The minutes, hours, days, months and days of the week at which it is time."""

    parts: tuple[frozenset[int], ...]
    any_day: bool
    any_weekday: bool
    zone: ZoneInfo

    def after(self, time: datetime) -> datetime | None:
        """The first time after another; None: there is none."""
        local = time.astimezone(self.zone).replace(second=0, microsecond=0, tzinfo=None)
        end = local + FARTHEST
        while local < end:
            local += timedelta(minutes=1)
            if not self._day(local):
                local = local.replace(hour=23, minute=59)
                continue
            found = local.replace(tzinfo=self.zone).astimezone(UTC)
            # An hour that summer time skips is none, and one that it repeats is one.
            real = found.astimezone(self.zone).replace(tzinfo=None) == local
            if real and local.minute in self.parts[0] and local.hour in self.parts[1] and found > time:
                return found
        return None

    def _day(self, local: datetime) -> bool:
        _, _, days, months, weekdays = self.parts
        day, weekday = local.day in days, local.isoweekday() % 7 in weekdays
        # Where both are restricted, either is enough.
        either = day and weekday if self.any_day or self.any_weekday else day or weekday
        return local.month in months and either


def parsed(text: str, timezone: str = "") -> Schedule:
    """A schedule of five fields, or one by name. Raises ScheduleError."""
    fields = NAMED.get(text.strip(), text).split()
    if len(fields) != len(RANGES):
        raise ScheduleError(f"schedule '{text}': {len(fields)} fields; write minute hour day month weekday, or @daily")
    try:
        zone = ZoneInfo(timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(f"timezone '{timezone}': is not known; write it as Europe/Berlin") from error
    parts = tuple(_numbers(text, field, *limits) for field, limits in zip(fields, RANGES, strict=True))
    return Schedule(parts, fields[2] in ("*", "?"), fields[4] in ("*", "?"), zone)


def _numbers(text: str, field: str, low: int, high: int) -> frozenset[int]:
    found = set[int]()
    for part in field.split(","):
        match = PART.fullmatch(part)
        if match is None:
            raise ScheduleError(f"schedule '{text}': '{part}' is not honoured; write numbers, a-b, */n or a list")
        first, last, step = match[1], match[2], match[3]
        begin = low if first in "*?" else int(first)
        end = high if first in "*?" or (step and last is None) else int(last or first)
        if not low <= begin <= end <= high or int(step or 1) == 0:
            raise ScheduleError(f"schedule '{text}': '{part}' is outside of {low} to {high}")
        found |= set(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def unknown(spec: Mapping[str, Any]) -> list[str]:
    """Fields that would be left out."""
    inner = [f"workflowMetadata.{key}" for key in set(spec.get("workflowMetadata") or {}) - {"labels", "annotations"}]
    return sorted({*(set(spec) - FIELDS), *inner})


def due(
    schedules: Sequence[Schedule], *, last: datetime | None, seen: datetime, time: datetime, late: int | None
) -> datetime | None:
    """The time for which a run is to be started now; None: there is none.

    `seen` is since when somebody looked. What was missed before that is run only within `late` seconds of its time, and
    only where there was a run before.
    """
    found = []
    for schedule in schedules:
        latest = _latest(schedule, seen, time)
        if latest is None and last is not None and late is not None and last < seen:
            missed = _latest(schedule, last, min(seen, time))
            if missed is not None and time < missed + timedelta(seconds=late):
                latest = missed
        if latest is not None and (last is None or latest > last):
            found.append(latest)
    return max(found, default=None)


def _latest(schedule: Schedule, since: datetime, until: datetime) -> datetime | None:
    """The last time after one moment and not after another."""
    latest, following = None, schedule.after(since)
    while following is not None and following <= until:
        latest, following = following, schedule.after(following)
    return latest
