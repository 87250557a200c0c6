"""The promotion state machine: what an event changes.

    built -> first environment, as the candidate -> gate -> passed: every environment between -> approved: production
                                                 -> failed: the first environment goes back to the last that passed

There is one candidate at a time. Only what passed the gate is in the history of an environment, and an environment runs
the end of its history (the first one: the candidate, while there is one). So going back never meets an untested one.

`decide` is pure and refuses nothing by raising: an event that may not change anything gives a plan without changes and
says why. `apply` makes a plan true unless the state has moved on since; whoever meets StalePlanError reads the state
again and decides anew, as after a push that Git refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from ..gate import Outcome
from .aliases import AliasMove, moves, wanted
from .events import Abandoned, Approved, Built, Event, GateEnded, RevertRequested, Serving
from .model import KEPT, Act, Candidate, Environment, Release, State, Tested


class Policy(StrEnum):
    """What lets a tested release into production."""

    APPROVAL = "approval"
    AUTOMATIC = "automatic"


class Answer(StrEnum):
    """What a plan is."""

    CHANGED = "changed"
    REPEATED = "repeated"
    """The event has had its effect already, or needs none."""
    LATER = "later"
    """Not now: try again when the release under test is done."""
    REFUSED = "refused"


@dataclass(frozen=True)
class Change:
    """One environment gets another release, or none."""

    environment: str
    before: Release | None
    after: Release | None


@dataclass(frozen=True)
class Record:
    """What a change leaves for those who ask later."""

    number: int
    event: str
    act: Act
    changes: tuple[Change, ...]
    reason: str


class StalePlanError(RuntimeError):
    """The state has moved on since the plan was made: read it again and decide anew."""


@dataclass(frozen=True)
class Plan:
    """What an event does to the state that it was decided on."""

    event: Event
    before: State
    after: State
    answer: Answer
    reason: str

    @property
    def number(self) -> int:
        """Of the state that it was decided on."""
        return self.before.number

    @property
    def changes(self) -> tuple[Change, ...]:
        """What Git must say anew of environments."""
        return tuple(self._changes())

    def _changes(self) -> Iterator[Change]:
        for old, new in zip(self.before.environments, self.after.environments, strict=True):
            ran, runs = self.before.current(old), self.after.current(new)
            if ran != runs:
                yield Change(new.name, ran, runs)

    @property
    def alias_moves(self) -> tuple[AliasMove, ...]:
        """What MLflow's aliases must do, if they agreed with Git before. The aligning step asks MLflow itself."""
        return moves(self.after, wanted(self.before))

    @property
    def record(self) -> Record | None:
        """What to keep of it; nothing of what changed nothing."""
        if self.answer is not Answer.CHANGED:
            return None
        return Record(self.after.number, type(self.event).__name__, self.event.act, self.changes, self.reason)


Effect = tuple[Answer, str] | State
"""Why nothing changes, or the new state."""


def evidence_path(run: str) -> str:
    """Where the evidence of a run's gate is, in the releases repository."""
    return f"evidence/{run}.json"


def _with(environment: Environment, tested: Tested) -> Environment:
    return replace(environment, passed=(*environment.passed, tested)[-KEPT:])


def _promoted(state: State, tested: Tested) -> State:
    environments = (*state.environments[:-1], _with(state.production, tested))
    return replace(state, environments=environments, awaiting=None)


def _known(state: State, run: str, otherwise: str) -> Effect:
    """An event of a run that is over comes a second time or too late; one of an unknown run is a mistake."""
    return (Answer.REPEATED, f"run {run} is past this") if run in state.runs else (Answer.REFUSED, otherwise)


def _built(state: State, event: Built) -> Effect:
    release, last = event.release, state.environments[0].last
    if release.run in state.runs:
        return Answer.REPEATED, f"run {release.run} was taken up already"
    if state.candidate is not None:
        return Answer.LATER, f"{state.candidate.release} is under test; try again when its gate has decided"
    if last is not None and int(release.version) < int(last.version):
        return Answer.REFUSED, f"{release} is older than {last}, which has passed; register its model anew"
    return replace(state, candidate=Candidate(release), built=release, runs=state.runs | {release.run})


