"""Promotion and revert: one story after the other, and the files of the releases repository."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from apps.delivery import gate
from apps.delivery.releases import (
    Abandoned,
    Act,
    Answer,
    Approved,
    Built,
    Event,
    Evidence,
    GateEnded,
    Plan,
    Policy,
    RecordError,
    Release,
    RevertRequested,
    Serving,
    StalePlanError,
    State,
    apply,
    changed_files,
    decide,
    empty,
    evidence_path,
    moved,
    moves,
    read,
    read_state,
    release_path,
    state_files,
    wanted,
    written,
)

NAMES = ("staging", "canary", "production")
ACT = Act("ada", "test", "2026-01-31T02:00:00Z")
PASSED = gate.Decision(tuple(gate.Verdict(test, gate.Outcome.PASSED, "as it should be") for test in gate.Test))
FAILED = gate.Decision((gate.Verdict(gate.Test.P95, gate.Outcome.FAILED, "p95 of 100 requests is 2,310 ms"),))


def release(number: int, bits: int | None = None, version: int | None = None) -> Release:
    """The release of run `number`; `bits` is the image, where it is not the run's own."""
    digest = f"sha256:{number if bits is None else bits:064x}"
    return Release(digest, str(version or number), f"{number:040x}", f"run-{number}")


def run(state: State, *events: Event, policy: Policy = Policy.APPROVAL) -> State:
    for event in events:
        state = apply(state, decide(state, event, policy))
    return state


def answer(state: State, event: Event) -> Answer:
    return decide(state, event).answer


def built(item: Release) -> list[Event]:
    return [Built(item, ACT), Serving("staging", item, ACT)]


def ended(item: Release, decision: gate.Decision = PASSED) -> GateEnded:
    return GateEnded(Evidence(item, decision, ACT))


def approved(item: Release) -> Approved:
    return Approved(item.digest, item.run, ACT)


def reverted(item: Release) -> RevertRequested:
    return RevertRequested(item.digest, item.run, ACT)


def promoted(*items: Release) -> State:
    return run(empty(NAMES), *(event for item in items for event in (*built(item), ended(item), approved(item))))


def runs(state: State) -> list[str | None]:
    """The run that each environment has its release from."""
    return [None if at is None else at.run for at in (state.current(here) for here in state.environments)]


ONE, TWO, THREE = release(1), release(2), release(3)


def test_a_release_goes_through_all_environments_with_one_digest() -> None:
    """Staging when it is built, canary when it passed, production when a person approved."""
    state = run(empty(NAMES), *built(ONE))
    assert runs(state) == ["run-1", None, None]
    state = run(state, ended(ONE))
    assert runs(state) == ["run-1", "run-1", None]
    state = run(state, approved(ONE))
    assert runs(state) == ["run-1", "run-1", "run-1"]
    assert {release.digest for at in state.environments if (release := state.current(at))} == {ONE.digest}


def test_a_failed_gate_leaves_staging_on_the_last_release_that_passed() -> None:
    """Not on the one before by number: that one may have failed as well."""
    state = run(promoted(ONE), *built(TWO), ended(TWO, FAILED), *built(THREE), ended(THREE, FAILED))
    assert runs(state) == ["run-1", "run-1", "run-1"]


def test_the_first_release_that_fails_leaves_staging_empty() -> None:
    """There is nothing to go back to."""
    assert runs(run(empty(NAMES), *built(ONE), ended(ONE, FAILED))) == [None, None, None]


def test_production_goes_back_to_what_it_ran_before() -> None:
    """Two passed but nobody approved it, so it is not what production goes back to; nothing goes back to three."""
    state = run(promoted(ONE), *built(TWO), ended(TWO), *built(THREE), ended(THREE), approved(THREE))
    assert runs(state) == ["run-3", "run-3", "run-3"]
    assert runs(run(state, reverted(THREE))) == ["run-2", "run-2", "run-1"]


def test_a_second_revert_goes_back_one_more_and_the_last_release_stays() -> None:
    """Taking away the only release of production would be an outage."""
    state = run(promoted(ONE, TWO, THREE), reverted(THREE), reverted(TWO))
    assert runs(state) == ["run-1"] * 3
    plan = decide(state, reverted(ONE))
    assert (plan.answer, plan.reason) == (
        Answer.REFUSED,
        "production has no earlier release to go back to; promote another one",
    )


def test_a_revert_goes_past_the_same_image_of_another_run() -> None:
    """Going back to the image that one wants to get rid of would be no revert."""
    again = release(4, bits=3, version=3)
    assert runs(run(promoted(ONE, THREE, again), reverted(again))) == ["run-1"] * 3


