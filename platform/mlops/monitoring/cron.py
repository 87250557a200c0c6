"""How often a schedule comes: an alert says that a backup is older than that. Pure."""

from datetime import date, timedelta
from itertools import pairwise

START = date(2026, 1, 1)
DAYS = 4 * 366
"""Long enough for 29 February."""


def _numbers(field: str, low: int, high: int) -> set[int]:
    """The numbers that a field names; config has made sure that it is numbers, ranges and steps."""
    found: set[int] = set()
    for part in field.split(","):
        ends, _, step = part.partition("/")
        first, _, last = ends.partition("-")
        if ends == "*":
            start, stop = low, high
        else:
            start = int(first)
            stop = int(last) if last else (high if step else start)
        found |= set(range(start, stop + 1, int(step or 1)))
    return found


def longest_gap(schedule: str) -> timedelta:
    """The longest time between two runs of a cron schedule; the longest of all where it never comes."""
    minute, hour, day, month, weekday = schedule.split()
    minutes = sorted(60 * hours + part for hours in _numbers(hour, 0, 23) for part in _numbers(minute, 0, 59))
    months, weekdays = _numbers(month, 1, 12), {number % 7 for number in _numbers(weekday, 0, 7)}
    days = _numbers(day, 1, 31)
    # As cron has it: where both the day and the weekday are given, either will do.
    either = day != "*" and weekday != "*"

    def runs(when: date) -> bool:
        of_month, of_week = when.day in days, when.isoweekday() % 7 in weekdays
        return when.month in months and ((of_month or of_week) if either else (of_month and of_week))

    dates = [number for number in range(DAYS) if runs(START + timedelta(number))]
    if not dates:
        return timedelta(DAYS)
    over_night = [(after - before) * 1440 + minutes[0] - minutes[-1] for before, after in pairwise(dates)]
    in_a_day = [after - before for before, after in pairwise(minutes)]
    return timedelta(minutes=max([*over_night, *in_a_day, 1])) if len(dates) > 1 else timedelta(DAYS)
