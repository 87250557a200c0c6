"""A thousand nodes are one environment file."""

import time

from tests.bench import large
from tests.unit import graph


def test_the_graph_grows_linearly_with_the_nodes() -> None:
    """Something that looks at every node for every node is noticed long before it hurts. `make bench` has figures."""

    def seconds(nodes: int) -> float:
        tree = large(nodes, shared=False)
        begin = time.process_time()
        graph.record(tree)
        return time.process_time() - begin

    seconds(20)  # imports
    assert seconds(160) / seconds(40) < 4 * 1.6


def test_every_node_adds_the_same_resources() -> None:
    """And none that belongs to a pair of nodes. From two on: DNS gets its second server then."""
    counts = [len(graph.record(large(nodes, shared=True)).resources) for nodes in (2, 3, 4)]
    assert counts[2] - counts[1] == counts[1] - counts[0] == 7
