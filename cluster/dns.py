"""DNS for pods that outlives a node: k3s starts one CoreDNS, and without it no service finds another.

Import this where it is needed: Kubernetes' part of the SDK takes half a second to load.
"""

from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.autoscaling.v2 import HorizontalPodAutoscaler

NAME, SPACE = "coredns", "kube-system"
FEWEST, MOST = 2, 5
"""k3s spreads them over the nodes by itself, and leaves their number to an autoscaler."""
MOST_BUSY = 80
"""Per cent of the CPU asked for, above which there are more."""


def spec() -> dict[str, Any]:
    """The autoscaler's. Without a measurement of the CPU it still keeps the fewest."""
    busy = {"type": "Utilization", "averageUtilization": MOST_BUSY}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
        "minReplicas": FEWEST,
        "maxReplicas": MOST,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": busy}}],
    }


class Dns(pulumi.ComponentResource):
    """As many servers of names as a cluster of several nodes needs."""

    def __init__(
        self,
        name: str,
        nodes: Sequence[pulumi.Resource],
        anchor: pulumi.Resource | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Say how many, once the nodes are there; they go with the `anchor`. `opts` gives the provider."""
        super().__init__("leasehold:cluster:Dns", name, None, opts)
        HorizontalPodAutoscaler(
            NAME,
            # It scales what k3s made, without which there is nothing to wait for here.
            metadata={"name": NAME, "namespace": SPACE, "annotations": {"pulumi.com/skipAwait": "true"}},
            spec=spec(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=nodes, deleted_with=anchor),
        )
        self.register_outputs({})
