"""How often the gate misleads: exactly where that can be computed, and on 10,000 simulated releases."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import Literal

import pytest

from apps.delivery import gate
from apps.delivery.gate import (
    Answer,
    Measurements,
    Outcome,
    Pair,
    PodUse,
    comparison,
    integration,
    load,
    paired,
    resources,
    sequential,
)

SETTINGS = gate.Settings(gate.Contract(frozenset({"Bread", "Egg"})))
RELEASES = 10_000
GIB = 1024**3


@dataclass(frozen=True)
class Truth:
    """What a release really is. No gate sees this."""

    failing: float = 0.002
    """Share of requests without an answer."""
    late: float = 0.003
    """Share of requests that take longer than the limit."""
    accuracy_difference: float = 0.0
    """To production's."""
    disagreeing: float = 0.05
    """Share of samples on which just one of the two is right."""
    slower: float = 0.05
    """Share of samples on which it takes longer than the permitted ratio."""
    memory: float = 0.6
    """Share of its limit at the peak."""
    restarts: int = 0
    contract: bool = True


GOOD_BORDER = Truth(failing=0.005, late=0.005, disagreeing=0.08, slower=0.25, memory=0.8)
"""As bad as a good release may be, in everything at once."""
Broken = Literal["failing", "late", "accuracy", "slower", "memory", "restarts", "contract"]
BROKEN: Sequence[Broken] = ("failing", "late", "accuracy", "slower", "memory", "restarts", "contract")


def good(rng: random.Random) -> Truth:
    """Half of them at the border of what is good, half anywhere within."""
    if rng.random() < 0.5:
        return GOOD_BORDER
    return Truth(
        failing=rng.uniform(0, 0.005),
        late=rng.uniform(0, 0.005),
        accuracy_difference=rng.uniform(0, 0.03),
        disagreeing=rng.uniform(0.03, 0.08),
        slower=rng.uniform(0, 0.25),
        memory=rng.uniform(0.2, 0.8),
    )


def bad(rng: random.Random, broken: Broken) -> Truth:
    """Good but for one thing; half of them break the rule by next to nothing, which is the hardest to see."""
    border = rng.random() < 0.5
    truth = replace(good(rng), accuracy_difference=0.0)
    if broken == "accuracy":
        lower = 0.05 if border else rng.uniform(0.05, 0.3)
        return replace(truth, accuracy_difference=-lower, disagreeing=lower + rng.uniform(0, 0.1))
    changes: dict[Broken, Truth] = {
        "failing": replace(truth, failing=0.05 if border else rng.uniform(0.05, 0.5), late=0.0),
        "late": replace(truth, late=0.05 if border else rng.uniform(0.05, 0.5), failing=0.0),
        "slower": replace(truth, slower=0.5 if border else rng.uniform(0.5, 1)),
        "memory": replace(truth, memory=rng.uniform(0.95, 1)),
        "restarts": replace(truth, restarts=1),
        "contract": replace(truth, contract=False),
    }
    return changes[broken]


def pair(production: str, candidate: str, milliseconds: float) -> Pair:
    return Pair("s", "Bread", production, candidate, 100.0, milliseconds)


PAIRS = [
    pair(production, candidate, milliseconds)
    for production, candidate in (("Bread", "Egg"), ("Bread", "Bread"), ("Egg", "Bread"))
    for milliseconds in (120.0, 160.0)
]
ANSWERS = {
    right: tuple(Answer(f"s{i}", 200, f'{{"label": "{name}", "probability": 0.9}}') for i in range(20))
    for right, name in ((True, "Bread"), (False, "Shoe"))
}


def more_requests(rng: random.Random, truth: Truth, count: int) -> list[float | None]:
    weights = (truth.failing, truth.late, 1 - truth.failing - truth.late)
    return rng.choices((None, 2310.0, 150.0), weights, k=count)


