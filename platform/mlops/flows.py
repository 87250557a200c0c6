"""Who talks to whom: the one table of permitted flows, and the network policies that it means.

Everything else is refused, both ways. Inside a namespace, pods reach each other. Pure data and pure functions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

METADATA = "169.254.169.254/32"
"""The site's metadata service, which hands out user data: no pod reaches it."""
ANYWHERE = "0.0.0.0/0"
DNS = 53

WORLD = "world"
"""Addresses outside the cluster."""
API = "api"
"""The Kubernetes API and its webhook calls: they come from, and go to, the servers' host network."""
NODES = "nodes"
"""The nodes' own addresses: kubelets and exporters on the host network."""
PODS = "pods"
"""Pods of any namespace, such as the models that others deploy."""
Peer = str
"""A namespace of the platform, or one of the four above."""


@dataclass(frozen=True)
class Flow:
    """TCP connections from one peer to another."""

    source: Peer
    target: Peer
    ports: tuple[int, ...]
    """Of the pod, not of its Service."""
    why: str


def _address(excluded: Sequence[str] = (METADATA,)) -> dict[str, Any]:
    return {"ipBlock": {"cidr": ANYWHERE, "except": list(excluded)}}


def _peer(peer: Peer) -> dict[str, Any]:
    if peer in (WORLD, API, NODES):
        return _address()
    if peer == PODS:
        return {"namespaceSelector": {}}
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": peer}}}


def port_of(url: str) -> int:
    """The port that a URL of HTTP leads to."""
    parts = urlsplit(url)
    return parts.port or (80 if parts.scheme == "http" else 443)


def _ports(ports: Iterable[int], protocol: Literal["TCP", "UDP"] = "TCP") -> list[dict[str, Any]]:
    return [{"port": port, "protocol": protocol} for port in ports]


def _open(space: str, flows: Sequence[Flow]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rules of a namespace's flows: those in, and those out."""
    ingress = [{"from": [_peer(f.source)], "ports": _ports(f.ports)} for f in flows if f.target == space]
    egress = [{"to": [_peer(f.target)], "ports": _ports(f.ports)} for f in flows if f.source == space]
    return ingress, egress


def added(space: str, flows: Sequence[Flow]) -> dict[str, Any] | None:
    """The spec of a NetworkPolicy that opens a closed namespace for more flows; None where it has none of them."""
    ingress, egress = _open(space, flows)
    if not ingress and not egress:
        return None
    opened = {"ingress": ingress, "egress": egress}
    types = [name.capitalize() for name, rules in opened.items() if rules]
    return {"podSelector": {}, "policyTypes": types, **{name: rules for name, rules in opened.items() if rules}}


def policy(space: str, flows: Sequence[Flow]) -> dict[str, Any]:
    """The spec of the one NetworkPolicy of a namespace: both ways closed, but for itself, DNS and its flows."""
    dns = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [*_ports([DNS], "UDP"), *_ports([DNS])],
    }
    itself: dict[str, Any] = {"podSelector": {}}
    ingress, egress = _open(space, flows)
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [itself]}, *ingress],
        "egress": [{"to": [itself]}, dns, *egress],
    }
