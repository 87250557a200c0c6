"""Is it as good as what runs in production, on the same labelled samples?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import paired, sequential
from .figures import counted, percent
from .measurements import Measurements, Pair
from .paired import Round
from .settings import Comparison, Settings
from .verdicts import Figure, Outcome, Test, Verdict


@dataclass(frozen=True)
class _Right:
    """On how many samples of a round production, the candidate, or both were right."""

    samples: int
    production: int
    candidate: int
    both: int

    @property
    def round(self) -> Round:
        lost, gained = self.production - self.both, self.candidate - self.both
        return Round(lost, self.samples - lost - gained, gained)


def _right(pairs: Sequence[Pair]) -> _Right:
    counts = Counter((pair.production == pair.truth, pair.candidate == pair.truth) for pair in pairs)
    both = counts[True, True]
    return _Right(len(pairs), both + counts[True, False], both + counts[False, True], both)


def _accuracy(settings: Settings, production: str, pairs: Sequence[Pair]) -> Verdict:
    """Whole rounds only, and none after the one that settled it: later ones cannot change what was decided."""
    size = settings.comparison.samples
    whole = min(len(pairs) // size, settings.comparison.rounds)
    right: list[_Right] = []
    outcome = Outcome.UNDECIDED
    while outcome is Outcome.UNDECIDED and len(right) < whole:
        right.append(_right(pairs[len(right) * size : (len(right) + 1) * size]))
        outcome = paired.assess(settings.accuracy_bet, [part.round for part in right])
    if not right:
        missing = f"{len(pairs)} of {counted(size, 'labelled sample')} compared with version {production}"
        return Verdict(Test.ACCURACY, outcome, f"{missing}: the rest is needed")
    return _accuracy_verdict(settings, production, outcome, right)


def _accuracy_verdict(settings: Settings, production: str, outcome: Outcome, right: Sequence[_Right]) -> Verdict:
    seen = sum(part.samples for part in right)
    old, new = sum(part.production for part in right) / seen, sum(part.candidate for part in right) / seen
    lost, gained = sum(part.round.lost for part in right), sum(part.round.gained for part in right)
    figures = (
        Figure("samples", seen),
        Figure("accuracy", round(new, 4)),
        Figure("accuracy_production", round(old, 4)),
        Figure("lost", lost),
        Figure("gained", gained),
    )
    margin = f"{100 * settings.comparison.accuracy_margin:g} points"
    told = (
        f"accuracy on {counted(seen, 'labelled sample')} is {percent(new)}, version {production}'s {percent(old)} "
        f"({lost} lost, {gained} gained)"
    )
    if outcome is Outcome.PASSED:
        reason = f"{told}, less than {margin} below it with {percent(1 - settings.errors.false_promotion)} confidence"
    elif outcome is Outcome.UNDECIDED:
        reason = f"{told}: {settings.comparison.samples} more are needed"
    elif old - new >= settings.comparison.accuracy_margin:
        reason = f"{told}, the limit is {margin} below it"
    else:
        reason = f"{told}, which does not prove that it is less than {margin} below it"
    return Verdict(Test.ACCURACY, outcome, reason, figures)


def too_slow(settings: Comparison, pair: Pair) -> bool:
    """Whether the candidate took too much longer than production for this sample."""
    slow, permitted = pair.candidate_ms, settings.latency_ratio * pair.production_ms
    return not (slow <= settings.latency_floor_ms or slow <= permitted)  # what is no number is too slow


def _latency(settings: Settings, production: str, pairs: Sequence[Pair]) -> Verdict:
    at = settings.comparison
    plan = settings.latency_plan
    standing = sequential.assess(plan, [too_slow(at, pair) for pair in pairs[: plan.looks[-1].size]])
    figures = (Figure("samples", standing.size), Figure("slower", standing.bad))
    told = (
        f"slower than {at.latency_ratio:g} times version {production} on {standing.bad} of "
        f"{counted(standing.size, 'sample')}"
    )
    if standing.outcome is Outcome.PASSED:
        reason = f"{told}, fewer than half with {percent(1 - settings.errors.false_promotion)} confidence"
    elif standing.outcome is Outcome.UNDECIDED:
        reason = f"{told}: {standing.missing} more are needed"
    else:
        reason = f"{told}, too many to prove that it is on fewer than half"
    return Verdict(Test.LATENCY, standing.outcome, reason, figures)


def judge(settings: Settings, measured: Measurements) -> Iterator[Verdict]:
    """The verdicts of this part."""
    production, pairs = measured.production, measured.pairs
    if production is None:
        for test in (Test.ACCURACY, Test.LATENCY):
            yield Verdict(test, Outcome.PASSED, f"{test}: there is no version in production to compare with")
        return
    yield _accuracy(settings, production, pairs)
    yield _latency(settings, production, pairs)