def more_pairs(rng: random.Random, truth: Truth, count: int) -> list[Pair]:
    lost = (truth.disagreeing - truth.accuracy_difference) / 2
    chances = (lost, 1 - truth.disagreeing, lost + truth.accuracy_difference)
    weights = [chance * slow for chance in chances for slow in (1 - truth.slower, truth.slower)]
    return rng.choices(PAIRS, weights, k=count)


def release(rng: random.Random, truth: Truth) -> gate.Decision:
    """Measure part by part until the gate has decided, and no further once a part has failed.

    Requests and samples come in helpings, of which the gate looks at as many rounds as it needs.
    """
    peak = int(GIB * min(1.0, truth.memory * rng.uniform(0.97, 1.0)))
    pod = PodUse("app", truth.restarts, 0, peak, GIB, 5)
    measured = Measurements("7", ("7",), ANSWERS[truth.contract], (pod,), 10, production="6")
    verdicts = [*integration.judge(SETTINGS.contract, measured), *resources.judge(SETTINGS.resources, measured.pods)]
    for count in (200, 100, 200):
        measured = replace(measured, requests=(*measured.requests, *more_requests(rng, truth, count)))
        under_load = gate.Decision((*verdicts, *load.judge(SETTINGS, measured)))
        if not under_load.undecided:
            break
    if under_load.outcome is Outcome.FAILED:
        return under_load
    for count in (300, 300, 400):
        measured = replace(measured, pairs=(*measured.pairs, *more_pairs(rng, truth, count)))
        decision = gate.Decision((*under_load.verdicts, *comparison.judge(SETTINGS, measured)))
        if decision.outcome is not Outcome.UNDECIDED:
            break
    return decision