def test_a_revert_leaves_a_newer_release_under_test_and_in_canary() -> None:
    """They are not what was withdrawn."""
    state = run(promoted(ONE, TWO), *built(THREE), ended(THREE), *built(release(4)))
    assert runs(run(state, reverted(TWO))) == ["run-4", "run-3", "run-1"]


def test_a_withdrawn_release_is_not_approved_any_more() -> None:
    """An approval that comes late, or twice, would bring back what someone has just taken out."""
    waiting = run(promoted(ONE), *built(TWO), ended(TWO))
    assert answer(run(waiting, reverted(TWO)), approved(TWO)) is Answer.REFUSED
    assert answer(run(waiting, approved(TWO), reverted(TWO)), approved(TWO)) is Answer.REFUSED


def test_an_approval_counts_for_the_digest_and_the_test_that_it_names_only() -> None:
    """The same image may come back in a new run, whose test may have found something else."""
    again = release(4, bits=2, version=2)
    state = run(promoted(ONE, TWO), reverted(TWO), *built(again), ended(again))
    assert again.digest == TWO.digest
    assert answer(state, approved(TWO)) is Answer.REFUSED
    assert answer(state, Approved(THREE.digest, again.run, ACT)) is Answer.REFUSED
    assert answer(state, approved(again)) is Answer.CHANGED


def test_a_release_is_promoted_only_once_it_was_tested_where_it_was_served() -> None:
    """A result without a deployment is of something else."""
    state = run(empty(NAMES), Built(ONE, ACT))
    assert answer(state, ended(ONE)) is Answer.REFUSED
    assert answer(state, ended(TWO)) is Answer.REFUSED
    other = replace(ONE, version="9")
    assert answer(run(state, Serving("staging", ONE, ACT)), ended(other)) is Answer.REPEATED


def test_an_undecided_gate_changes_nothing() -> None:
    """Neither a promotion nor a revert follows from too few measurements."""
    state = run(empty(NAMES), *built(ONE))
    assert answer(state, ended(ONE, gate.Decision(()))) is Answer.REFUSED


def test_a_second_candidate_waits_for_the_first() -> None:
    """Else the gate would measure one release and promote another."""
    state = run(empty(NAMES), *built(ONE))
    assert answer(state, Built(TWO, ACT)) is Answer.LATER
    assert answer(run(state, Abandoned(ONE, ACT)), Built(TWO, ACT)) is Answer.CHANGED


def test_an_older_version_does_not_follow_a_newer_one() -> None:
    """A run that was held up would otherwise take canary back. What was withdrawn is no newer one."""
    state = promoted(ONE, THREE)
    assert answer(state, Built(TWO, ACT)) is Answer.REFUSED
    assert answer(run(state, reverted(THREE)), Built(TWO, ACT)) is Answer.CHANGED


def test_a_plan_of_an_older_state_is_refused() -> None:
    """Two decide at once; the second one must look again."""
    state = run(promoted(ONE), *built(TWO), ended(TWO))
    approval, revert = decide(state, approved(TWO)), decide(state, reverted(TWO))
    after = apply(state, revert)
    with pytest.raises(StalePlanError, match="read it again and decide anew"):
        apply(after, approval)
    assert answer(after, approved(TWO)) is Answer.REFUSED


def test_production_follows_by_itself_where_the_policy_says_so() -> None:
    """Once canary has been seen serving it; at once where there is nothing between."""
    state = run(empty(NAMES), *built(ONE), ended(ONE), policy=Policy.AUTOMATIC)
    assert runs(state) == ["run-1", "run-1", None]
    assert runs(run(state, Serving("canary", ONE, ACT), policy=Policy.AUTOMATIC)) == ["run-1"] * 3
    assert runs(run(state, Serving("canary", ONE, ACT))) == ["run-1", "run-1", None]
    two = empty(("staging", "production"))
    assert runs(run(two, *built(ONE), ended(ONE), policy=Policy.AUTOMATIC)) == ["run-1"] * 2


def test_a_plan_says_what_changes_in_git_and_in_mlflow() -> None:
    """What a person reads before they confirm a revert."""
    plan = decide(promoted(ONE, TWO), reverted(TWO))
    assert [(change.environment, change.after) for change in plan.changes] == [(name, ONE) for name in NAMES]
    assert [(move.alias, move.version) for move in plan.alias_moves] == [(name, "1") for name in NAMES]
    assert plan.record is not None
    assert (plan.record.event, plan.record.act, plan.record.number) == ("RevertRequested", ACT, plan.number + 1)


def test_aliases_of_others_are_left_alone() -> None:
    """People put their own aliases on a model."""
    actual = {"staging": "9", "mine": "5", "canary": "1"}
    state = run(empty(NAMES), *built(ONE))
    for move in moves(state, actual):
        actual = moved(actual, move)
    assert actual == {"mine": "5", **wanted(state)}
    assert wanted(state) == {"development": "1", "staging": "1"}


