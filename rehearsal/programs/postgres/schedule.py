"""When a schedule of cron is due: six numbers, the first of them seconds, in UTC."""

from datetime import UTC, datetime, timedelta

RANGES = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def _numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        begin = int(first)
        end = int(last) if last else (high if step else begin)
        if not low <= begin <= end <= high:
            raise ValueError(f"'{part}' is outside of {low} to {high}")
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def due(schedule: str, since: datetime, now: datetime) -> bool:
    """Whether a time of the schedule lies after `since` and not after `now`; looked at by the minute."""
    second, minute, hour, day, month, weekday = (
        _numbers(field, *span) for field, span in zip(schedule.split(), RANGES, strict=True)
    )
    days = {number % 7 for number in weekday}
    fields = schedule.split()
    moment = max(since, now - timedelta(days=8)).astimezone(UTC).replace(second=0, microsecond=0)
    while moment <= now:
        by_day, by_week = moment.day in day, (moment.weekday() + 1) % 7 in days
        # As cron has it: where both are given, either will do.
        right = (by_day or by_week) if fields[3] != "*" and fields[5] != "*" else (by_day and by_week)
        if moment.minute in minute and moment.hour in hour and moment.month in month and right:
            times = (moment.replace(second=number) for number in second)
            if any(since < time <= now for time in times):
                return True
        moment += timedelta(minutes=1)
    return False
