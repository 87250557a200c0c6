"""What happens to releases. An event names what it is about so exactly that a second delivery of it can be told."""

from dataclasses import dataclass

from .model import Act, Evidence, Release


@dataclass(frozen=True)
class Built:
    """An image is in the registry, and its model is registered."""

    release: Release
    act: Act


@dataclass(frozen=True)
class Serving:
    """An environment has been seen serving a release, with every pod."""

    environment: str
    release: Release
    act: Act


@dataclass(frozen=True)
class GateEnded:
    """The gate has decided; how, the evidence says."""

    evidence: Evidence

    @property
    def release(self) -> Release:
        """What was tested."""
        return self.evidence.release

    @property
    def act(self) -> Act:
        """Who tested it."""
        return self.evidence.act


@dataclass(frozen=True)
class Abandoned:
    """The test of a release ended without a decision: its run was stopped or has died."""

    release: Release
    act: Act


@dataclass(frozen=True)
class Approved:
    """A person lets a release into production.

    The digest says what was approved, the run which test of it. So an old approval does not count for a later test of
    the same image.
    """

    digest: str
    run: str
    act: Act


@dataclass(frozen=True)
class RevertRequested:
    """A person or an alert withdraws a release: whatever runs it goes back to the last release that passed before."""

    digest: str
    run: str
    act: Act


Event = Built | Serving | GateEnded | Abandoned | Approved | RevertRequested
