"""What a gate found, beside the model version in MLflow. Git has it already: it is where this is read from."""

from dataclasses import dataclass

from ..gate import Decision
from ..releases import Evidence, Release, evidence_path
from .acts import releases
from .errors import Code, StepError
from .mlflow import Registry, registry_of
from .settings import Settings

LONGEST = 5000
"""Characters of a tag: less than MLflow keeps in any of its databases."""


@dataclass(frozen=True)
class Tag:
    """One of a model version."""

    key: str
    value: str


@dataclass(frozen=True)
class Recorded:
    """What MLflow says now."""

    version: str
    tags: tuple[Tag, ...]


def tags(evidence: Evidence) -> tuple[Tag, ...]:
    """Who, what, why and where the evidence is; the outcome last, so that whoever sees it finds the rest."""
    release, act = evidence.release, evidence.act
    said = {
        "evidence": evidence_path(release.run),
        "digest": release.digest,
        "revision": release.revision,
        "run": release.run,
        "who": act.who,
        "time": act.time,
        "reason": evidence.decision.reason,
        "gate": evidence.outcome.value,
    }
    return tuple(Tag(f"leasehold.{key}", value[:LONGEST]) for key, value in said.items())


def tagged(registry: Registry, evidence: Evidence) -> Recorded:
    """Tag the version of a release with this evidence of it."""
    version, made = evidence.release.version, tags(evidence)
    for tag in made:
        registry.tag(version, tag.key, tag.value)
    return Recorded(version, made)


def record(settings: Settings, release: Release, decision: Decision | None = None) -> Recorded:
    """Tag the version with what Git says of the test; a decision that is given must be that of Git."""
    registry = registry_of(settings)
    evidence = releases(settings).evidence(release.run)
    path = evidence_path(release.run)
    if evidence is None:
        raise StepError(f"{path}: is not in Git, so no gate has ended in run {release.run}; test first", Code.WRONG)
    if evidence.release != release or (decision is not None and evidence.decision != decision):
        raise StepError(f"{path}: Git has another release or decision than was given; see it there", Code.WRONG)
    return tagged(registry, evidence)
