"""Network policies: the real kube-router with everything else of it off, where k3s has its controller built in.

It turns policies into iptables rules and ipsets of this node's pods, at every change of a policy, pod or namespace.
"""

from .api import NODES, Api
from .config import Config
from .files import run
from .node import arguments
from .processes import Group

KUBECONFIG = "k3scontroller"
"""Whose rights it has: k3s's own controller too speaks as system:k3s-controller."""
# What the program lists before it starts; those of its other parts (Services, their endpoints) are among it.
WATCHED = {
    "": ("namespaces", "pods", "services", "endpoints"),
    "discovery.k8s.io": ("endpointslices",),
    "networking.k8s.io": ("networkpolicies",),
}


def flags(config: Config, service_cidr: str) -> list[str]:
    """kube-router's flags."""
    parts = {"firewall": True, "router": False, "service-proxy": False, "loadbalancer": False}
    return arguments(
        {
            "kubeconfig": str(config.paths.agent / f"{KUBECONFIG}.kubeconfig"),
            "hostname-override": config.node,
            "service-cluster-ip-range": service_cidr,
            "health-port": "0",  # it would be open on every address
            **{f"run-{part}": str(on).lower() for part, on in parts.items()},
        },
        [],
    )


def has_address(api: Api, node: str) -> bool:
    """Whether a Node has its internal address, by which kube-router tells this node's pods from others."""
    addresses = api.get(f"{NODES}/{node}").get("status", {}).get("addresses", [])
    return any(address["type"] == "InternalIP" for address in addresses)


def services_written() -> bool:
    """Whether kube-proxy has written its rules: it does so at once, and this chain is never empty then."""
    return "-A KUBE-SERVICES" in run(["iptables", "-w", "-t", "nat", "-S", "KUBE-SERVICES"])


def start(config: Config, group: Group, api: Api, service_cidr: str) -> None:
    """Run kube-router once the Node has an address and its Services; `api` may read Nodes."""
    group.until("this Node's address", lambda: has_address(api, config.node))
    if not config.flag("disable-kube-proxy"):
        # kube-router reads the whole table and writes it back: chains that come meanwhile are lost, and kube-proxy
        # tries again after half a minute only.
        group.until("the rules of Services", services_written)
    # It ends when no API server answers for a minute after its start.
    group.start("kube-router", ["kube-router", *flags(config, service_cidr)], restart=True)
