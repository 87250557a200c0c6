"""Namespaces: each with a Pod Security level, a quota, default limits and one network policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
from pulumi_kubernetes.core.v1 import Namespace

from cluster import Access
from cluster.closed import Guards, guarded
from mlops import flows, gateway_api, quantities
from mlops.flows import Flow

Level = Literal["restricted", "baseline", "privileged"]


@dataclass(frozen=True)
class Space:
    """What a namespace allows."""

    name: str
    cpu: str
    """Sum of the pods' requests, in cores."""
    memory: str
    """Sum of the pods' limits."""
    pods: int = 30
    storage: str = "0"
    """Sum of the claims."""
    level: Level = "restricted"
    why: str = ""
    """The reason, where the level is not restricted."""


def guards(space: Space, permitted: Sequence[Flow]) -> Guards:
    """Its bounds and its flows."""
    hard = {
        "requests.cpu": space.cpu,
        "limits.memory": quantities.written(space.memory),
        "pods": str(space.pods),
        "requests.storage": quantities.written(space.storage),
    }
    return Guards(hard, flows.policy(space.name, permitted))


def labels(space: Space) -> dict[str, str]:
    """Its Pod Security level, enforced, and restricted in warnings; and that it may take host names."""
    prefix = "pod-security.kubernetes.io"
    return {f"{prefix}/enforce": space.level, f"{prefix}/warn": "restricted", **gateway_api.ROUTES}


class Spaces(pulumi.ComponentResource):
    """The namespaces of the platform, closed but for the flows that are needed."""

    names: Mapping[str, pulumi.Output[str]]
    """Namespace to its name, known when all that guards it is there."""

    def __init__(
        self,
        name: str,
        spaces: Sequence[Space],
        permitted: Sequence[Flow],
        access: Access,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make them on a cluster; `opts` gives the provider."""
        super().__init__("leasehold:platform:Spaces", name, None, opts)
        self._under = pulumi.ResourceOptions(parent=self, deleted_with=access.anchor)
        # A scheduler that knows one node puts everything there. No value says that the others have joined.
        nodes = pulumi.ResourceOptions(depends_on=list(access.joined.values()))
        self._first = pulumi.ResourceOptions.merge(self._under, nodes)
        self.names = {space.name: self._space(space, permitted) for space in spaces}
        self.register_outputs({})

    def _space(self, space: Space, permitted: Sequence[Flow]) -> pulumi.Output[str]:
        made = Namespace(
            f"{space.name}-space",
            metadata={"name": space.name, "labels": labels(space)},
            opts=self._first,
        )
        namespace = made.metadata.apply(lambda metadata: metadata.name or space.name)
        return guarded(space.name, namespace, guards(space, permitted), self._under)
