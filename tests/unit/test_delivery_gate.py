"""The gate: every part can fail, nothing passes unmeasured, and the sentences give the figures."""

from collections.abc import Callable
from dataclasses import replace
from math import nan
from typing import Any

import pytest

from apps.delivery import gate
from apps.delivery.gate import Answer, Measurements, Outcome, Pair, PodUse, Test

SETTINGS = gate.Settings(gate.Contract(frozenset({"Bread", "Egg", "Soup"})))
MIB = 1024 * 1024
BODY = '{"label": "Bread", "probability": 0.9}'
Mutation = Callable[[Measurements], Measurements]


def pairs(count: int, candidate: str = "Bread", candidate_ms: float = 100.0) -> tuple[Pair, ...]:
    return tuple(Pair(f"s{i}", "Bread", "Bread", candidate, 100.0, candidate_ms) for i in range(count))


GOOD = Measurements(
    expected_version="7",
    served_versions=("7", "7"),
    answers=tuple(Answer(f"s{i}", 200, BODY) for i in range(20)),
    pods=(PodUse("app-1", 0, 0, 150 * MIB, 256 * MIB, 5), PodUse("app-2", 0, 0, 160 * MIB, 256 * MIB, 5)),
    concurrency=10,
    requests=(120.0,) * 100,
    production="6",
    pairs=pairs(300),
)


def pod(**changed: Any) -> Mutation:
    return lambda good: replace(good, pods=(good.pods[0], replace(good.pods[1], **changed)))


def answer(status: int | None, body: str = BODY) -> Mutation:
    return lambda good: replace(good, answers=(*good.answers[1:], Answer("odd", status, body)))


def requests(*first: float | None) -> Mutation:
    return lambda good: replace(good, requests=(*first, *good.requests[len(first) :]))


MUTATIONS: dict[str, tuple[Mutation, Test, str]] = {
    "another version": (
        lambda good: replace(good, served_versions=("7", "6")),
        Test.VERSION,
        "version 6 is served, version 7 is expected",
    ),
    "no version": (
        lambda good: replace(good, served_versions=()),
        Test.VERSION,
        "no version is served, version 7 is expected",
    ),
    "an unknown class": (
        answer(200, '{"label": "Shoe", "probability": 0.9}'),
        Test.CONTRACT,
        'sample odd is answered with label "Shoe", which is none of the 3 known',
    ),
    "a class that is no name": (
        answer(200, '{"label": 3, "probability": 0.9}'),
        Test.CONTRACT,
        "sample odd is answered with label 3, which is none of the 3 known",
    ),
    "no probability": (
        answer(200, '{"label": "Bread"}'),
        Test.CONTRACT,
        "sample odd is answered with no probability",
    ),
    "a probability that is no number": (
        answer(200, '{"label": "Bread", "probability": NaN}'),
        Test.CONTRACT,
        "sample odd is answered with probability NaN, which is no number from 0 to 1",
    ),
    "a list": (answer(200, "[1, 2]"), Test.CONTRACT, "sample odd is answered with a body that is no JSON object"),
    "a page": (answer(200, "<p>Bread"), Test.CONTRACT, "sample odd is answered with a body that is no JSON object"),
    "a refused sample": (answer(422), Test.CONTRACT, "sample odd is answered with status 422"),
    "hardly an answer": (
        lambda good: replace(good, answers=tuple(Answer(f"s{i}", 503) for i in range(60))),
        Test.CONTRACT,
        "0 of 60 requests answered, 20 are needed",
    ),
    "a restart": (pod(restarts=1), Test.RESTARTS, "app-2 restarted 1 time under load"),
    "an OOM kill": (pod(oom_kills=2), Test.OOM_KILLS, "app-2 was killed for want of memory 2 times under load"),
    "too much memory": (
        pod(peak_bytes=250 * MIB),
        Test.MEMORY,
        "app-2 used 250 MiB under load, 97.7 % of its limit of 256 MiB; 90 % may be used",
    ),
    "no limit": (pod(limit_bytes=0), Test.MEMORY, "app-2 has no memory limit"),
    "failed requests": (
        requests(*[None] * 10),
        Test.SUCCESS,
        "10 of 100 requests failed (10 %), the limit is 5 %",
    ),
    "slow requests": (requests(*[2310.0] * 10), Test.P95, "p95 of 100 requests is 2,310 ms, the limit 2,000 ms"),
    "requests without a latency": (requests(*[nan] * 10), Test.P95, "p95 of 100 requests is"),
    "a worse model": (
        lambda good: replace(good, pairs=(*pairs(40, candidate="Soup"), *pairs(60)) * 3),
        Test.ACCURACY,
        "accuracy on 100 labelled samples is 60 %, version 6's 100 % (40 lost, 0 gained), "
        "the limit is 5 points below it",
    ),
    "a slower model": (
        lambda good: replace(good, pairs=pairs(300, candidate_ms=151.0)),
        Test.LATENCY,
        "slower than 1.5 times version 6 on 100 of 100 samples, too many to prove that it is on fewer than half",
    ),
}


