"""Does it stay alive and within its memory under load?"""

from collections.abc import Iterator, Sequence

from .figures import counted, percent
from .measurements import PodUse
from .settings import Resources
from .verdicts import Figure, Outcome, Test, Verdict

MIB = 1024 * 1024


def _nothing_happened(test: Test, pods: Sequence[PodUse], counts: Sequence[int], what: str, done: str) -> Verdict:
    """Passed where nothing was counted on any pod."""
    if not pods:
        return Verdict(test, Outcome.UNDECIDED, "no pod has been measured")
    figures = (Figure(test.value, sum(counts)),)
    for pod, count in zip(pods, counts, strict=True):
        if count:
            return Verdict(test, Outcome.FAILED, f"{pod.name} {done} {counted(count, 'time')} under load", figures)
    return Verdict(test, Outcome.PASSED, f"no {what} of {counted(len(pods), 'pod')} under load", figures)


def _memory(settings: Resources, pods: Sequence[PodUse]) -> Verdict:
    if not pods:
        return Verdict(Test.MEMORY, Outcome.UNDECIDED, "no pod has been measured")
    unlimited = [pod.name for pod in pods if pod.limit_bytes <= 0]
    if unlimited:
        return Verdict(Test.MEMORY, Outcome.FAILED, f"{unlimited[0]} has no memory limit")
    worst = max(pods, key=lambda pod: pod.peak_bytes / pod.limit_bytes)
    share = worst.peak_bytes / worst.limit_bytes
    figures = (Figure("peak_mib", round(worst.peak_bytes / MIB, 1)), Figure("limit_mib", worst.limit_bytes / MIB))
    reason = (
        f"{worst.name} used {worst.peak_bytes / MIB:,.0f} MiB under load, {percent(share)} of its limit of "
        f"{worst.limit_bytes / MIB:,.0f} MiB; {percent(settings.memory_share)} may be used"
    )
    if share > settings.memory_share:
        return Verdict(Test.MEMORY, Outcome.FAILED, reason, figures)
    fewest = min(pods, key=lambda pod: pod.readings)
    if fewest.readings < settings.readings:
        read = f"the memory of {fewest.name} was read {counted(fewest.readings, 'time')} under load"
        return Verdict(Test.MEMORY, Outcome.UNDECIDED, f"{read}, {settings.readings} are needed", figures)
    return Verdict(Test.MEMORY, Outcome.PASSED, reason, figures)


def judge(settings: Resources, pods: Sequence[PodUse]) -> Iterator[Verdict]:
    """The verdicts of this part."""
    restarts, kills = [pod.restarts for pod in pods], [pod.oom_kills for pod in pods]
    yield _nothing_happened(Test.RESTARTS, pods, restarts, "restart", "restarted")
    yield _nothing_happened(Test.OOM_KILLS, pods, kills, "out-of-memory kill", "was killed for want of memory")
    yield _memory(settings, pods)
