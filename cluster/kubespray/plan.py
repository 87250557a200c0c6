"""Decides which playbooks run, and writes the inventories they run with.

Goes to the bastion as it is: standard library only. In its folder it reads `wanted.json`, what the stack asks for;
`applied.json`, what the last run that ended well was asked for; `nodes.json`, what `kubectl get nodes` says (empty or
missing: there is no cluster yet); and `fresh`, the names of the machines that never joined one. It writes `inventory/`
and `plays`, one command's words a line.
"""

import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Machines = dict[str, dict[str, Any]]
"""Name to `role` and `variables`."""

HOSTS, LEAVING = "inventory/hosts.json", "inventory/leaving.json"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


class Refused(Exception):  # noqa: N818  an answer
    """What is wanted cannot be reached from what is there."""


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    version: str
    role: str
    address: str


@dataclass(frozen=True)
class Play:
    """One run of a playbook."""

    playbook: str
    limit: tuple[str, ...] = ()
    """Hosts; none: all of them."""
    extra: dict[str, Any] = field(default_factory=dict)
    inventory: str = HOSTS

    def words(self) -> list[str]:
        """Arguments of ansible-playbook."""
        # Kubespray does some of its work on the machine it runs on, so a limit must not leave that out.
        limit = ["--limit", ",".join([*self.limit, "localhost"])] if self.limit else []
        extra = ["--extra-vars", json.dumps(self.extra)] if self.extra else []
        return ["--inventory", self.inventory, self.playbook, *limit, *extra]


def version(text: str) -> tuple[int, ...]:
    """v1.35.4 as numbers."""
    return tuple(int(part) for part in text.removeprefix("v").split("."))


def plan(wanted: dict[str, Any], applied: dict[str, Any], present: dict[str, Node], fresh: set[str]) -> list[Play]:
    """The playbooks, in order.

    Raises Refused for a step back, for more than one minor forward, and where no server would last.
    """
    machines: Machines = wanted["machines"]
    if not present:
        return [Play("cluster.yml")]
    _check_version(wanted["version"], present)
    gone = [name for name in present if name not in machines]
    replaced = [name for name in present if name in machines and name in fresh]
    if not any(_is_server(name, machines) for name in present if name not in replaced):
        message = "none of the servers in the cluster would stay; keep one of them until the others have joined"
        raise Refused(message)
    plays = [_remove(name, reset=name in applied.get("machines", {})) for name in gone]
    plays += [_remove(name, reset=False) for name in replaced]
    stays = [name for name in present if name in machines and name not in replaced]
    if any(version(present[name].version) != version(wanted["version"]) for name in stays):
        plays.append(Play("upgrade-cluster.yml"))
    added = [name for name in machines if name not in stays]
    servers_change = any(_is_server(name, machines) for name in added) or any(present[n].role == "server" for n in gone)
    if servers_change or _settings(wanted) != _settings(applied):
        # No playbook adds a server by itself; and settings are every node's.
        plays.append(Play("cluster.yml"))
    elif added:
        # With a limit Ansible knows facts only of those it names, and the others' are needed too.
        plays += [Play("playbooks/facts.yml"), Play("scale.yml", limit=tuple(added))]
    return plays or [Play("cluster.yml")]


def _remove(name: str, *, reset: bool) -> Play:
    """Drain and remove a node. A machine that is gone already, or is another one now, cannot be reset."""
    extra: dict[str, Any] = {"node": name, "skip_confirmation": True}
    if not reset:
        extra |= {"reset_nodes": False, "allow_ungraceful_removal": True}
    return Play("remove-node.yml", extra=extra, inventory=LEAVING)


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """What concerns every node: all but the agents and the version, which have playbooks of their own."""
    machines = asked.get("machines", {})
    servers = {name: machine for name, machine in machines.items() if machine["role"] == "server"}
    return {**asked, "machines": servers, "version": None}


def _is_server(name: str, machines: Machines) -> bool:
    return name in machines and machines[name]["role"] == "server"


def _check_version(wanted: str, present: dict[str, Node]) -> None:
    for name, node in sorted(present.items()):
        if version(wanted) < version(node.version):
            message = f"{name} runs Kubernetes {node.version}, newer than {wanted}; it cannot go back: set a newer one"
            raise Refused(message)
        major, minor, _ = version(node.version)
        if version(wanted)[:2] > (major, minor + 1):
            message = f"{name} runs Kubernetes {node.version}; {major}.{minor + 1} has to come before {wanted}"
            raise Refused(message)


def inventories(
    wanted: dict[str, Any], applied: dict[str, Any], present: dict[str, Node], fresh: set[str]
) -> dict[str, Any]:
    """The inventory as wanted, and the one that also has those who leave.

    Servers that stay come first: the first one leads a run, and a new one cannot.
    """
    machines: Machines = wanted["machines"]
    lasting = {name for name in present if name not in fresh}
    now = {name: machines[name] for name in sorted(machines, key=lambda name: name not in lasting)}
    left = {name: _known(name, node, applied) for name, node in present.items() if name not in machines}
    return {HOSTS: groups(now), LEAVING: groups({**now, **left})}


def _known(name: str, node: Node, applied: dict[str, Any]) -> dict[str, Any]:
    """What the last run was told of a machine, or else what the cluster knows of it."""
    variables = {"ansible_host": node.address, "ip": node.address, "access_ip": node.address, "etcd_member_name": name}
    found: dict[str, Any] = applied.get("machines", {}).get(name, {"role": node.role, "variables": variables})
    return found


def groups(machines: Machines) -> dict[str, Any]:
    """Hosts in Kubespray's groups. Servers run workloads too, as k3s's do."""
    servers = [name for name, machine in machines.items() if machine["role"] == "server"]
    return {
        "all": {
            "hosts": {name: machine["variables"] for name, machine in machines.items()},
            "children": {
                "kube_control_plane": {"hosts": {name: {} for name in servers}},
                "etcd": {"hosts": {name: {} for name in servers}},
                "kube_node": {"hosts": {name: {} for name in machines}},
                "k8s_cluster": {"children": {"kube_control_plane": {}, "kube_node": {}}},
            },
        }
    }


def nodes(text: str) -> dict[str, Node]:
    """What `kubectl get nodes -o json` says."""
    found = {}
    for item in json.loads(text)["items"] if text.strip() else []:
        status, labels = item["status"], item["metadata"].get("labels", {})
        addresses = [address["address"] for address in status["addresses"] if address["type"] == "InternalIP"]
        role = "server" if CONTROL_PLANE in labels else "agent"
        found[item["metadata"]["name"]] = Node(status["nodeInfo"]["kubeletVersion"], role, addresses[0])
    return found


def main(folder: Path) -> int:
    """Write the inventories and the plays; 1, with one sentence, where that is refused."""

    def read(name: str) -> str:
        file = folder / name
        return file.read_text() if file.exists() else ""

    wanted, applied = json.loads(read("wanted.json")), json.loads(read("applied.json") or "{}")
    present, fresh = nodes(read("nodes.json")), set(read("fresh").split())
    try:
        plays = plan(wanted, applied, present, fresh)
    except Refused as refusal:
        print(f"kubespray: {refusal}", file=sys.stderr)
        return 1
    (folder / "inventory").mkdir(exist_ok=True)
    for name, content in inventories(wanted, applied, present, fresh).items():
        (folder / name).write_text(json.dumps(content, indent=1))
    (folder / "plays").write_text("".join(shlex.join(play.words()) + "\n" for play in plays))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
