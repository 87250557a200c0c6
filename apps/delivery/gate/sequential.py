"""A test of a share in rounds, with exact error rates: "are fewer than 5 % of requests bad?".

After every round the number of bad results so far is compared with two bounds: at most `most` passes, at least `least`
fails, anything between needs another round, and the last round always decides. The bounds are the ones that spend the
permitted error rates over the rounds (a group sequential test with alpha spending). Nothing is approximated: the
distribution of the number of bad results is carried from round to round, exactly, for a share that is just too large
(`bad`) and for one that is good (`good`). Since more bad results only ever count against a release, these two are the
worst cases: whatever has a share >= `bad` passes no more often than `false_pass` says, and whatever has a share <=
`good` fails no more often than `false_fail` says. Between the two lies the zone of indifference, where the test may
answer either way.

The results must be independent of each other. Requests that suffer from the same pause are not, and count as more
evidence than they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

from .verdicts import Outcome

PASS_SPENDING, FAIL_SPENDING = 0.2, 1.0
"""Exponents of the share of rounds done. The permission to pass is spent early, so that a release without one bad
result passes after the first round; that to fail evenly."""


class OutOfReachError(ValueError):
    """These error rates cannot be had with so few samples."""


@dataclass(frozen=True)
class Look:
    """What is decided after so many samples."""

    size: int
    most: int
    """With so many bad results or fewer it has passed; -1 where it cannot pass yet."""
    least: int
    """With so many or more it has failed."""


@dataclass(frozen=True)
class Plan:
    """The bounds of every round, and how often they mislead."""

    looks: tuple[Look, ...]
    false_pass: float
    """How often a share that is just too large passes."""
    false_fail: float
    """How often a good share fails."""


@dataclass(frozen=True)
class Standing:
    """Where a test stands."""

    outcome: Outcome
    size: int
    """How many results were looked at."""
    bad: int
    missing: int = 0
    """How many results are missing until the next look."""


def _binomial(size: int, share: float) -> list[float]:
    return [comb(size, k) * share**k * (1 - share) ** (size - k) for k in range(size + 1)]


def _added(before: Sequence[float], one_round: Sequence[float]) -> list[float]:
    """The distribution of the sum of two independent counts."""
    both = [0.0] * (len(before) + len(one_round) - 1)
    for i, chance in enumerate(before):
        if chance:
            for j, more in enumerate(one_round):
                both[i + j] += chance * more
    return both


def _most(chances: Sequence[float], allowance: float) -> int:
    """The largest count whose chances, with those of all smaller ones, stay within the allowance."""
    count = -1
    while count + 1 < len(chances) and allowance >= chances[count + 1]:
        count += 1
        allowance -= chances[count]
    return count


@lru_cache(maxsize=64)
def plan(samples: int, rounds: int, *, bad: float, good: float, false_pass: float, false_fail: float) -> Plan:
    """The bounds for rounds of so many samples; OutOfReachError where a good share would fail too often."""
    if not 0 <= good < bad < 1:
        raise ValueError(f"a good share ({good:g}) must be smaller than a bad one ({bad:g}), both within 0 and 1")
    round_if_bad, round_if_good = _binomial(samples, bad), _binomial(samples, good)
    if_bad, if_good = [1.0], [1.0]
    passed = failed = 0.0
    looks: list[Look] = []
    for number in range(1, rounds + 1):
        if_bad, if_good = _added(if_bad, round_if_bad), _added(if_good, round_if_good)
        done = number / rounds
        most = _most(if_bad, false_pass * done**PASS_SPENDING - passed)
        size = samples * number
        least = size - _most(if_good[::-1], false_fail * done**FAIL_SPENDING - failed)
        if number == rounds or least <= most + 1:
            least = most + 1
        passed += sum(if_bad[: most + 1])
        failed += sum(if_good[least:])
        looks.append(Look(size, most, least))
        if least == most + 1:
            break
        if_bad, if_good = (
            [chance if most < count < least else 0.0 for count, chance in enumerate(chances)]
            for chances in (if_bad, if_good)
        )
    if failed > false_fail:
        raise OutOfReachError(
            f"{rounds} rounds of {samples} are too few to tell a share of {bad:g} from one of {good:g}: "
            f"{100 * failed:.3g} % of good releases would fail, {100 * false_fail:.3g} % may; allow more rounds"
        )
    return Plan(tuple(looks), passed, failed)


def assess(test: Plan, bad: Sequence[bool]) -> Standing:
    """Replay every look in order, so that it makes no difference how often and how late the gate is asked."""
    count = seen = 0
    for look in test.looks:
        if len(bad) < look.size:
            return Standing(Outcome.UNDECIDED, seen, count, missing=look.size - len(bad))
        count += sum(bad[seen : look.size])
        seen = look.size
        if count <= look.most:
            return Standing(Outcome.PASSED, seen, count)
        if count >= look.least:
            return Standing(Outcome.FAILED, seen, count)
    raise AssertionError("the last look of a plan decides")
