"""Benchmarks as ratios to their goals: python -m tests.bench. A ratio of 1.00 is the goal; less is better.

Each size is built in a process of its own, as the program is; the best of three runs counts.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.environments import PROJECT, changed, dev

SIZES = (125, 250, 500, 1000)
GOAL_SECONDS = 4.0
GOAL_CHAIN = 3
GOAL_GROWTH = 1.1
"""Time for each node at the largest size, over that at the smallest."""


def large(nodes: int, *, shared: bool) -> dict[str, Any]:
    """The shipped site with one server and many agents: behind its own router, or on the site's network too."""
    image = {"image": "CC-Ubuntu24.04", "lease": "platform"}
    agents = {
        f"agent{n}": {"role": "agent", "address": f"10.0.{1 + n // 250}.{1 + n % 250}", **image}
        for n in range(nodes - 1)
    }
    server = {"node1": {"role": "server", "address": "10.0.0.10", **image}}
    return changed(
        dev(),
        {
            "infra.sites.kvm.private_cidr": "10.0.0.0/16",
            "infra.sites.kvm.shared_network": "sharednet1" if shared else None,
            "infra.leases": {"platform": {"flavor": "m1.medium", "count": 1000, "hours": 24}},
            "infra.nodes": server | agents,
            "infra.volumes": {},
            # A /24 for each node.
            "cluster.pod_cidr": "10.128.0.0/12",
        },
    )


def build(nodes: int, *, shared: bool) -> tuple[float, int]:
    """Build one graph here; seconds and resources."""
    from tests.unit import graph  # noqa: PLC0415  only the processes that build need the SDK

    tree = large(nodes, shared=shared)
    begin = time.perf_counter()
    recorded = graph.record(tree)
    return time.perf_counter() - begin, len(recorded.resources)


def measure(nodes: int, *, shared: bool) -> tuple[float, int]:
    """The best of three processes."""
    found = []
    for _ in range(3):
        words = [sys.executable, "-m", "tests.bench", str(nodes), str(int(shared))]
        done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True)
        found.append(tuple(json.loads(done.stdout)))
    return min(found)


def main() -> int:
    """Print a table; the exit code is 0, whatever the ratios are."""
    if len(sys.argv) > 1:
        print(json.dumps(build(int(sys.argv[1]), shared=bool(int(sys.argv[2])))))
        return 0
    from tests import releases, virtual_time  # noqa: PLC0415  the SDK, as above
    from tests.unit import platforms  # noqa: PLC0415  the same

    print("a new k3s cluster with three servers in virtual time (tests/latencies.yaml)")
    print(virtual_time.table() + "\n")
    chain = releases.longest_chain(platforms.recorded("shipped"))
    print(
        f"longest chain of releases, {len(chain) / GOAL_CHAIN:.2f} of the goal of {GOAL_CHAIN}: {' -> '.join(chain)}\n"
    )
    for shared in (False, True):
        print("one port a node, own router" if not shared else "two ports a node, on the site's network too")
        print(f"{'nodes':>7} {'resources':>10} {'seconds':>8} {'ms a node':>10}")
        times = {}
        for nodes in SIZES:
            times[nodes], resources = measure(nodes, shared=shared)
            print(f"{nodes:>7} {resources:>10} {times[nodes]:>8.2f} {1000 * times[nodes] / nodes:>10.2f}")
        growth = (times[SIZES[-1]] / SIZES[-1]) / (times[SIZES[1]] / SIZES[1])
        print(
            f"  time for {SIZES[-1]} nodes: {times[SIZES[-1]] / GOAL_SECONDS:.2f} of the goal of {GOAL_SECONDS:.0f} s"
        )
        print(f"  growth from {SIZES[1]} to {SIZES[-1]}: {growth / GOAL_GROWTH:.2f} of the goal of {GOAL_GROWTH}\n")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())