def verdict(decision: gate.Decision, test: Test) -> gate.Verdict:
    (found,) = (verdict for verdict in decision.verdicts if verdict.test is test)
    return found


def test_a_good_release_passes_after_one_round_of_requests() -> None:
    """The default: 100 requests, 10 at a time, and none failed."""
    decision = gate.judge(SETTINGS, GOOD)
    assert decision.outcome is Outcome.PASSED, decision.reason
    assert verdict(decision, Test.P95).reason == "p95 of 100 requests is 120 ms, below 2,000 ms with 99 % confidence"


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_of_a_good_release_fails_by_its_own_test(name: str) -> None:
    """The gates of the source projects could not fail: they parsed lines that were never printed."""
    mutate, test, reason = MUTATIONS[name]
    decision = gate.judge(SETTINGS, mutate(GOOD))
    assert decision.outcome is Outcome.FAILED
    found = verdict(decision, test)
    assert (found.outcome, found.reason[: len(reason)]) == (Outcome.FAILED, reason)
    assert f"{test.part}: {reason}" in decision.reason


def test_every_test_of_the_gate_has_a_mutation_that_fails_it() -> None:
    """A new test comes with its mutation."""
    assert {test for _, test, _ in MUTATIONS.values()} == set(Test)


@pytest.mark.parametrize(
    ("missing", "tests"),
    [
        ({"answers": ()}, {Test.CONTRACT}),
        ({"pods": ()}, {Test.RESTARTS, Test.OOM_KILLS, Test.MEMORY}),
        ({"pods": (replace(GOOD.pods[0], readings=2),)}, {Test.MEMORY}),
        ({"requests": ()}, {Test.SUCCESS, Test.P95}),
        ({"requests": GOOD.requests[:99]}, {Test.SUCCESS, Test.P95}),
        ({"pairs": ()}, {Test.ACCURACY, Test.LATENCY}),
        ({"pairs": GOOD.pairs[:99]}, {Test.ACCURACY, Test.LATENCY}),
    ],
)
def test_what_was_not_measured_never_passes(missing: dict[str, Any], tests: set[Test]) -> None:
    """It is undecided until it is measured, and failed once it cannot be."""
    measured = replace(GOOD, **missing)
    decision = gate.judge(SETTINGS, measured)
    assert (decision.outcome, set(decision.undecided)) == (Outcome.UNDECIDED, tests)
    ended = gate.judge(SETTINGS, measured, last=True)
    assert ended.outcome is Outcome.FAILED
    assert all(verdict(ended, test).outcome is Outcome.FAILED for test in tests)


def test_a_decision_without_all_tests_is_no_pass() -> None:
    """An empty decision, or one with a test left out or doubled, must not promote anything."""
    passed = gate.judge(SETTINGS, GOOD).verdicts
    assert gate.Decision(()).outcome is Outcome.UNDECIDED
    for left_out in range(len(passed)):
        assert gate.Decision(passed[:left_out] + passed[left_out + 1 :]).outcome is Outcome.UNDECIDED
    assert gate.Decision((*passed, passed[0])).outcome is Outcome.UNDECIDED


