"""Wait until an environment serves a release, and nothing else."""

import time
from dataclasses import dataclass

from ..releases import Release
from .errors import StepError
from .settings import Waiting
from .web import Peer, WebError

REVISION = 7
"""Digits of a commit that say enough."""


@dataclass(frozen=True)
class Seen:
    """How long it took."""

    seconds: float
    questions: int


def _difference(peer: Peer, release: Release) -> str | None:
    """How the answer of one pod differs from the release; None if it does not."""
    try:
        reply = peer.ask("GET", "/version")
        if reply.status != 200:
            return f"answered {reply.status}"
        said = reply.object()
    except WebError as problem:
        return str(problem)
    version, revision = str(said.get("model_version")), str(said.get("revision", ""))
    if version != release.version:
        return f"serves version {version[:40]}"
    if len(revision) >= REVISION and not release.revision.startswith(revision):
        return f"serves version {version} of revision {revision[:40]}, not {release.revision[: len(revision)]}"
    return None


def wait(peer: Peer, environment: str, release: Release, waiting: Waiting) -> Seen:
    """Ask until so many answers in a row name the release, or StepError.

    Each question opens a connection, so that every pod behind the Service gets its turn. `/version` knows no digest:
    two images of one model version and one revision look alike here; which of them runs, Git and Argo CD say.
    """
    began, row, questions, last = time.monotonic(), 0, 0, "was not asked"
    while row < waiting.answers:
        if time.monotonic() - began > waiting.seconds:
            problem = f"{environment} ({peer.url}) did not serve {release} within {waiting.seconds:g} s: it {last}"
            look = f"see whether its pods start and Argo CD has applied environments/{environment}"
            raise StepError(f"{problem}; {look}")
        difference = _difference(peer, release)
        questions += 1
        row = row + 1 if difference is None else 0
        last = difference or last
        if row < waiting.answers:
            time.sleep(waiting.interval)
    return Seen(round(time.monotonic() - began, 3), questions)