def test_10_000_releases_are_promoted_and_reverted_as_they_deserve() -> None:
    """False promotions <= 1 %, false reverts <= 5 %, at the default gate, half of the releases at the borders."""
    rng = random.Random(20260131)  # noqa: S311  a simulation
    promoted, reverted = Counter[str](), Counter[str]()
    for number in range(RELEASES // 2):
        broken = BROKEN[number % len(BROKEN)]
        promoted[broken] += release(rng, bad(rng, broken)).outcome is Outcome.PASSED
        decision = release(rng, good(rng))
        for verdict in decision.verdicts:
            reverted[verdict.test] += verdict.outcome is Outcome.FAILED
        reverted["any"] += decision.outcome is Outcome.FAILED
    assert promoted.total() <= 0.01 * RELEASES / 2, promoted
    assert max(promoted.values()) <= 0.01 * RELEASES / 2 / len(BROKEN), promoted
    assert reverted["any"] <= 0.05 * RELEASES / 2, reverted
    print(promoted, reverted)


def chances(plan: sequential.Plan, share: float) -> Iterator[tuple[float, float]]:
    """How often each look passes and fails, by another way than the plan's own: one result after the other."""
    counts = {0: 1.0}
    size = 0
    for look in plan.looks:
        while size < look.size:
            size += 1
            counts = {
                count: counts.get(count, 0.0) * (1 - share) + counts.get(count - 1, 0.0) * share
                for count in range(size + 1)
            }
        yield (
            sum(chance for count, chance in counts.items() if count <= look.most),
            sum(chance for count, chance in counts.items() if count >= look.least),
        )
        counts = {count: chance for count, chance in counts.items() if look.most < count < look.least}


@pytest.mark.parametrize(
    ("plan", "bad_share", "good_share"),
    [
        (SETTINGS.success_plan, 0.05, 0.01),
        (SETTINGS.p95_plan, 0.05, 0.01),
        (SETTINGS.latency_plan, 0.5, 0.25),
        (sequential.plan(50, 10, bad=0.1, good=0.04, false_pass=0.01, false_fail=0.05), 0.1, 0.04),
    ],
)
def test_the_error_rates_of_a_plan_are_exact(plan: sequential.Plan, bad_share: float, good_share: float) -> None:
    """And kept: every share that is worse passes less often, and every one that is better fails less often."""
    wrongly_passed = sum(passed for passed, _ in chances(plan, bad_share))
    wrongly_failed = sum(failed for _, failed in chances(plan, good_share))
    assert wrongly_passed == pytest.approx(plan.false_pass)
    assert wrongly_failed == pytest.approx(plan.false_fail)
    assert wrongly_passed <= 0.01
    assert wrongly_failed <= 0.05
    assert sum(passed for passed, _ in chances(plan, bad_share * 1.1)) < wrongly_passed
    assert sum(failed for _, failed in chances(plan, good_share * 0.9)) < wrongly_failed


def test_the_bounds_of_a_look_are_the_last_that_passes_and_the_first_that_fails() -> None:
    """One more or less would be other error rates than the stated ones."""
    plan = SETTINGS.success_plan
    first = plan.looks[0]

    def outcome(bad: int) -> Outcome:
        return sequential.assess(plan, [True] * bad + [False] * (first.size - bad)).outcome

    assert (outcome(first.most), outcome(first.most + 1)) == (Outcome.PASSED, Outcome.UNDECIDED)
    assert (outcome(first.least - 1), outcome(first.least)) == (Outcome.UNDECIDED, Outcome.FAILED)


def test_the_last_look_of_a_plan_decides() -> None:
    """A gate that never ends would hold the pipeline."""
    for plan in (SETTINGS.success_plan, SETTINGS.latency_plan):
        assert plan.looks[-1].least == plan.looks[-1].most + 1


def test_a_plan_of_one_round_is_the_exact_binomial_test() -> None:
    """The bound of Clopper and Pearson: the largest count whose upper limit stays below the share."""
    plan = sequential.plan(500, 1, bad=0.05, good=0.01, false_pass=0.01, false_fail=0.02)
    (look,) = plan.looks

    def up_to(count: int) -> float:
        return sum(comb(500, k) * 0.05**k * 0.95 ** (500 - k) for k in range(count + 1))

    assert up_to(look.most) <= 0.01 < up_to(look.most + 1)


def rounds(rng: random.Random, difference: float, disagreeing: float) -> list[paired.Round]:
    lost = (disagreeing - difference) / 2
    drawn = rng.choices((-1, 0, 1), (lost, 1 - disagreeing, lost + difference), k=1000)
    parts = [drawn[start : start + 100] for start in range(0, 1000, 100)]
    return [paired.Round(part.count(-1), part.count(0), part.count(1)) for part in parts]


def passed(rng: random.Random, difference: float, disagreeing: float, runs: int = 1000) -> float:
    bet = SETTINGS.accuracy_bet
    outcomes = (paired.assess(bet, rounds(rng, difference, disagreeing)) for _ in range(runs))
    return sum(outcome is Outcome.PASSED for outcome in outcomes) / runs


@pytest.mark.parametrize("disagreeing", [0.05, 0.1, 0.2, 0.5])
def test_a_model_that_loses_5_points_passes_in_1_of_100_at_most(disagreeing: float) -> None:
    """However many samples disagree: a bet against the truth does not win."""
    rng = random.Random(7)  # noqa: S311  a simulation
    assert passed(rng, -0.05, disagreeing) <= 0.01


@pytest.mark.parametrize("disagreeing", [0.02, 0.05, 0.08])
def test_a_model_as_accurate_as_production_passes(disagreeing: float) -> None:
    """Where the two disagree on no more samples than the settings say."""
    rng = random.Random(7)  # noqa: S311  a simulation
    assert passed(rng, 0.0, disagreeing) >= 1 - 0.05 / 4


def test_the_bet_is_fair() -> None:
    """A purse that bets against the truth has its expectation at 1 at every stake: the ground of all error rates."""
    for margin in (0.01, 0.05, 0.3):
        for stake in (0.1, 0.5, 0.9):
            for same in (0.0, 0.3, 0.6):
                gained = (1 - same - margin) / 2
                lost = gained + margin
                expected = gained * (1 + stake * (1 + margin)) + same * (1 + stake * margin)
                expected += lost * (1 - stake * (1 - margin))
                assert expected == pytest.approx(1)
