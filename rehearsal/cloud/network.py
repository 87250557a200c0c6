"""The cloud's network namespace, its link to this computer, and the outsider's namespace.

On the host itself there is one end of a veth pair and one route; everything else lives in the namespaces.
"""

import json
from pathlib import Path

from rehearsal.cloud.process import end, run
from rehearsal.cloud.services.rules import EXTERNAL, OUTSIDE
from rehearsal.cloud.state import State


def namespace(name: str) -> str:
    """The cloud's namespace: also the prefix of the names of everything it makes on this computer."""
    return f"lh-{name}"


def outsider(name: str) -> str:
    """The namespace of somebody who is not an operator."""
    return f"lh-{name}-out"


def link(name: str) -> str:
    """This computer's end of the link."""
    return f"lh-{name}"


def exists(space: str) -> bool:
    """Whether a named namespace is there."""
    return Path("/run/netns", space).exists()


def _inside(space: str, lines: list[str]) -> None:
    run(["ip", "-n", space, "-batch", "-"], stdin="\n".join(lines) + "\n")


def up(name: str, state: State) -> None:
    """Make the cloud's namespace and its link; what is there of an earlier run is made anew."""
    space, host = namespace(name), link(name)
    down(name)
    run(["ip", "netns", "add", space])
    run(["ip", "link", "add", host, "type", "veth", "peer", "name", EXTERNAL, "netns", space])
    _inside(
        space,
        [
            "link set lo up",
            f"addr add {state.gateway} peer {state.host} dev {EXTERNAL}",
            f"link set {EXTERNAL} up",
            f"route add default via {state.host} dev {EXTERNAL}",
            # An address of the external network that nobody holds: refused at once instead of going in circles.
            f"route add unreachable {state.network}",
        ],
    )
    run(["ip", "addr", "add", state.host, "peer", state.gateway, "dev", host])
    run(["ip", "link", "set", host, "up"])
    run(["ip", "route", "replace", state.network, "via", state.gateway, "dev", host])


def outside_up(name: str, address: str) -> None:
    """Make the outsider's namespace, with this address, on a link of its own."""
    space, out = namespace(name), outsider(name)
    if exists(out):
        run(["ip", "netns", "del", out], check=False)
        run(["ip", "-n", space, "link", "del", OUTSIDE], check=False)
    near = address.rsplit(".", 1)[0] + ".1"
    run(["ip", "netns", "add", out])
    run(["ip", "-n", space, "link", "add", OUTSIDE, "type", "veth", "peer", "name", "eth0", "netns", out])
    _inside(space, [f"addr add {near} peer {address} dev {OUTSIDE}", f"link set {OUTSIDE} up"])
    _inside(
        out,
        [
            "link set lo up",
            f"addr add {address} peer {near} dev eth0",
            "link set eth0 up",
            f"route add default via {near} dev eth0",
        ],
    )


def spaces(name: str) -> list[str]:
    """Namespaces of this cloud: its own, the outsider's and the machines'."""
    prefix = namespace(name)
    listed = [entry["name"] for entry in json.loads(run(["ip", "-j", "netns"]) or "[]")]
    return [space for space in listed if space == prefix or space.startswith(prefix + "-")]


def remove_machines(name: str) -> None:
    """Remove the machines' namespaces, with their NICs."""
    for space in spaces(name):
        if space not in (namespace(name), outsider(name)):
            run(["ip", "netns", "del", space], check=False)


def down(name: str) -> None:
    """Remove every namespace and link of this cloud, those of machines too."""
    for space in spaces(name):
        # A machine whose container was lost: nothing else ends it, and its namespace would stay.
        end([int(pid) for pid in run(["ip", "netns", "pids", space], check=False).split()], timeout=1)
        run(["ip", "netns", "del", space], check=False)
    if Path("/sys/class/net", link(name)).exists():
        run(["ip", "link", "del", link(name)], check=False)
