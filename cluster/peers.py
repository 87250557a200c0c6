"""Peers and ports of network policies, as their specs have them. Pure functions."""

from collections.abc import Iterable
from typing import Any, Literal

METADATA = "169.254.169.254/32"
"""The site's metadata service, which hands out user data: no pod reaches it."""
API_PORTS = (443, 6443)
"""Of the Kubernetes API, by its Service and at the servers' addresses."""
DNS = 53


def space(name: str) -> dict[str, Any]:
    """The pods of a namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def address() -> dict[str, Any]:
    """Any address but the metadata service's."""
    return {"ipBlock": {"cidr": "0.0.0.0/0", "except": [METADATA]}}


def ports(numbers: Iterable[int], protocol: Literal["TCP", "UDP"] = "TCP") -> list[dict[str, Any]]:
    """Ports of pods."""
    return [{"port": number, "protocol": protocol} for number in numbers]


def dns() -> dict[str, Any]:
    """The rule of egress that lets pods ask the cluster's DNS."""
    return {"to": [space("kube-system")], "ports": [*ports([DNS], "UDP"), *ports([DNS])]}
