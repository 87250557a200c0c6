"""The promises of the state machine for any releases and environments: hypothesis looks for a counterexample."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
    Policy,
    Release,
    RevertRequested,
    Serving,
    State,
    apply,
    changed_files,
    decide,
    empty,
    moved,
    read_state,
    wanted,
)

ACT = Act("ada", "test", "2026-01-31T02:00:00Z")
PASSED = gate.Decision(tuple(gate.Verdict(test, gate.Outcome.PASSED, "") for test in gate.Test))
FAILED = gate.Decision((gate.Verdict(gate.Test.P95, gate.Outcome.FAILED, "p95"),))


class Promises(RuleBasedStateMachine):
    """A repository of files that only plans change, and a ledger of what was told, kept without the state machine."""

    state: State
    policy: Policy

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.events: list[Event] = []
        self.releases: list[Release] = []
        self.tested: set[Release] = set()
        self.approved: set[tuple[str, str]] = set()
        self.out: set[Release] = set()
        self.effects: list[Event] = []

    @initialize(between=st.integers(0, 2), policy=st.sampled_from(Policy))
    def start(self, between: int, policy: Policy) -> None:
        names = ("staging", *(f"canary-{i}" for i in range(between)), "production")
        self.state, self.policy = empty(names), policy

    def tell(self, event: Event) -> bool:
        plan = decide(self.state, event, self.policy)
        self.events.append(event)
        if plan.answer is not Answer.CHANGED:
            assert changed_files(plan) == {}
            return False
        assert event not in self.effects, "a repeated event had a second effect"
        self.effects.append(event)
        self.files |= changed_files(plan)
        self.state = apply(self.state, plan)
        for move in plan.alias_moves:
            self.aliases = moved(self.aliases, move)
        return True

    @rule(image=st.integers(1, 3))
    def build(self, image: int) -> None:
        number = len(self.releases) + 1
        release = Release(f"sha256:{image:064x}", str(image), f"{number:040x}", f"run-{number}")
        self.releases.append(release)
        self.tell(Built(release, ACT))

    @precondition(lambda self: self.state.candidate is not None)
    @rule(passes=st.booleans())
    def test(self, passes: bool) -> None:
        assert self.state.candidate is not None
        release = self.state.candidate.release
        self.tell(Serving("staging", release, ACT))
        if self.tell(GateEnded(Evidence(release, PASSED if passes else FAILED, ACT))) and passes:
            self.tested.add(release)

    @precondition(lambda self: self.releases)
    @rule(data=st.data())
    def serve(self, data: Any) -> None:
        release = data.draw(st.sampled_from(self.releases))
        environment = data.draw(st.sampled_from([environment.name for environment in self.state.environments]))
        self.tell(Serving(environment, release, ACT))

    @precondition(lambda self: self.releases)
    @rule(data=st.data())
    def abandon(self, data: Any) -> None:
        self.tell(Abandoned(data.draw(st.sampled_from(self.releases)), ACT))

    @precondition(lambda self: self.releases)
    @rule(data=st.data())
    def approve(self, data: Any) -> None:
        release, other = (data.draw(st.sampled_from(self.releases)) for _ in range(2))
        digest = data.draw(st.sampled_from([release.digest, release.digest, other.digest]))
        self.approved.add((digest, release.run))
        self.tell(Approved(digest, release.run, ACT))

    @precondition(lambda self: self.releases)
    @rule(data=st.data())
    def revert(self, data: Any) -> None:
        release = data.draw(st.sampled_from(self.releases))
        before = [self.state.current(environment) for environment in self.state.environments]
        if self.tell(RevertRequested(release.digest, release.run, ACT)):
            self.out.add(release)
            for environment, ran in zip(self.state.environments, before, strict=True):
                kept = ran is None or not ran.same_bits(release)
                assert not kept or self.state.current(environment) == ran, "what was not withdrawn was moved"

    @precondition(lambda self: self.events)
    @rule(data=st.data())
    def repeat(self, data: Any) -> None:
        self.tell(data.draw(st.sampled_from(self.events)))

    @invariant()
    def only_tested_releases_are_beyond_staging(self) -> None:
        for environment in self.state.environments[1:]:
            release = self.state.current(environment)
            assert release is None or release in self.tested - self.out

    @invariant()
    def production_is_approved(self) -> None:
        release = self.state.production.last
        if release is not None and self.policy is Policy.APPROVAL:
            assert (release.digest, release.run) in self.approved

    @invariant()
    def git_and_aliases_agree(self) -> None:
        assert self.aliases == wanted(self.state)
        assert read_state(self.files, [environment.name for environment in self.state.environments]) == self.state


TestPromises = Promises.TestCase
TestPromises.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
