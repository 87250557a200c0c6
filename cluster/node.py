"""k3s on one machine: install, join, upgrade, rotate, restore, as one script that may run any number of times."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cluster import files, step
from cluster.registries import Registries
from config import Download, K3sCluster

MINUTES = 30
"""Bound of the step; longer than the sum of its own waits on a slow link."""


@dataclass(frozen=True)
class K3sNode:
    """A machine that is, or becomes, a node."""

    name: str
    role: Literal["server", "agent"]
    first: bool
    """The first server begins the cluster where no other server answers."""
    address: str
    """Address for the other nodes."""
    servers: tuple[str, ...]
    """Addresses of all servers, its own too."""
    downloads: tuple[Download, Download, Download]
    """Binary, images and install script."""
    config: K3sCluster
    registries: Registries = Registries()
    authority: str = ""
    """Certificate of the stack's own authority, PEM."""
    interface: str | None = None
    """Interface of the pod network; None: the one that holds the address."""
    tls_sans: tuple[str, ...] = ()
    """Further names and addresses of the API."""
    labels: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False
    restore: str | None = None
    """Snapshot for a first server without data: its name, or `latest`."""

    @property
    def version(self) -> str:
        """Release that the node runs in the end, such as v1.36.4+k3s1."""
        return self.config.version


@dataclass(frozen=True)
class NodeResult:
    """What a server tells; all of it is secret."""

    kubeconfig: str
    """Administrator's, for the server's own address 127.0.0.1."""
    token: str
    """For servers to join with; holds the hash of the cluster's CA."""
    agent_token: str
    """For agents to join with; the same."""


def script(node: K3sNode) -> str:
    """Render the command for one node; its secrets come on stdin."""
    binary, images, install = node.downloads
    config, peers = node.config, [address for address in node.servers if address != node.address]
    variables: dict[str, step.Value] = {
        "role": node.role,
        "first": node.first,
        "address": node.address,
        "interface": node.interface or "",
        "peers": peers,
        "version": node.version,
        "restore": node.restore or "",
        "s3": node.role == "server" and config.snapshots.s3 is not None,
        "token_generation": config.rotation.token,
        "certificates_generation": config.rotation.certificates,
        "snapshots": files.SNAPSHOTS,
    }
    for name, download in (("binary", binary), ("images", images), ("install", install)):
        variables |= {
            f"{name}_path": download.path,
            f"{name}_url": download.url,
            f"{name}_sha256": download.sha256,
        }
    texts = {f"{files.ETC}/config.yaml": files.config_yaml(node)}
    if node.registries.mirrors:
        texts[f"{files.ETC}/registries.yaml"] = files.registries(node.registries.mirrors, node.registries.own)
    if node.registries.own:
        texts[files.AUTHORITY] = node.authority
    if node.role == "server":
        texts |= {files.AUDIT_POLICY: files.audit_policy(), files.ADMISSION: files.pod_security()}
    return step.command(
        host=node.name,
        step="k3s",
        minutes=MINUTES,
        variables=variables,
        texts=texts,
        parts=("k3s_checks.sh", "k3s_gone.sh", "k3s_drain.sh", "k3s_life.sh", "k3s.sh"),
        programs={name: step.read(name) for name in ("evict.py", "rotate_token.py")},
        holds="\n".join([*step.assignments({"peers": peers}), step.read("k3s_gone.sh"), "! node_is_gone"]),
    )


def secrets(
    *,
    token: str,
    agent_token: str,
    snapshot_access_key: str | None = None,
    snapshot_secret_key: str | None = None,
) -> str:
    """Render the command's stdin.

    The first server gets bare passwords; who joins gets the tokens that hold the hash of the cluster's CA. An agent
    needs no `token`: pass "", so that it cannot lose what it does not have.
    """
    return step.stdin(
        {
            "token": token,
            "agent_token": agent_token,
            "snapshot_access_key": snapshot_access_key,
            "snapshot_secret_key": snapshot_secret_key,
        }
    )


def parse(stdout: str) -> NodeResult:
    """Read a server's stdout. Raises ValueError when it is not what a server prints; its text holds no secret."""
    lines = stdout.strip().splitlines()
    try:
        tree = json.loads(lines[-1])
        return NodeResult(tree["kubeconfig"], tree["token"], tree["agent_token"])
    except (IndexError, ValueError, KeyError, TypeError):
        raise ValueError("the server printed no kubeconfig and tokens at the end of its output") from None
