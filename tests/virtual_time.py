"""How long a deployment takes, computed: list scheduling of the recorded graph, with a table of latencies.

Nothing sleeps. A resource begins when everything it depends on has ended and a slot is free, first come, first served,
as Pulumi's engine does it. What a site can take at once is not modelled.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.environments import PROJECT, changed, dev
from tests.unit import graph

SIZES = (3, 10, 50, 200, 1000)
LATENCIES = yaml.safe_load((PROJECT / "tests" / "latencies.yaml").read_text())
COMMAND = "command:remote:Command"


@dataclass
class Task:
    """One resource."""

    name: str
    type: str
    seconds: float
    needs: tuple[str, ...]
    start: float = 0.0
    end: float = 0.0
    ready: float = 0.0
    """When it could have begun, had there been a slot."""


@dataclass
class Timing:
    """A deployment in virtual time."""

    tasks: dict[str, Task]
    slots: int
    waited: float = field(default=0.0)
    """Sum of the seconds spent waiting for a slot."""

    @property
    def total(self) -> float:
        """Seconds until everything is done."""
        return max(task.end for task in self.tasks.values())

    def ending(self, *suffixes: str) -> list[Task]:
        """Commands by the end of their name."""
        return [task for task in self.tasks.values() if task.type == COMMAND and task.name.endswith(suffixes)]

    def longest_path(self) -> list[Task]:
        """What the end waited for, back to the beginning."""
        task = max(self.tasks.values(), key=lambda task: task.end)
        path = [task]
        while task.needs:
            task = max((self.tasks[urn] for urn in task.needs), key=lambda need: need.end)
            path.append(task)
        return path[::-1]

    def after_boot(self) -> float:
        """Seconds from the last machine's boot to the last node's being Ready."""
        booted = max(task.end for task in self.ending("-ready"))
        return max(task.end for task in self.ending("-k3s")) - booted


def seconds(resource: graph.Resource, roles: Mapping[str, str]) -> float:
    """Latency of a resource; `roles` says what each node's k3s command does."""
    kinds = LATENCIES["commands"]
    if resource.type == COMMAND:
        node, _, kind = resource.name.rpartition("-")
        kind = roles.get(node, kind) if kind == "k3s" else kind
        return float(kinds[kind if kind in kinds else "member"]["seconds"])
    if not resource.request.custom:
        return 0.0
    return float(LATENCIES["types"].get(resource.type, LATENCIES["other"])["seconds"])


def tasks_of(recorded: graph.Graph, roles: Mapping[str, str]) -> dict[str, Task]:
    """The graph as tasks; what a provider is made from is needed by what it makes."""
    known = recorded.resources
    found = {}
    for urn, resource in known.items():
        provider = resource.request.provider.rpartition("::")[0]
        needs = [need for need in [*resource.request.dependencies, provider] if need in known and need != urn]
        found[urn] = Task(resource.name, resource.type, seconds(resource, roles), tuple(dict.fromkeys(needs)))
    return found


def schedule(tasks: dict[str, Task], slots: int) -> Timing:
    """Give every task its start and end. Raises ValueError for a cycle."""
    open_needs = {urn: len(task.needs) for urn, task in tasks.items()}
    users: dict[str, list[str]] = {urn: [] for urn in tasks}
    for urn, task in tasks.items():
        for need in task.needs:
            users[need].append(urn)
    order = {urn: number for number, urn in enumerate(tasks)}
    waiting = [(0.0, order[urn], urn) for urn, count in open_needs.items() if not count]
    heapq.heapify(waiting)
    running: list[tuple[float, int, str]] = []
    now, done, waited = 0.0, 0, 0.0
    while waiting or running:
        while waiting and len(running) < slots:
            _, number, urn = heapq.heappop(waiting)
            task = tasks[urn]
            task.start, task.end = now, now + task.seconds
            waited += now - task.ready
            heapq.heappush(running, (task.end, number, urn))
        now, _, ended = heapq.heappop(running)
        done += 1
        for urn in users[ended]:
            open_needs[urn] -= 1
            if not open_needs[urn]:
                tasks[urn].ready = now
                heapq.heappush(waiting, (now, order[urn], urn))
    if done < len(tasks):
        raise ValueError(f"{len(tasks) - done} resources wait for each other")
    return Timing(tasks, slots, waited)