def test_load_that_was_measured_otherwise_says_nothing_of_the_release() -> None:
    """One request at a time is another test: neither a pass nor a reason to revert."""
    with pytest.raises(gate.MeasurementError, match="asks for 10 at a time"):
        gate.judge(SETTINGS, replace(GOOD, concurrency=1))


def test_the_first_release_is_compared_with_nothing() -> None:
    """There is no production yet; all else must still hold."""
    first = replace(GOOD, production=None, pairs=())
    assert gate.judge(SETTINGS, first).outcome is Outcome.PASSED
    assert gate.judge(SETTINGS, replace(first, requests=(None,) * 100)).outcome is Outcome.FAILED


def test_a_failing_request_does_not_make_a_release_quicker() -> None:
    """Without that, a server that refuses half of the requests at once would have the best p95."""
    decision = gate.judge(SETTINGS, requests(*[None] * 50)(GOOD))
    assert verdict(decision, Test.P95).reason == (
        "p95 of 100 requests is no number, as more than 5 % were not answered, the limit 2,000 ms"
    )


def test_an_overloaded_answer_is_no_breach_of_the_contract() -> None:
    """Else 1 % of failing requests, which a good release may have, would fail 18 % of them here."""
    some = tuple(Answer(f"s{i}", 200 if i % 3 else None, BODY) for i in range(45))
    assert verdict(gate.judge(SETTINGS, replace(GOOD, answers=some)), Test.CONTRACT).outcome is Outcome.PASSED


def test_a_verdict_that_was_reached_stays_whatever_is_measured_later() -> None:
    """Else asking until it fits would change the error rates."""
    later = replace(GOOD, requests=GOOD.requests + (None,) * 400, pairs=(*pairs(300), *pairs(700, candidate="Soup")))
    assert gate.judge(SETTINGS, later) == gate.judge(SETTINGS, GOOD)


def test_few_failures_ask_for_more_requests() -> None:
    """2 of 100 can come from a good release and from one that fails 5 % of requests."""
    decision = gate.judge(SETTINGS, requests(None, None)(GOOD))
    assert decision.undecided == (Test.SUCCESS, Test.P95)
    assert verdict(decision, Test.SUCCESS).reason == (
        "2 of 100 requests failed (2 %), which proves neither side of 5 %: 100 more are needed"
    )


def test_small_latencies_are_never_too_slow() -> None:
    """6 ms against 3 ms is twice as much, and nobody notices."""
    quick = tuple(replace(pair, production_ms=3.0, candidate_ms=6.0) for pair in GOOD.pairs)
    assert gate.judge(SETTINGS, replace(GOOD, pairs=quick)).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gate.Contract(frozenset()), "name the classes"),
        (lambda: gate.Contract(frozenset({"a"}), attempts=3), "at least samples, 20"),
        (lambda: gate.Resources(memory_share=90), "give 0.95 for 95 %"),
        (lambda: gate.Load(requests=0), "requests = 0: must be greater than 0"),
        (lambda: gate.Load(success=0.99), "good = 0.99: must be greater than 0.99"),
        (lambda: gate.Comparison(good_slower=0.5), "smaller than 0.5"),
        (lambda: gate.Comparison(latency_ratio=0.5), "must be 1 or more"),
        (lambda: gate.Errors(false_promotion=0), "must lie between 0 and 1"),
        (lambda: replace(SETTINGS, load=gate.Load(rounds=1)), "allow more rounds"),
        (lambda: replace(SETTINGS, load=gate.Load(success=0.98)), "1 % may; allow more rounds|1.25 % may; allow"),
        (lambda: replace(SETTINGS, errors=gate.Errors(false_promotion=1e-6)), "allow more rounds"),
    ],
)
def test_settings_that_cannot_hold_are_refused(make: Callable[[], object], message: str) -> None:
    """A threshold that so few samples cannot test would promote or revert by chance."""
    with pytest.raises(ValueError, match=message):
        make()
