"""Programs of this computer that the drivers use: links and loop devices."""

import os
import subprocess

from leasehold_services import rules
from nova import exception

CLOUD = os.environ["LEASEHOLD_NAMESPACE"]  # network namespace of the cloud, and prefix of every name made here
PREFIX = CLOUD + "-"
NETNS = "/run/netns/"
FIRST_NIC = 3  # ens3, ens4, ... as on a KVM guest


def sh(*args, check=True, **kwargs):
    """Run a program and return its standard output; a failure is a NovaException with its standard error."""
    done = subprocess.run(
        [str(arg) for arg in args],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        **kwargs,
    )
    if check and done.returncode:
        raise exception.NovaException(f"{' '.join(map(str, args))}: {done.stderr.strip()}")
    return done.stdout


def loops_of(path):
    """Loop devices whose file is `path`."""
    return [line.split(":")[0] for line in sh("losetup", "-j", path).splitlines()]


def plug(space, vif, index):
    """Give the namespace a NIC on the port's network, with its MAC and addresses; one that is there is left alone."""
    tap, nic = "tap" + vif["id"][:11], f"ens{FIRST_NIC + index}"
    bridge = rules.bridge(vif["network"]["id"])
    if sh("ip", "-n", space, "-o", "link", "show", nic, check=False):
        return
    sh("ip", "-n", CLOUD, "link", "add", bridge, "type", "bridge", check=False)  # it may be there already
    sh("ip", "-n", CLOUD, "link", "set", bridge, "up")
    sh("ip", "-n", CLOUD, "link", "del", tap, check=False)
    steps = [
        f"link add {tap} master {bridge} type veth peer name {nic} address {vif['address']} netns {space}",
        f"link set {tap} up",
    ]
    inside = [f"link set {nic} up"]
    for subnet in vif["network"]["subnets"]:
        bits = subnet["cidr"].split("/")[1]
        inside += [f"addr add {ip['address']}/{bits} dev {nic}" for ip in subnet["ips"]]
        gateway = (subnet.get("gateway") or {}).get("address")
        if gateway:
            inside.append(f"route add default via {gateway} dev {nic} metric {100 + index}")
    sh("ip", "-n", CLOUD, "-batch", "-", input="\n".join(steps) + "\n")
    sh("ip", "-n", space, "-batch", "-", input="\n".join(inside) + "\n")
