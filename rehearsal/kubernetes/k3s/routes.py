"""The pod network, as flannel with its vxlan backend makes it.

Each node tells its tunnel's address in an annotation. The tunnel's hardware address is derived from it, so that
nothing else has to be exchanged.
"""

import json
import subprocess
from collections.abc import Mapping

from . import log
from .api import NODES, Api, Object, Worker
from .config import Config
from .files import run, write
from .node import INTERNAL_IP, TUNNEL
from .processes import Group

DEVICE, MTU, PORT = "flannel.1", 1450, 8472


def mac(ip: str) -> str:
    """The hardware address of a node's tunnel."""
    return "0a:58:" + ":".join(f"{int(part):02x}" for part in ip.split("."))


def wanted(nodes: list[Object], own: str) -> dict[str, str]:
    """Other nodes' tunnel addresses, by their pods' subnet."""
    found = {}
    for node in nodes:
        notes = node["metadata"].get("annotations", {})
        ip, subnet = notes.get(TUNNEL) or notes.get(INTERNAL_IP), node["spec"].get("podCIDR")
        if node["metadata"]["name"] != own and ip and subnet:
            found[subnet] = ip
    return found


def cni_configuration(subnet: str) -> str:
    """The CNI configuration for this node's pods."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "mtu": MTU,
        "ipam": {
            "type": "host-local",
            "dataDir": "/var/lib/cni/networks",
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [bridge, portmap]}, indent=1)


def _ensure_rule(*rule: str, table: str = "filter") -> None:
    chain, *rest = rule
    command = ["iptables", "-w", "-t", table]
    if subprocess.run([*command, "-C", chain, *rest], capture_output=True, check=False).returncode:
        run([*command, "-A", chain, *rest])


class Routes(Worker):
    """Keeps this node's tunnel, CNI configuration and routes."""

    def __init__(self, group: Group, api: Api, config: Config, tunnel: str, shared: Mapping[str, str]) -> None:
        """`api` may read Nodes; `tunnel` is this node's tunnel address."""
        super().__init__(group, "pod-network", api, NODES)
        self.config, self.tunnel, self.cidr = config, tunnel, shared["cluster-cidr"]
        self.subnet = ""
        self.routes: dict[str, str] = {}

    def setup(self) -> bool:
        """Make the tunnel and the CNI configuration, once the node has its subnet."""
        own = self.api.get(f"{NODES}/{self.config.node}")["spec"].get("podCIDR")
        if not own:
            return False
        run(["ip", "link", "delete", DEVICE], check=False)
        local = ["local", self.tunnel, "dstport", str(PORT), "nolearning"]
        run(["ip", "link", "add", DEVICE, "address", mac(self.tunnel), "type", "vxlan", "id", "1", *local])
        run(["ip", "address", "add", own.replace("/24", "/32"), "dev", DEVICE])
        run(["ip", "link", "set", DEVICE, "mtu", str(MTU), "up"])
        outside = ("POSTROUTING", "-s", self.cidr, "!", "-d", self.cidr, "-j", "MASQUERADE", "--random-fully")
        _ensure_rule(*outside, table="nat")
        for direction in ("-s", "-d"):
            _ensure_rule("FORWARD", direction, self.cidr, "-j", "ACCEPT")
        write(self.config.paths.agent / "etc" / "cni" / "net.d" / "10-flannel.conflist", cni_configuration(own))
        self.subnet = own
        return True

    def work(self) -> None:
        """Route every other node's pods through its tunnel."""
        if not self.subnet:
            return
        target = wanted(self.api.get(NODES)["items"], self.config.node)
        for subnet, ip in target.items():
            if self.routes.get(subnet) != ip:
                gateway = subnet.partition("/")[0]
                run(["ip", "neighbour", "replace", gateway, "lladdr", mac(ip), "dev", DEVICE, "nud", "permanent"])
                run(["bridge", "fdb", "replace", mac(ip), "dev", DEVICE, "dst", ip])
                run(["ip", "route", "replace", subnet, "via", gateway, "dev", DEVICE, "onlink"])
                self.routes[subnet] = ip
                log.info(f"Route to {subnet} through {ip}")
        for subnet in [subnet for subnet in self.routes if subnet not in target]:
            run(["ip", "route", "delete", subnet], check=False)
            del self.routes[subnet]