def _serving(state: State, event: Serving, policy: Policy) -> Effect:
    candidate, awaiting = state.candidate, state.awaiting
    first, *between = (environment.name for environment in state.environments[:-1])
    if candidate is not None and event.environment == first and event.release == candidate.release:
        if candidate.serving:
            return Answer.REPEATED, f"{first} has been seen serving {event.release} already"
        return replace(state, candidate=replace(candidate, serving=True))
    automatic = policy is Policy.AUTOMATIC and between[-1:] == [event.environment]
    if automatic and awaiting is not None and event.release == awaiting.release:
        return _promoted(state, awaiting)
    return Answer.REPEATED, f"nothing waits for {event.environment} to serve {event.release}"


def _gate_ended(state: State, event: GateEnded, policy: Policy) -> Effect:
    release, candidate = event.release, state.candidate
    if candidate is None or candidate.release != release:
        return _known(state, release.run, f"{release} is not under test")
    if event.evidence.outcome is Outcome.UNDECIDED:
        return Answer.REFUSED, f"the gate has not decided on {release}; measure more"
    if event.evidence.outcome is Outcome.FAILED:
        return replace(state, candidate=None)
    if not candidate.serving:
        first = state.environments[0].name
        return Answer.REFUSED, f"{first} was not seen serving {release}, so it cannot have been tested there"
    tested = Tested(release, evidence_path(release.run))
    environments = (*(_with(environment, tested) for environment in state.environments[:-1]), state.production)
    state = replace(state, environments=environments, candidate=None, awaiting=tested)
    direct = policy is Policy.AUTOMATIC and len(environments) == 2  # nothing between that could serve it first
    return _promoted(state, tested) if direct else state


def _abandoned(state: State, event: Abandoned) -> Effect:
    if state.candidate is None or state.candidate.release != event.release:
        return _known(state, event.release.run, f"{event.release} is not under test")
    return replace(state, candidate=None)


def _approved(state: State, event: Approved) -> Effect:
    awaiting = state.awaiting
    if awaiting is not None and (awaiting.release.digest, awaiting.release.run) == (event.digest, event.run):
        return _promoted(state, awaiting)
    promoted = (tested.release for tested in state.production.passed)
    if any((release.digest, release.run) == (event.digest, event.run) for release in promoted):
        return Answer.REPEATED, f"{event.digest} of run {event.run} was promoted already"
    waits = "nothing" if awaiting is None else f"{awaiting.release.digest} of run {awaiting.release.run}"
    return Answer.REFUSED, f"{event.digest} of run {event.run} does not await approval, {waits} does"


def _revert(state: State, event: RevertRequested) -> Effect:
    """Withdraw a release from wherever it is, so that nothing goes back to it later either."""
    everywhere = (tested.release for environment in state.environments for tested in environment.passed)
    release = next((r for r in everywhere if (r.digest, r.run) == (event.digest, event.run)), None)
    if release is None:
        return _known(state, event.run, f"{event.digest} of run {event.run} has passed no gate")
    environments = tuple(
        replace(at, passed=tuple(tested for tested in at.passed if not tested.release.same_bits(release)))
        for at in state.environments
    )
    if state.production.passed and not environments[-1].passed:
        return Answer.REFUSED, f"{state.production.name} has no earlier release to go back to; promote another one"
    candidate, awaiting = state.candidate, state.awaiting
    if candidate is not None and candidate.release.same_bits(release):
        candidate = None
    if awaiting is not None and awaiting.release.same_bits(release):
        awaiting = None
    return replace(state, environments=environments, candidate=candidate, awaiting=awaiting)


def _effect(state: State, event: Event, policy: Policy) -> Effect:
    match event:
        case Built():
            return _built(state, event)
        case Serving():
            return _serving(state, event, policy)
        case GateEnded():
            return _gate_ended(state, event, policy)
        case Abandoned():
            return _abandoned(state, event)
        case Approved():
            return _approved(state, event)
        case RevertRequested():
            return _revert(state, event)


def decide(state: State, event: Event, policy: Policy = Policy.APPROVAL) -> Plan:
    """What this event does to this state."""
    effect = _effect(state, event, policy)
    if isinstance(effect, State):
        after = replace(effect, number=state.number + 1)
        return Plan(event, state, after, Answer.CHANGED, event.act.why)
    answer, reason = effect
    return Plan(event, state, state, answer, reason)


def apply(state: State, plan: Plan) -> State:
    """The state with the plan made true; StalePlanError where it was decided on another state."""
    if plan.answer is not Answer.CHANGED:
        return state
    if plan.number != state.number:
        raise StalePlanError(
            f"decided on state {plan.number}, but it is {state.number} now: read it again and decide anew"
        )
    return plan.after
