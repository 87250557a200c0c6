"""The test of a release in the first environment: measured, judged, recorded in Git."""

from dataclasses import dataclass, replace
from pathlib import Path

from .. import manifests, measure
from ..gate import MeasurementError
from ..releases import Act, Answer, Release, State, written
from . import serve
from .acts import Outcome, gate_ended, now, peer_of, releases
from .errors import Code, StepError
from .files import save
from .settings import Settings

REFUSED = (400, 401, 403, 404)
"""Answers of the cluster that are the same when one asks again."""


@dataclass(frozen=True)
class Trial:
    """What is tested, and with what."""

    release: Release
    samples: Path
    """The labelled samples of its revision."""
    found: Path
    """Where all that was measured is left, with the decision."""


def _production(state: State) -> Release | None:
    return state.current(state.production)


def _target(settings: Settings, state: State, release: Release) -> measure.Target:
    """What is measured; production must serve what Git says, or the comparison would be with something else."""
    first, last = settings.manifests.environments[0], settings.manifests.environments[-1]
    current, production = _production(state), None
    if current is not None:
        serve.wait(peer_of(settings, last.name), last.name, current, settings.waiting)
        production = measure.Production(current.version, measure.Server(settings.address(last.name)))
    return measure.Target(
        release.version,
        measure.Server(settings.address(first.name)),
        measure.Where(first.namespace, manifests.selector(settings.manifests), manifests.CONTAINER, manifests.PORT),
        production,
    )


def measured(settings: Settings, state: State, trial: Trial, api: measure.ClusterApi) -> measure.Measured:
    """The gate's measurements and decision, or StepError, which says nothing about the release."""
    if settings.gate is None:
        raise StepError("gate is null: give the gate's settings, with the classes of the model", Code.WRONG)
    try:
        labelled = measure.read_samples(trial.samples, settings.gate.contract.classes)
        target = _target(settings, state, trial.release)
        return measure.run(settings.gate, target, labelled, api, limits=settings.limits)
    except measure.ApiError as problem:
        remedy = "see that this pod's account may list the pods of the first environment"
        code = Code.WRONG if problem.status in REFUSED else Code.UNEXPECTED
        raise StepError(f"{problem}; {remedy}", code) from problem
    except MeasurementError as problem:
        raise StepError(str(problem)) from problem
    except FileNotFoundError as problem:
        raise StepError(f"{problem}: give the samples, and mount the account's token", Code.WRONG) from problem
    except ValueError as problem:  # samples or settings; what was measured badly came before
        raise StepError(str(problem), Code.WRONG) from problem


def _ended(settings: Settings, release: Release, act: Act) -> Outcome:
    """The outcome of a test that Git knows already: the same as at the first time."""
    evidence = releases(settings).evidence(release.run)
    if evidence is None or evidence.release != release:
        first = settings.manifests.names[0]
        raise StepError(f"{release} is not under test in {first}: it was abandoned, or never deployed", Code.WRONG)
    return gate_ended(settings, release, evidence.decision, act)


def judge(settings: Settings, trial: Trial, act: Act, api: measure.ClusterApi | None = None) -> Outcome:
    """Measure the release that the first environment serves, leave all that was found, and record the outcome in Git.

    A test that has ended is not made again: its outcome is in Git, and its measurements are where the first one left
    them.
    """
    release, repository = trial.release, releases(settings)
    state = repository.state()
    if state.candidate is None or state.candidate.release != release:
        return _ended(settings, release, act)
    if not state.candidate.serving:
        first = state.environments[0].name
        raise StepError(f"{first} was not seen serving {release}: end `deploy` first", Code.WRONG)
    found = measured(settings, state, trial, api or measure.ClusterApi())
    save(trial.found, written(found))
    if _production(repository.state()) != _production(state):
        raise StepError("another release came into production while this one was compared with it; measure again")
    why = act.why or found.decision.reason
    outcome = gate_ended(settings, release, found.decision, replace(act, why=why, time=now()))
    return _ended(settings, release, act) if outcome.answer is Answer.REPEATED else outcome
