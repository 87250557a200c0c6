"""The steps that tell the releases repository what happened. Each may be repeated: a second time changes nothing."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .. import gate, manifests
from ..releases import (
    Abandoned,
    Act,
    Answer,
    Approved,
    Built,
    Event,
    Evidence,
    GateEnded,
    Plan,
    Release,
    RevertRequested,
    Serving,
)
from ..repository import Releases
from . import serve
from .errors import Code, StepError
from .settings import Settings
from .web import Peer


@dataclass(frozen=True)
class Runs:
    """What Git says that an environment runs."""

    environment: str
    release: Release | None


@dataclass(frozen=True)
class Outcome:
    """What a step did."""

    answer: Answer
    reason: str
    number: int
    """Of the state afterwards."""
    runs: tuple[Runs, ...]
    code: int

    def __str__(self) -> str:
        """For people."""
        rows = (f"  {at.environment}: {'nothing' if at.release is None else at.release}" for at in self.runs)
        return "\n".join((f"{self.answer}: {self.reason}", *rows))


CODES = {
    Answer.CHANGED: Code.DONE,
    Answer.REPEATED: Code.DONE,
    Answer.LATER: Code.LATER,
    Answer.REFUSED: Code.WRONG,
}


def now() -> str:
    """The time of an act."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def releases(settings: Settings) -> Releases:
    """The releases repository, with the manifests of these settings."""
    return Releases(
        settings.repository,
        settings.manifests.names,
        partial(manifests.rendered, settings.manifests),
        settings.policy,
        None if settings.work is None else Path(settings.work),
    )


def _outcome(plan: Plan, code: Code | None = None) -> Outcome:
    state = plan.after
    runs = tuple(Runs(at.name, state.current(at)) for at in state.environments)
    return Outcome(plan.answer, plan.reason, state.number, runs, CODES[plan.answer] if code is None else code)


def peer_of(settings: Settings, environment: str) -> Peer:
    """Whom to ask what an environment serves, or StepError."""
    try:
        return Peer(settings.address(environment))
    except ValueError as problem:
        raise StepError(str(problem), Code.WRONG) from problem


def _change(settings: Settings, event: Event) -> Outcome:
    return _outcome(releases(settings).change(event))


def built(settings: Settings, release: Release, act: Act) -> Outcome:
    """Put a release into the first environment, as the candidate."""
    return _change(settings, Built(release, act))


def serving(settings: Settings, environment: str, release: Release, act: Act) -> Outcome:
    """Wait until an environment serves a release with every answer, and record that it does."""
    peer = peer_of(settings, environment)
    repository = releases(settings)
    state = repository.state()
    current = next((state.current(at) for at in state.environments if at.name == environment), None)
    if current != release:
        raise StepError(f"{environment} is to run {current or 'nothing'}, not {release}: it was replaced", Code.WRONG)
    serve.wait(peer, environment, release, settings.waiting)
    return _outcome(repository.change(Serving(environment, release, act)))


def deploy(settings: Settings, release: Release, act: Act) -> Outcome:
    """Put a release into the first environment, and wait until that serves it."""
    taken = built(settings, release, act)
    if taken.code != Code.DONE:
        return taken
    return serving(settings, settings.manifests.names[0], release, act)


def gate_ended(settings: Settings, release: Release, decision: gate.Decision, act: Act) -> Outcome:
    """Promote a release that passed its gate, or put the first environment back; keep the evidence of both."""
    plan = releases(settings).change(GateEnded(Evidence(release, decision, act)))
    taken = plan.answer in {Answer.CHANGED, Answer.REPEATED}
    return _outcome(plan, Code.FAILED if taken and decision.outcome is gate.Outcome.FAILED else None)


def abandoned(settings: Settings, release: Release, act: Act) -> Outcome:
    """Put the first environment back after a test that ended without a decision."""
    return _change(settings, Abandoned(release, act))


def approve(settings: Settings, digest: str, run: str, act: Act) -> Outcome:
    """Let the release that awaits approval into production: this image, by this run's test."""
    return _change(settings, Approved(digest, run, act))


def revert(
    settings: Settings, environment: str, act: Act, digest: str | None = None, run: str | None = None
) -> Outcome:
    """Withdraw a release from wherever it runs: by default the one that an environment runs now.

    Without a digest a repetition withdraws the next one. A program that may repeat itself names digest and run.
    """
    repository = releases(settings)
    if digest is None or run is None:
        state = repository.state()
        at = next((at for at in state.environments if at.name == environment), None)
        if at is None:
            known = ", ".join(settings.manifests.names)
            raise StepError(f"environment = {environment!r}: is none; known are: {known}", Code.WRONG)
        current = state.current(at)
        if current is None:
            raise StepError(f"{environment} runs nothing, so there is nothing to revert", Code.WRONG)
        if current != at.last:
            raise StepError(f"{environment} runs {current}, which is under test: end that with `abandoned`", Code.WRONG)
        digest, run = current.digest, current.run
    return _outcome(repository.change(RevertRequested(digest, run, act)))


def rendered(settings: Settings, act: Act) -> tuple[str, ...]:
    """Render the manifests anew after settings changed; the paths of those that differed."""
    return releases(settings).rendered(act)
