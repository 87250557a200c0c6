"""The releases repository as text.

    pipeline.json                       the number, the candidate, what awaits approval, the runs that were taken up
    environments/<name>/release.json    what the environment runs and the evidence of it, and what it may go back to
    evidence/<run>.json                 what the gate found, passed or failed
    records/<number>.json               who changed what, why and when

Everything else in the repository (the rendered manifests beside release.json) follows from these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import strict
from .decide import Answer, Plan, evidence_path
from .events import GateEnded
from .model import Candidate, Environment, Release, State, Tested, empty
from .strict import RecordError

PIPELINE = "pipeline.json"


@dataclass(frozen=True)
class _Pipeline:
    """The state without its environments."""

    number: int
    candidate: Candidate | None
    awaiting: Tested | None
    built: Release | None
    runs: frozenset[str]


@dataclass(frozen=True)
class _Running:
    """One environment."""

    release: Release | None
    evidence: str | None
    """None for the candidate, which has none yet."""
    passed: tuple[Tested, ...]


def release_path(environment: str) -> str:
    """Where Git says what an environment runs."""
    return f"environments/{environment}/release.json"


def _running(state: State, environment: Environment) -> _Running:
    release = state.current(environment)
    tested = environment.passed[-1] if environment.passed else None
    evidence = tested.evidence if tested is not None and tested.release == release else None
    return _Running(release, evidence, environment.passed)


def state_files(state: State) -> dict[str, str]:
    """All files of the state itself, by path."""
    pipeline = _Pipeline(state.number, state.candidate, state.awaiting, state.built, state.runs)
    texts = {release_path(at.name): strict.written(_running(state, at)) for at in state.environments}
    return {PIPELINE: strict.written(pipeline), **texts}


def changed_files(plan: Plan) -> dict[str, str]:
    """What a plan writes in one commit, by path: nothing where it changes nothing."""
    if plan.answer is not Answer.CHANGED:
        return {}
    before = state_files(plan.before)
    texts = {path: text for path, text in state_files(plan.after).items() if before[path] != text}
    texts[f"records/{plan.after.number:06d}.json"] = strict.written(plan.record)
    if isinstance(plan.event, GateEnded):
        texts[evidence_path(plan.event.release.run)] = strict.written(plan.event.evidence)
    return texts


def read_state(files: Mapping[str, str], names: Sequence[str]) -> State:
    """The state of these environments, or RecordError.

    A repository without files is the state before the first release; an environment without one is new, and empty.
    """
    state = empty(tuple(names))
    if PIPELINE not in files:
        if any(release_path(name) in files for name in names):
            raise RecordError(f"{PIPELINE}: is missing, but environments have releases; restore it from Git")
        return state
    pipeline = strict.read(_Pipeline, files[PIPELINE], PIPELINE)
    running = {
        name: strict.read(_Running, files[release_path(name)], release_path(name))
        for name in names
        if release_path(name) in files
    }
    environments = tuple(Environment(name, running[name].passed if name in running else ()) for name in names)
    state = State(environments, pipeline.number, pipeline.candidate, pipeline.awaiting, pipeline.built, pipeline.runs)
    _check(state, running)
    return state


def _check(state: State, running: Mapping[str, _Running]) -> None:
    """A release that was put there by hand has passed no gate: refuse it, where someone can still see who did it."""
    for environment in state.environments:
        path = release_path(environment.name)
        if environment.name in running and running[environment.name] != _running(state, environment):
            follows = state.current(environment)
            raise RecordError(
                f"{path}: does not follow from {PIPELINE} and its own history, by which it runs {follows}"
            )
        for tested in environment.passed:
            if tested.release.run not in state.runs or tested.evidence != evidence_path(tested.release.run):
                raise RecordError(f"{path}: {tested.release} came from no run of the pipeline; promote it instead")
