"""Pods that objects make, and what they ask of their namespace."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

NODES = 4
"""Of the shipped environment: a DaemonSet's pods."""
UNITS: Mapping[str, Decimal] = {
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("", "k", "M", "G"))},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi"), 1)},
}
DEFAULTS = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
"""Of the namespaces' LimitRange."""


def quantity(text: str | float) -> Decimal:
    """A quantity as a number."""
    digits = str(text).rstrip("KMGikm")
    return Decimal(digits) * UNITS[str(text)[len(digits) :]]


@dataclass(frozen=True)
class Pods:
    """Equal pods of one owner."""

    space: str
    owner: str
    count: int
    spec: Mapping[str, Any]
    passing: bool = False
    """Whether they end: they run beside the others for a moment."""
    surge: int = 0
    """How many more there are while they are replaced."""

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """Those that run, and those before them."""
        return [*self.spec.get("containers", []), *self.spec.get("initContainers", [])]

    def sum(self, kind: str, name: str) -> Decimal:
        """Requests or limits of one pod: of all containers at once, or of the largest that runs before them."""

        def of(container: Mapping[str, Any]) -> Decimal:
            given = (container.get("resources") or {}).get(kind) or {}
            other = (container.get("resources") or {}).get("limits") or {}
            return quantity(given.get(name) or other.get(name) or DEFAULTS[kind][name])

        before = [c for c in self.spec.get("initContainers", []) if c.get("restartPolicy") != "Always"]
        beside = [c for c in self.spec.get("initContainers", []) if c.get("restartPolicy") == "Always"]
        running = sum((of(c) for c in [*self.spec["containers"], *beside]), Decimal(0))
        return max([running, *(of(c) for c in before)])


def pods(item: Mapping[str, Any], space: str = "default", nodes: int = NODES) -> Iterator[Pods]:
    """The pods of one object on so many nodes; none of most kinds."""
    kind, spec, metadata = item.get("kind"), item.get("spec") or {}, item.get("metadata") or {}
    where, owner = metadata.get("namespace") or space, f"{kind} {metadata.get('name')}"
    if kind == "CronJob":
        template = spec["jobTemplate"]["spec"]["template"]["spec"]
        yield Pods(where, owner, 1, template, passing=True)
    elif kind == "Job":
        yield Pods(where, owner, 1, spec["template"]["spec"], passing=True)
    elif kind == "DaemonSet":
        yield Pods(where, owner, nodes, spec["template"]["spec"])
    elif kind == "Deployment":
        recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        yield Pods(where, owner, int(spec.get("replicas", 1)), spec["template"]["spec"], surge=0 if recreate else 1)
    elif kind == "StatefulSet":
        yield Pods(where, owner, int(spec.get("replicas", 1)), spec["template"]["spec"])
    elif kind == "Pod":
        yield Pods(where, owner, 1, spec)
    elif kind == "Cluster" and str(item["apiVersion"]).startswith("postgresql.cnpg.io"):
        container = {"name": "postgres", "resources": spec.get("resources") or {}}
        yield Pods(where, owner, int(spec["instances"]), {"containers": [container]})
    elif kind in ("Prometheus", "Alertmanager"):
        reloader = {"name": "config-reloader"}
        container = {"name": str(kind).lower(), "resources": spec.get("resources") or {}}
        yield Pods(where, owner, int(spec.get("replicas", 1)), {"containers": [container, reloader]})


@dataclass
class Sums:
    """What a namespace's pods take, at the most."""

    cpu: Decimal = Decimal(0)
    """Requests, in cores."""
    memory: Decimal = Decimal(0)
    """Limits, in bytes."""
    requested: Decimal = Decimal(0)
    """Requests of memory of what stays, in bytes."""
    pods: int = 0
    owners: list[str] = field(default_factory=list)


def sums(all_pods: Iterable[Pods]) -> dict[str, Sums]:
    """Namespace to its sums. Pods that end and pods that are replaced count, except in `requested`."""
    found: dict[str, Sums] = {}
    for group in all_pods:
        into, most = found.setdefault(group.space, Sums()), group.count + group.surge
        into.cpu += most * group.sum("requests", "cpu")
        into.memory += most * group.sum("limits", "memory")
        into.pods += most
        into.requested += 0 if group.passing else group.count * group.sum("requests", "memory")
        into.owners.append(group.owner)
    return found
