"""Environments for tests: the shipped one, and changes to it by dotted path."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import versions

PROJECT = Path(__file__).resolve().parent.parent
DELETE = object()


def dev() -> dict[str, Any]:
    """The tree of Pulumi.dev.yaml, without the namespace of its keys."""
    config = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())["config"]
    return {key.partition(":")[2]: value for key, value in config.items()}


def complete(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with the digests that versions.py leaves to its user, so that there is nothing to refuse."""
    unpinned = [a.path for a in (*versions.nvidia_toolkit(), versions.kubespray()) if a.sha256 is None]
    return {"artifacts": {"digests": dict.fromkeys(unpinned, "5" * 64)}, **tree}


def machines_only(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The same machines, and no cluster on them."""
    return {key: value for key, value in tree.items() if key == "infra"}


def cluster_only() -> dict[str, Any]:
    """The shipped machines and cluster, and no platform on it."""
    return {key: value for key, value in dev().items() if key not in {"platform", "apps"}}


def hosts() -> dict[str, Any]:
    """An environment of machines that exist already."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFtIbAVpCLbcl4LqrcTwkPhvcvMFkPpSx8z8wKLqGTlm"
    machine = {"role": "server", "address": "10.0.0.1", "host_key": key}
    agent = {**machine, "role": "agent", "address": "10.0.0.2"}
    infra = {"kind": "hosts", "machines": {"one": machine, "two": agent}, "private_key_file": "/dev/null"}
    return {"infra": infra, "cluster": {"kind": "k3s"}}


def existing() -> dict[str, Any]:
    """A cluster that exists already."""
    return {"cluster": {"kind": "existing", "readers": {"course": {"namespaces": ["default"]}}}}


def two_sites() -> dict[str, Any]:
    """The shipped environment with its GPU node on bare metal at a second site."""
    site = {"kind": "baremetal", "region": "CHI@UC", "private_cidr": "10.20.0.0/24", "bastion": "gpu1"}
    return changed(
        dev(),
        {
            "infra.sites.uc": site,
            "infra.leases.gpu": {"site": "uc", "node_type": "gpu_rtx_6000", "hours": 24},
            "infra.nodes.gpu1.address": "10.20.0.11",
            **{f"infra.volumes.node{n}-data.site": "kvm" for n in (1, 2, 3)},
            "cluster.vpn": {"tag": "tag:leasehold"},
        },
    )


def changed(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with values set, or taken out, at dotted paths."""
    copied: dict[str, Any] = copy.deepcopy(dict(tree))
    for path, value in changes.items():
        *parents, last = path.split(".")
        at: Any = copied
        for step in parents:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        if value is DELETE:
            del at[last]
        else:
            at[last] = copy.deepcopy(value)
    return copied


def as_file(tree: Mapping[str, Any]) -> str:
    """Write a tree as the text of a Pulumi.<stack>.yaml."""
    return yaml.safe_dump({"config": {f"leasehold:{key}": value for key, value in tree.items()}}, sort_keys=False)
