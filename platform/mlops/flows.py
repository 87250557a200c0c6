"""Who talks to whom: the one table of permitted flows, and the network policies that it means.

Everything else is refused, both ways. Inside a namespace, pods reach each other. Pure data and pure functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cluster import peers

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


def _peer(peer: Peer) -> dict[str, Any]:
    if peer in (WORLD, API, NODES):
        return peers.address()
    if peer == PODS:
        return {"namespaceSelector": {}}
    return peers.space(peer)


def port_of(url: str) -> int:
    """The port that a URL of HTTP leads to."""
    parts = urlsplit(url)
    return parts.port or (80 if parts.scheme == "http" else 443)


def _open(space: str, flows: Sequence[Flow]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rules of a namespace's flows: those in, and those out."""
    ingress = [{"from": [_peer(f.source)], "ports": peers.ports(f.ports)} for f in flows if f.target == space]
    egress = [{"to": [_peer(f.target)], "ports": peers.ports(f.ports)} for f in flows if f.source == space]
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
    itself: dict[str, Any] = {"podSelector": {}}
    ingress, egress = _open(space, flows)
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [itself]}, *ingress],
        "egress": [{"to": [itself]}, peers.dns(), *egress],
    }
