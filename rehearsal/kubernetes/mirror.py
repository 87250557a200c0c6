"""What one environment's machines download, and the configuration that points them to this computer."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import versions
from rehearsal.cloud import Cloud
from rehearsal.cloud.parts import Part
from rehearsal.kubernetes import artifacts, build
from rehearsal.kubernetes.artifacts import Artifacts
from rehearsal.kubernetes.build import Progress

KEY = "artifacts"
"""The program's configuration key."""
PLACEHOLDER = "http://rehearsal.invalid"
RELEASE = re.compile(r"v\d+\.\d+\.\d+\+k3s\d+")


def wanted(tree: Mapping[str, Any]) -> bool:
    """Whether an environment's downloads come from here: there is a cluster, and the file names no mirror itself."""
    return isinstance(tree.get("cluster"), dict) and KEY not in tree


def releases(tree: Mapping[str, Any]) -> tuple[str, ...]:
    """The releases of k3s that an environment installs; none that could not be one."""
    cluster = tree.get("cluster")
    if not isinstance(cluster, dict) or cluster.get("kind") != "k3s":
        return ()
    version = str(cluster.get("version", versions.K3S))
    return (version,) if RELEASE.fullmatch(version) else ()


def expected(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration with which an environment can be checked before anything is made."""
    if not wanted(tree):
        return {}
    digests = dict.fromkeys(artifacts.paths(releases(tree)), "0" * 64)
    return {KEY: {"source": PLACEHOLDER, "digests": digests}}


@dataclass(frozen=True)
class Mirror:
    """The downloads of one environment: made while the cloud starts, then served by it."""

    future: "Future[Artifacts]"

    def config(self, cloud: Cloud) -> dict[str, Any]:
        """Wait until all is made, serve it; returns the value of the configuration key."""
        made = self.future.result()
        return made.config(artifacts.serve(cloud, made.folder))


@contextmanager
def made(tree: Mapping[str, Any], folder: Path, progress: Progress) -> Iterator[Mirror]:
    """Begin to make an environment's downloads below `folder`."""
    with ThreadPoolExecutor(1, thread_name_prefix="artifacts") as pool:
        yield Mirror(pool.submit(artifacts.prepare, folder, progress, releases(tree)))


def parts(tree: Mapping[str, Any]) -> list[Part]:
    """What of the rehearsed cluster is real."""
    if not wanted(tree):
        return []
    found = []
    for release in releases(tree):
        sources = f"Kubernetes {build.KUBERNETES}, etcd and containerd, built from upstream's modules"
        label = release.partition("+")[0]
        note = f"; labelled {label}: no other sources" if label != build.KUBERNETES else ""
        found.append(Part("kubernetes", "stand-in" if note else "real", sources + note))
        found.append(Part("k3s", "stand-in", "its files, options and command line around those programs; not its code"))
        policies = "enforced by kube-router, which k3s has built in, as its own program; host ports by CNI's portmap"
        found.append(Part("network policies", "real", policies))
        found.append(Part("system images", "stand-in", "CoreDNS, local-path, metrics-server from upstream's sources"))
    infra = tree.get("infra")
    nodes = infra.get("nodes") if isinstance(infra, dict) else None
    if isinstance(nodes, dict) and any(isinstance(node, dict) and node.get("gpu") for node in nodes.values()):
        what = "driver, container toolkit, device plugin and exporter by name; the kubelet's plugin API is the real one"
        found.append(Part("gpu", "stand-in", what))
    return found
