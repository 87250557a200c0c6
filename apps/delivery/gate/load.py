"""Does it answer under load, and in time?

A request that was not answered counts as slower than any limit: a release does not become quicker by failing.
"""

from collections.abc import Iterator
from math import inf

from . import sequential
from .figures import counted, milliseconds, percent, percentile
from .measurements import MeasurementError, Measurements
from .sequential import Standing
from .settings import Settings
from .verdicts import Figure, Outcome, Test, Verdict


def _confidence(settings: Settings) -> str:
    return f"with {percent(1 - settings.errors.false_promotion)} confidence"


def _success(settings: Settings, standing: Standing) -> Verdict:
    limit = 1 - settings.load.success
    share = standing.bad / standing.size if standing.size else 0.0
    figures = (Figure("requests", standing.size), Figure("failed", standing.bad))
    told = f"{standing.bad} of {counted(standing.size, 'request')} failed ({percent(share)})"
    if standing.outcome is Outcome.PASSED:
        reason = f"{told}, fewer than {percent(limit)} {_confidence(settings)}"
    elif standing.outcome is Outcome.UNDECIDED:
        reason = f"{told}, which proves neither side of {percent(limit)}: {standing.missing} more are needed"
    elif share >= limit:
        reason = f"{told}, the limit is {percent(limit)}"
    else:
        reason = f"{told}, too many to prove that fewer than {percent(limit)} do"
    return Verdict(Test.SUCCESS, standing.outcome, reason, figures)


def _p95(settings: Settings, standing: Standing, requests: tuple[float | None, ...]) -> Verdict:
    limit = settings.load.p95_ms
    seen = [inf if latency is None else latency for latency in requests[: standing.size]]
    p95 = percentile(seen, 0.95)
    figures: tuple[Figure, ...] = (Figure("requests", standing.size), Figure("late", standing.bad))
    if p95 < inf:
        figures = (*figures, Figure("p95_ms", round(p95, 1)))
        told = f"p95 of {counted(standing.size, 'request')} is {milliseconds(p95)}"
    else:
        told = f"p95 of {counted(standing.size, 'request')} is no number, as more than 5 % were not answered"
    late = f"{standing.bad} were not answered within {milliseconds(limit)}"
    if standing.outcome is Outcome.PASSED:
        reason = f"{told}, below {milliseconds(limit)} {_confidence(settings)}"
    elif standing.outcome is Outcome.UNDECIDED:
        reason = f"{told}, but {late}: {standing.missing} more requests are needed"
    elif p95 >= limit:
        reason = f"{told}, the limit {milliseconds(limit)}"
    else:
        reason = f"{told}, but {late}, too many to prove that p95 is below it"
    return Verdict(Test.P95, standing.outcome, reason, figures)


def judge(settings: Settings, measured: Measurements) -> Iterator[Verdict]:
    """The verdicts of this part."""
    requests, load = measured.requests, settings.load
    if requests and measured.concurrency != load.concurrency:
        raise MeasurementError(
            f"concurrency = {measured.concurrency}: the gate asks for {load.concurrency} at a time; measure again"
        )
    failed = [latency is None for latency in requests]
    yield _success(settings, sequential.assess(settings.success_plan, failed))
    late = [latency is None or not latency < load.p95_ms for latency in requests]  # what is no number is late
    yield _p95(settings, sequential.assess(settings.p95_plan, late), requests)
