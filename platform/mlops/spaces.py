"""Namespaces: each with a Pod Security level, a quota, default limits and one network policy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pulumi
from pulumi_kubernetes.core.v1 import LimitRange, Namespace, ResourceQuota, ServiceAccountPatch
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from cluster import Access
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


def quota(space: Space) -> dict[str, Any]:
    """The spec of its ResourceQuota."""
    hard = {
        "requests.cpu": space.cpu,
        "limits.memory": quantities.written(space.memory),
        "pods": str(space.pods),
        "requests.storage": quantities.written(space.storage),
        # Nothing is reachable from outside but by the ingress, or by a port that is counted here.
        "services.loadbalancers": "0",
    }
    return {"hard": hard}


def limits() -> dict[str, Any]:
    """The spec of its LimitRange: what a container gets that says nothing."""
    return {
        "limits": [
            {
                "type": "Container",
                "default": {"memory": "256Mi"},
                "defaultRequest": {"cpu": "10m", "memory": "64Mi"},
            }
        ]
    }


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

        def metadata(name: str) -> dict[str, Any]:
            return {"name": name, "namespace": namespace}

        guards = [
            ResourceQuota(f"{space.name}-quota", metadata=metadata("leasehold"), spec=quota(space), opts=self._under),
            LimitRange(f"{space.name}-limits", metadata=metadata("leasehold"), spec=limits(), opts=self._under),
            NetworkPolicy(
                f"{space.name}-flows",
                metadata=metadata("leasehold"),
                spec=flows.policy(space.name, permitted),
                opts=self._under,
            ),
            ServiceAccountPatch(
                f"{space.name}-default",
                metadata={**metadata("default"), "annotations": {"pulumi.com/patchForce": "true"}},
                automount_service_account_token=False,
                opts=self._under,
            ),
        ]
        # Whoever uses the name comes after what guards the namespace.
        return pulumi.Output.all(namespace, *(guard.id for guard in guards)).apply(lambda known: str(known[0]))