def environment(nodes: int) -> dict[str, Any]:
    """The shipped site with three servers, and agents for the rest."""
    machine = {"image": "CC-Ubuntu24.04", "lease": "platform"}
    made = {
        f"node{n}": {"role": "server" if n < 3 else "agent", "address": f"10.0.{n // 240}.{10 + n % 240}", **machine}
        for n in range(nodes)
    }
    return changed(
        dev(),
        {
            "infra.sites.kvm.private_cidr": "10.0.0.0/16",
            "infra.sites.kvm.bastion": "node0",
            "infra.leases": {"platform": {"flavor": "m1.medium", "count": 1000, "hours": 24}},
            "infra.nodes": made,
            "infra.volumes": {},
            "cluster": {"kind": "k3s", "pod_cidr": "10.128.0.0/12", "service_cidr": "10.200.0.0/16"},
        },
    )


def roles_of(tree: Mapping[str, Any]) -> dict[str, str]:
    """What each node's k3s command does: begin, join as a server, or join as an agent."""
    nodes = tree["infra"]["nodes"]
    servers = [name for name, node in nodes.items() if node["role"] == "server"]
    kinds = {name: "k3s-join" if name in servers else "k3s-agent" for name in nodes}
    return {**kinds, servers[0]: "k3s"}


def slots(nodes: int) -> int:
    """The parallel operations to deploy so many nodes with."""
    shipped = LATENCIES["parallel"]
    return int(max(shipped["least"], shipped["per_node"] * nodes))


def deploy(nodes: int, parallel: int | None = None) -> Timing:
    """Time a new cluster of so many nodes."""
    tree = environment(nodes)
    return schedule(tasks_of(graph.record(tree), roles_of(tree)), parallel or slots(nodes))


def slope(points: Iterable[tuple[int, float]]) -> float:
    """Seconds for each further node: a straight line by least squares."""
    found = list(points)
    mean_n = sum(n for n, _ in found) / len(found)
    mean_t = sum(t for _, t in found) / len(found)
    return sum((n - mean_n) * (t - mean_t) for n, t in found) / sum((n - mean_n) ** 2 for n, _ in found)


def reaches(tasks: Mapping[str, Task], start: str) -> set[str]:
    """Everything that a task depends on, however far."""
    seen: set[str] = set()
    rest = list(tasks[start].needs)
    while rest:
        urn = rest.pop()
        if urn not in seen:
            seen.add(urn)
            rest += tasks[urn].needs
    return seen


def table(sizes: Iterable[int] = SIZES) -> str:
    """Times by size, and the longest path of the smallest by name."""
    lines = [f"{'nodes':>6} {'slots':>6} {'T (s)':>8} {'after boot':>11} {'slot waits':>11}"]
    points, first = [], None
    for nodes in sizes:
        timing = deploy(nodes)
        first = first or timing
        points.append((nodes, timing.total))
        lines.append(
            f"{nodes:>6} {timing.slots:>6} {timing.total:>8.1f} {timing.after_boot():>11.1f} {timing.waited:>11.1f}"
        )
    if len(points) > 1:
        lines.append(f"  each further node: {slope(points):.3f} s (goal: 0.2)")
    if first:
        path = [task for task in first.longest_path() if task.seconds]
        lines.append(f"  longest path, {points[0][0]} nodes, {len(path)} steps:")
        lines += [
            f"    {task.start:7.1f} {task.seconds:6.1f} s  {task.type.rpartition(':')[2]} {task.name}" for task in path
        ]
    return "\n".join(lines)
