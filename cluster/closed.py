"""What guards a namespace: a quota, limits for those who name none, one network policy, and no token by default.

Import this where it is needed: Kubernetes' part of the SDK takes half a second to load.
"""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import LimitRange, ResourceQuota, ServiceAccountPatch
from pulumi_kubernetes.networking.v1 import NetworkPolicy

MEMORY = "256Mi"
"""Limit of a container that names none."""


@dataclass(frozen=True)
class Guards:
    """What a namespace allows."""

    hard: dict[str, str]
    """The bounds of its quota."""
    policy: dict[str, Any]
    """The spec of its one NetworkPolicy."""
    memory: str = MEMORY


def quota(hard: dict[str, str]) -> dict[str, Any]:
    """The spec of a ResourceQuota."""
    # Nothing is reachable from outside but by the ingress, or by a port that is counted here.
    return {"hard": {**hard, "services.loadbalancers": "0"}}


def limits(memory: str = MEMORY) -> dict[str, Any]:
    """The spec of a LimitRange: what a container gets that says nothing."""
    request = {"cpu": "10m", "memory": "64Mi"}
    return {"limits": [{"type": "Container", "default": {"memory": memory}, "defaultRequest": request}]}


def guarded(
    name: str, namespace: pulumi.Output[str], guards: Guards, under: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Guard a namespace, with resources whose names begin with `name`; its own name, known when they are there."""

    def metadata(of: str = "leasehold") -> dict[str, Any]:
        return {"name": of, "namespace": namespace}

    made = [
        ResourceQuota(f"{name}-quota", metadata=metadata(), spec=quota(guards.hard), opts=under),
        LimitRange(f"{name}-limits", metadata=metadata(), spec=limits(guards.memory), opts=under),
        NetworkPolicy(f"{name}-flows", metadata=metadata(), spec=guards.policy, opts=under),
        ServiceAccountPatch(
            f"{name}-default",
            metadata={**metadata("default"), "annotations": {"pulumi.com/patchForce": "true"}},
            automount_service_account_token=False,
            opts=under,
        ),
    ]
    return pulumi.Output.all(namespace, *(guard.id for guard in made)).apply(lambda known: str(known[0]))