def test_a_commit_holds_only_what_changes_and_its_evidence() -> None:
    """A failed gate leaves its evidence too."""
    state = run(promoted(ONE), *built(TWO))
    files = changed_files(decide(state, ended(TWO, FAILED)))
    record = f"records/{state.number + 1:06d}.json"
    assert set(files) == {"pipeline.json", release_path("staging"), record, evidence_path(TWO.run)}
    assert read(Evidence, files[evidence_path(TWO.run)], "evidence") == Evidence(TWO, FAILED, ACT)
    assert changed_files(decide(state, Built(TWO, ACT))) == {}
    at_rest = json.loads(state_files(state)[release_path("production")])
    assert (at_rest["release"]["digest"], at_rest["evidence"]) == (ONE.digest, evidence_path(ONE.run))


def test_the_state_is_read_as_it_was_written() -> None:
    """From the files of every commit, laid one over the other."""
    state, files = empty(NAMES), dict[str, str]()
    for event in (*built(ONE), ended(ONE), approved(ONE), *built(TWO), ended(TWO), reverted(TWO), *built(THREE)):
        plan = decide(state, event)
        files |= changed_files(plan)
        state = apply(state, plan)
        assert read_state(files, NAMES) == state
    assert state.number == 10
    assert read_state({}, NAMES) == empty(NAMES)


def edited(path: str, edit: Callable[[Any], object]) -> dict[str, str]:
    files = state_files(promoted(ONE, TWO))
    data = json.loads(files[path])
    edit(data)
    return {**files, path: json.dumps(data)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (edited("pipeline.json", lambda d: d.update(extra=1)), r"pipeline.json.extra: unknown key"),
        (edited("pipeline.json", lambda d: d.pop("runs")), r"pipeline.json.runs: is missing"),
        (
            edited("pipeline.json", lambda d: d.update(number="8")),
            r'number = "8": must be a whole number',
        ),
        (edited("pipeline.json", lambda d: d.update(number=True)), r"must be a whole number"),
        (edited("pipeline.json", lambda d: d["runs"].append("run-1")), r"a list without doubles"),
        (
            edited("pipeline.json", lambda d: d["built"].update(digest="latest")),
            r"digest = 'latest': must be sha256",
        ),
        (
            edited(release_path("production"), lambda d: d["release"].update(version="9")),
            r"environments/production/release.json: does not follow from pipeline.json and its own history",
        ),
        (
            edited(release_path("canary"), lambda d: d["passed"][0].update(evidence="evidence/other.json")),
            r"came from no run of the pipeline",
        ),
        ({**state_files(promoted(ONE)), "pipeline.json": "{"}, r"pipeline.json: is not JSON"),
        ({**state_files(promoted(ONE)), "pipeline.json": '{"number": 1, "number": 2}'}, r"stands there twice"),
        ({release_path("staging"): "{}"}, r"pipeline.json: is missing"),
    ],
)
def test_files_that_no_plan_wrote_are_refused(files: dict[str, str], message: str) -> None:
    """An edit by hand would put an untested digest into production."""
    with pytest.raises(RecordError, match=message):
        read_state(files, NAMES)


def test_settings_of_the_gate_are_written_and_read_as_well() -> None:
    """They reach the steps as one parameter."""
    settings = gate.Settings(gate.Contract(frozenset({"b", "a"})))
    assert read(gate.Settings, written(settings), "gate") == settings
    with pytest.raises(RecordError, match=r"gate.load.requests = 0: must be greater than 0"):
        read(gate.Settings, written(settings).replace('"requests": 100', '"requests": 0'), "gate")


@pytest.mark.parametrize(
    "make",
    [
        lambda: empty(("staging",)),
        lambda: empty(("a", "a")),
        lambda: empty(("../x", "production")),
        lambda: replace(ONE, run="../../x"),
        lambda: replace(ONE, version="01"),
        lambda: replace(ONE, revision="main"),
        lambda: replace(ACT, who=""),
        lambda: replace(ACT, time="yesterday"),
    ],
)
def test_names_that_could_not_be_found_again_are_refused(make: Callable[[], object]) -> None:
    """A run becomes the name of a file, a revision may not move."""
    with pytest.raises(ValueError, match=r"must be|name "):
        make()


def test_a_plan_is_never_made_of_chance_or_time() -> None:
    """The same event on the same state gives the same plan: what the long walk relies on."""
    state = run(promoted(ONE), *built(TWO))
    plans: list[Plan] = [decide(state, ended(TWO)) for _ in range(2)]
    assert plans[0] == plans[1]
