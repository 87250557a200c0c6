"""Which workflows may run: as many as the controller allows at once, and one for each mutex. Pure.

As in Argo Workflows, a workflow that waits for a mutex is one of those that are allowed at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rehearsal.programs.argo.variables import Object, filled

CROWDED = "Workflow processing has been postponed because too many workflows are already running"


def order(item: Object) -> tuple[bool, int, str, str]:
    """What runs already comes first, then the higher priority, then the older."""
    running = (item.get("status") or {}).get("phase") == "Running"
    metadata = item["metadata"]
    return (
        not running,
        -int(item["spec"].get("priority") or 0),
        metadata.get("creationTimestamp", ""),
        metadata["name"],
    )


def mutexes(spec: Object, known: Mapping[str, str]) -> list[str]:
    """The mutexes of a workflow."""
    listed = (spec.get("synchronization") or {}).get("mutexes") or []
    return [filled(entry["name"], known) for entry in listed]


@dataclass
class Locks:
    """Who holds what."""

    most: int = 0
    """Workflows at once; 0: any number."""
    admitted: set[str] = field(default_factory=set)
    holders: dict[str, str] = field(default_factory=dict)
    """Mutex to the workflow that has it."""

    def admit(self, uid: str, *, terminated: bool = False) -> bool:
        """Whether a workflow is one of those at once. What is to end at once need not wait."""
        if uid in self.admitted or terminated:
            return True
        if self.most and len(self.admitted) >= self.most:
            return False
        self.admitted.add(uid)
        return True

    def take(self, uid: str, names: Sequence[str]) -> str | None:
        """Take all mutexes or none; returns the one that another has."""
        taken = next((name for name in names if self.holders.get(name, uid) != uid), None)
        if taken is None:
            self.holders.update(dict.fromkeys(names, uid))
        return taken

    def leave(self, uid: str) -> None:
        """A workflow ended, or is gone."""
        self.admitted.discard(uid)
        # One by one: what another takes meanwhile stays taken.
        for name in [name for name, holder in list(self.holders.items()) if holder == uid]:
            del self.holders[name]

    def only(self, uids: set[str]) -> None:
        """Forget those that are not there."""
        for uid in {*self.admitted, *self.holders.values()} - uids:
            self.leave(uid)


def waiting(space: str, mutex: str) -> str:
    """What is said of a workflow that waits for a mutex."""
    return f"Waiting for {space}/Mutex/{mutex} lock. Lock status: 0/1"
