"""Which Helm releases wait for which: the longest chain in a recorded graph."""

from functools import cache

from tests.unit.graph import Graph

RELEASE = "kubernetes:helm.sh/v3:Release"


def longest_chain(graph: Graph) -> tuple[str, ...]:
    """Releases that wait for each other, the first one first; through whatever lies between them."""

    @cache
    def chain(urn: str) -> tuple[str, ...]:
        resource = graph.resources[urn]
        before = [chain(need) for need in resource.request.dependencies if need in graph.resources and need != urn]
        longest = max(before, key=len, default=())
        return (*longest, resource.name) if resource.type == RELEASE else longest

    return max((chain(urn) for urn in graph.resources), key=len, default=())
