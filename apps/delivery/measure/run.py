"""The whole measurement of a release: what the gate leaves undecided is measured, until nothing is or can be.

Parts are measured in the gate's order, and the first that fails ends it: a release that breaks the contract gets no
load.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..checks import positive
from ..gate import Decision, Measurements, Outcome, Part, Settings, judge
from .cluster_api import ClusterApi
from .comparison import compare
from .connection import Server
from .integration import Patience, answers, self_test, versions
from .load import Problem, offer
from .resources import Watch, Where
from .samples import Sample, SamplesError


@dataclass(frozen=True)
class Production:
    """What the candidate is compared with."""

    version: str
    service: Server


@dataclass(frozen=True)
class Target:
    """What is measured."""

    version: str
    """The one that must be served."""
    service: Server
    pods: Where
    production: Production | None
    """None where nothing is in production yet."""


@dataclass(frozen=True)
class Limits:
    """How long things may take."""

    request_seconds: float = 10.0
    """A request without an answer by then has failed."""
    pause_seconds: float = 1.0
    """Before another try, where there is one."""
    settle_seconds: float = 3.0
    """After the load, until a kill must stand in the cluster's state: kubelets look every second, then report."""
    blame_seconds: float = 15.0
    """After load under which requests failed, for a kill to be known: it says more than they do."""
    seconds: float = 1200.0
    """In all, but for a last look at the pods; what is undecided then has failed."""

    def __post_init__(self) -> None:
        """Refuse what cannot be kept."""
        positive(self, "request_seconds", "pause_seconds", "settle_seconds", "blame_seconds", "seconds")

    def suit(self, settings: Settings) -> None:
        """Refuse what would see no slow answer."""
        if 1000 * self.request_seconds <= settings.load.p95_ms:
            raise ValueError(
                f"request_seconds = {self.request_seconds:g}: must be more than p95_ms, {settings.load.p95_ms:g}, "
                "or no slow answer is ever seen"
            )


@dataclass(frozen=True)
class Measured:
    """The evidence: `releases.strict` writes and reads it."""

    measurements: Measurements
    decision: Decision
    problems: tuple[Problem, ...] = ()
    """Why requests failed under load."""


@dataclass
class _Bench:
    """What all parts use while one release is measured."""

    settings: Settings
    target: Target
    samples: Sequence[Sample]
    limits: Limits
    patience: Patience
    watch: Watch
    problems: dict[str, int] = field(default_factory=dict)
    load_ended: float = float("-inf")


def _integration(bench: _Bench, measured: Measurements) -> Measurements:
    if measured.answers:
        return measured  # all attempts are made at once, or time is over
    contract, service = bench.settings.contract, bench.target.service
    return replace(
        measured,
        served_versions=versions(tuple(bench.watch.servers.values()), service, bench.patience),
        answers=(
            *answers(contract, service, bench.samples, bench.patience),
            self_test(contract, service, bench.patience),
        ),
    )


def _load(bench: _Bench, measured: Measurements) -> Measurements:
    """A round of load, with the pods watched. More than the load test needs only where memory was read too rarely."""
    load, patience = bench.settings.load, bench.patience
    if len(measured.requests) >= load.requests * (load.rounds + bench.settings.resources.readings):
        return measured
    with bench.watch.under_load(patience.until):
        offered = offer(
            bench.target.service,
            bench.samples,
            load.requests,
            load.concurrency,
            first=len(measured.requests),
            seconds=patience.seconds,
            until=patience.until,
            clock=patience.clock,
        )
    bench.load_ended = patience.clock()
    for problem in offered.problems:
        bench.problems[problem.what] = bench.problems.get(problem.what, 0) + problem.times
    if not offered.requests:
        return measured
    return replace(measured, requests=measured.requests + offered.requests, pods=bench.watch.uses)


def _comparison(bench: _Bench, measured: Measurements) -> Measurements:
    """A whole round of samples, since less settles nothing; nothing where so many are not left."""
    production, first = bench.target.production, len(measured.pairs)
    samples = bench.samples[first : first + bench.settings.comparison.samples]
    if production is None or len(samples) < bench.settings.comparison.samples:
        return measured
    contract, service = bench.settings.contract, bench.target.service
    pairs = compare(contract, service, production.service, samples, patience=bench.patience, first=first)
    return replace(measured, pairs=(*measured.pairs, *pairs))


_MEASURE: Mapping[Part, Callable[[_Bench, Measurements], Measurements]] = {
    Part.INTEGRATION: _integration,
    Part.RESOURCES: _load,
    Part.LOAD: _load,
    Part.COMPARISON: _comparison,
}


def _judged(settings: Settings, measured: Measurements, spent: Part | None) -> Decision:
    """The gate's decision; `spent` is the part of which no more can be measured.

    What was never begun then stays undecided: it is not why the release failed.
    """
    decision = judge(settings, measured)
    if spent is None:
        return decision
    ended = judge(settings, measured, last=True)
    both = zip(decision.verdicts, ended.verdicts, strict=True)
    return Decision(tuple(end if now.test.part is spent else now for now, end in both))


def _settled(bench: _Bench, measured: Measurements, outcome: Outcome) -> Measurements:
    """With what became of the pods in the end.

    A pass waits until that must be known; where requests failed, a busy node's kubelet is given more time to tell why.
    """
    patience, limits = bench.patience, bench.limits
    if outcome is Outcome.PASSED:
        patience.sleep(max(0.0, bench.load_ended + limits.settle_seconds - patience.clock()))
    bench.watch.refresh()
    while bench.problems and not any(use.restarts or use.oom_kills for use in bench.watch.uses):
        if patience.clock() >= bench.load_ended + limits.blame_seconds:
            break
        patience.sleep(limits.pause_seconds)
        bench.watch.refresh()
    return replace(measured, pods=bench.watch.uses)


def _check(settings: Settings, target: Target, samples: Sequence[Sample], limits: Limits) -> None:
    """Refuse what would fail every release."""
    limits.suit(settings)
    needed = settings.comparison.samples if target.production else 1
    if len(samples) < needed:
        raise SamplesError(f"{len(samples)} labelled samples: the gate needs {needed} or more")


def run(
    settings: Settings,
    target: Target,
    samples: Sequence[Sample],
    api: ClusterApi,
    *,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Measured:
    """Measure a release that has been rolled out, and judge it: passed or failed, never undecided.

    ApiError where the cluster does not tell, MeasurementError where pods went or production does not answer: neither
    says anything about the release, so it may be measured again.
    """
    limits = limits or Limits()
    _check(settings, target, samples, limits)
    patience = Patience(limits.request_seconds, limits.pause_seconds, clock() + limits.seconds, clock, sleep)
    bench = _Bench(settings, target, samples, limits, patience, Watch(api, target.pods, clock))
    measured = _integration(
        bench,
        Measurements(
            target.version,
            concurrency=settings.load.concurrency,
            production=target.production.version if target.production else None,
        ),
    )
    spent: Part | None = None
    settled = False
    while True:
        decision = _judged(settings, measured, spent)
        if decision.outcome is not Outcome.UNDECIDED:
            if settled:
                break
            measured, settled = _settled(bench, measured, decision.outcome), True
            continue
        part = decision.undecided[0].part
        more = _MEASURE[part](bench, measured)
        spent = part if more == measured or clock() >= patience.until else None
        measured, settled = more, False
    problems = sorted(bench.problems.items(), key=lambda problem: -problem[1])
    return Measured(measured, decision, tuple(Problem(*problem) for problem in problems))
