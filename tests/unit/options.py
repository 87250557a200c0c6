"""Every option of an environment with some values, what each needs of the others, and the environments they make.

An option is a dotted path. `LEFT_OUT` is a value of every one: the environment's own default, or the shipped value.
"""

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import versions
from tests.environments import DELETE, changed, dev, existing, hosts, two_sites
from tests.unit import graph
from tests.unit.pairs import Clashes, Pair, covering, possible, scattered
from tests.unit.platforms import BODY, PAGE, SSO, STORE, SUMMARIES, TARGET

FILES = 300
LEFT_OUT = object()
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFtIbAVpCLbcl4LqrcTwkPhvcvMFkPpSx8z8wKLqGTlm somebody"
NEWER_K3S = "v1.37.1+k3s1"
DIGEST = "sha256:" + "6" * 64
Needs = Mapping[str, tuple[Any, ...]]
"""Option to the values one of which it must have."""


@dataclass(frozen=True)
class Option:
    """One option."""

    path: str
    values: tuple[Any, ...]
    needs: Needs = field(default_factory=dict)
    """What else must be so where it is not left out."""


def option(
    path: str,
    *values: Any,
    needs: Needs | None = None,
    machines: tuple[str, ...] = (),
    cluster: tuple[str, ...] = (),
    upper: tuple[str, ...] = (),
) -> Option:
    """An option with what it needs of the layers, and of other options."""
    layers = {"machines": machines, "cluster": cluster, "upper": upper}
    return Option(path, (LEFT_OUT, *values), {**{name: of for name, of in layers.items() if of}, **(needs or {})})


# What the machines are, what makes them a cluster, and what runs on it: these have a value always.
CLOUD = ("one", "three", "sites")
HOSTS = ("hosts", "behind")
MADE = ("k3s", "kubespray")
LAYERS: Mapping[str, tuple[str, ...]] = {
    "machines": ("none", *HOSTS, *CLOUD),
    "cluster": ("none", "existing", *MADE),
    "upper": ("none", "platform", "apps"),
}
PLATFORM = ("platform", "apps")
APPS = ("apps",)
NO_DATA: Needs = {"platform.mlflow.enabled": (False,), "platform.argo.workflows": (False,)}
WATCHED: Needs = {"platform.monitoring.enabled": (LEFT_OUT,)}
OWN_RAY = "registry.example.org/team/ray:1"
OWN_DIGESTS = {PAGE: DIGEST, OWN_RAY: DIGEST}
OWN: Needs = {"images.digests": (OWN_DIGESTS,)}
GITHUB = {"url": "https://github.com/you/your-model", "branch": "main"}
GITHUB_USER = {"url": "https://github.com/you/your-model", "user": "you"}

OPTIONS = (
    # -- machines of a cloud
    option("infra.access.admin_cidrs", ["10.0.0.0/8", "203.0.113.0/24"], machines=CLOUD),
    option("infra.access.public_cidrs", [], ["198.51.100.0/24"], machines=CLOUD),
    option("infra.access.authorized_keys", [KEY], machines=CLOUD),
    option("infra.access.user", "ubuntu", machines=CLOUD),
    option("infra.sites.kvm.cloud", "chameleon-kvm", machines=CLOUD),
    option("infra.sites.kvm.external_network", "internet", machines=CLOUD),
    option("infra.sites.kvm.shared_network", DELETE, machines=CLOUD),
    option("infra.sites.kvm.private_cidr", "192.168.0.0/23", machines=CLOUD),
    option("infra.sites.kvm.dns_servers", ["192.0.2.53", "192.0.2.54"], machines=CLOUD),
    option("infra.sites.kvm.floating_ip", "129.114.26.10", machines=CLOUD),
    option("infra.sites.kvm.zones", ["nova", "gpus"], machines=CLOUD),
    option("infra.sites.kvm.standard_lease_cap_hours", 240, machines=CLOUD),
    option("infra.sites.kvm.gpu_lease_cap_hours", 100, machines=CLOUD),
    option(
        "infra.leases.platform",
        {"site": "kvm", "flavor": "m1.medium", "count": 3, "start": "2999-01-01 00:00", "end": "2999-01-03 12:00"},
        {"flavor": "m1.medium", "count": 9, "start": "2999-01-01 00:00", "hours": 24, "site": "kvm"},
        {"adopt": "ours", "count": 9, "site": "kvm"},
        machines=CLOUD,
    ),
    option("infra.leases.gpu.adopt", "our-gpus", machines=("three", "sites")),
    option("infra.nodes.node1.zone", "nova", machines=CLOUD),
    option("infra.nodes.node1.image", "0b0f1ae4-5d7a-4d8e-9b1c-2a8f5d1c7e11", machines=CLOUD),
    option("infra.nodes.node1.labels", {"team": "vision", "example.org/rack": "3"}, machines=CLOUD),
    option("infra.nodes.node1.volumes", DELETE, ["node1-data", "spare"], machines=CLOUD),
    option("infra.nodes.gpu1.formerly", ["gpu0"], machines=("three", "sites")),
    option("infra.nodes.gpu1.labels", {"topology.kubernetes.io/zone": "b"}, machines=("three", "sites")),
    option(
        "infra.nodes.node3",
        {"role": "server", "address": "192.168.1.19", "image": "x", "flavor": "m1.large", "site": "kvm"},
        machines=("three", "sites"),
    ),
    option("infra.volumes.node1-data.size_gb", 64_000, machines=CLOUD),
    option("infra.volumes.node1-data.type", DELETE, machines=CLOUD),
    option("infra.volumes.node1-data.zone", "nova", machines=CLOUD),
    # -- machines that exist
    option("infra.machines.one.port", 2222, machines=HOSTS),
    option("infra.machines.one.user", "ubuntu", machines=HOSTS),
    option("infra.machines.two.private_address", "10.1.0.2", machines=HOSTS),
    option("infra.machines.two.labels", {"team": "vision"}, machines=HOSTS),
    option("infra.machines.two.gpu", True, machines=HOSTS),
    option("infra.private_key_file", DELETE, machines=HOSTS),
    # -- cluster
    option("cluster.api", "bastion", cluster=MADE, machines=("behind", *CLOUD), needs={"edge": (LEFT_OUT,)}),
    option("cluster.pod_cidr", "10.128.0.0/14", cluster=MADE),
    option("cluster.service_cidr", "10.96.0.0/16", cluster=MADE),
    option(
        "cluster.mirrors",
        {"docker.io": ["https://mirror.example.org"]},
        {"*": ["http://a:5000", "http://b:5000"]},
        cluster=MADE,
    ),
    option("cluster.gpu.time_slicing", 4, cluster=MADE, machines=("three", "sites")),
    option("cluster.vpn", {"tag": "tag:edge"}, cluster=MADE),
    option("cluster.version", NEWER_K3S, "1.34.6", cluster=MADE),
    option("cluster.network_plugin", "cilium", "flannel", cluster=("kubespray",)),
    option("cluster.snapshots.schedule", "0 */6 * * *", cluster=("k3s",)),
    option("cluster.snapshots.retention", 1, cluster=("k3s",)),
    option("cluster.snapshots.s3", STORE, {**STORE, "folder": "dev"}, cluster=("k3s",)),
    option("cluster.rotation.token", 2, cluster=("k3s",)),
    option("cluster.rotation.certificates", 3, cluster=("k3s",)),
    option("cluster.kubeconfig_file", str(graph.KUBECONFIG_FILE), cluster=("existing",)),
    option("cluster.gpu", {}, {"time_slicing": 2}, cluster=("existing",)),
    option(
        "cluster.readers",
        {"course": {"namespaces": ["staging", "default"]}, "guest": {"namespaces": ["default"]}},
        cluster=("existing", *MADE),
    ),
    option("restore", "latest", cluster=("k3s",)),
    option("edge", {"hub": "organization/leasehold/hub", "namespaces": ["apps"]}, cluster=("existing", *MADE)),
    # -- where everything comes from
    option("artifacts.source", "https://mirror.example.org/files"),
    option("charts.mirror", "/srv/charts", "https://mirror.example.org/charts", "oci://registry.example.org/charts"),
    option("images.mirror", "https://registry.example.org"),
    option("images.digests", {"quay.io/argoproj/argocd:v9.9.9": DIGEST}, OWN_DIGESTS),
    # -- platform
    option("platform.domain", "mlops.example.net", upper=PLATFORM),
    option("platform.profile", "small", upper=PLATFORM),
    option("platform.storage_class", "fast", upper=PLATFORM),
    option("platform.rotation", 2, upper=PLATFORM),
    option("platform.egress", ["192.0.2.0/24", "198.51.100.0/24"], upper=PLATFORM),
    option(
        "platform.ingress.tls",
        {"kind": "acme", "email": "ops@example.org"},
        {"kind": "acme", "email": "ops@example.org", "server": "https://acme.example.org/directory"},
        upper=PLATFORM,
    ),
    option("platform.ingress.sso", SSO, upper=PLATFORM),
    option("platform.ingress.gateway_api", False, upper=PLATFORM),
    option("platform.postgres.instances", 3, upper=PLATFORM),
    option("platform.postgres.storage_gb", 100, upper=PLATFORM),
    option("platform.postgres.enabled", False, needs=NO_DATA, upper=PLATFORM),
    option(
        "platform.object_store",
        {"kind": "minio", "storage_gb": 5},
        {"kind": "seaweedfs"},
        {"kind": "external", "endpoint": "https://s3.example.net", "prefix": "dev"},
        {"kind": "external", "endpoint": "https://s3.example.net", "region": "eu-central-1"},
        upper=PLATFORM,
    ),
    option(
        "platform.object_store.enabled",
        False,
        # Without PostgreSQL it needs no store outside either: a rule of three options, which no pair tells.
        needs={**NO_DATA, "platform.backups.store": (STORE,)},
        upper=PLATFORM,
    ),
    option("platform.mlflow.workers", 4, upper=PLATFORM),
    option("platform.mlflow.enabled", False, upper=("platform",)),
    option("platform.registry.storage_gb", 100, upper=PLATFORM),
    option("platform.registry.node_port", 31500, upper=PLATFORM),
    option("platform.registry.collect", "0 4 1 * *", upper=PLATFORM),
    option("platform.registry.enabled", False, upper=("platform",)),
    option("platform.argo.cd", False, upper=("platform",)),
    option("platform.argo.workflows", False, needs={"platform.argo.events": (False,)}, upper=("platform",)),
    option("platform.argo.events", False, upper=PLATFORM),
    option(
        "platform.argo.repositories",
        {"apps": {"url": "https://git.example.org/apps"}},
        {"apps": {"url": "https://git.example.org/apps", "user": "reader"}, "more": {"url": "https://git.example.net"}},
        upper=PLATFORM,
    ),
    option("platform.monitoring.enabled", False, upper=PLATFORM),
    option("platform.monitoring.retention_days", 400, upper=PLATFORM),
    option("platform.monitoring.storage_gb", 100, upper=PLATFORM),
    option(
        "platform.monitoring.targets",
        {"edge": TARGET, "plain": {**TARGET, "scheme": "http", "path": "/m"}},
        upper=PLATFORM,
    ),
    option("platform.monitoring.summaries", SUMMARIES, upper=PLATFORM),
    option("platform.backups.schedule", "30 2 * * 1-5", upper=PLATFORM),
    option("platform.backups.retention_days", 1, upper=PLATFORM),
    option("platform.backups.store", STORE, upper=PLATFORM),
    option("platform.backups.archive", 3, upper=PLATFORM),
    option("platform.backups.restore", 2, needs={"platform.backups.archive": (3,)}, upper=PLATFORM),
    # -- applications
    option("apps.model", "small-1", upper=APPS),
    option(
        "apps.source", GITHUB, GITHUB_USER, {"url": "https://git.example.org/model"}, {"branch": "next/2"}, upper=APPS
    ),
    option("apps.training.cpu", "2", "1.5", upper=APPS),
    option("apps.training.memory", "8Gi", upper=APPS),
    option("apps.training.gpu", True, upper=APPS),
    option("apps.training.minutes", 1440, upper=APPS),
    option(
        "apps.environments",
        {"first": {}, "last": {"replicas": 3, "most": 9, "cpu": "250m", "memory": "1Gi"}},
        {"staging": {"node_port": 30081}, "canary": {}, "production": {"node_port": 30083, "most": 5}},
        {"a": {}, "b": {}, "c": {}, "d": {"replicas": 2, "most": 2}},
        upper=APPS,
    ),
    option("apps.gate.classes", ["cat"], upper=APPS),
    option("apps.gate.requests", 1000, upper=APPS),
    option("apps.gate.concurrency", 1, upper=APPS),
    option("apps.gate.success", 0.9, upper=APPS),
    option("apps.gate.p95_ms", 300.5, upper=APPS),
    option("apps.gate.memory_share", 0.8, upper=APPS),
    option("apps.gate.accuracy_margin", 0.1, upper=APPS),
    option("apps.releases.promotion", "automatic", upper=APPS),
    option("apps.releases.canary_weight", 0, 50, upper=APPS),
    option(
        "apps.webhook",
        True,
        needs={"platform.argo.events": (LEFT_OUT,), "apps.source": (GITHUB, GITHUB_USER)},
        upper=APPS,
    ),
    option("apps.schedule", None, "15 */4 * * *", upper=APPS),
    option("apps.drift", {}, {"schedule": "0 * * * *", "hours": 1, "index": 0.1}, needs=WATCHED, upper=APPS),
    option("apps.load_test", {"bodies": [BODY]}, {"bodies": [BODY, {"a": 1.5}], "memory": "2048Mi"}, upper=APPS),
    option("apps.exploration", {"image": PAGE}, {"image": PAGE, "memory": "1Gi"}, needs=OWN, upper=APPS),
    option("apps.ray", {}, {"workers": 0}, {"workers": 3, "cpu": 2, "memory_gb": 8, "gpu": True}, upper=APPS),
    option("apps.ray.image", OWN_RAY, needs={**OWN, "apps.ray": ({},)}, upper=APPS),
    option("apps.git_storage_gb", 20, upper=APPS),
    option("apps.cache_gb", 100, upper=APPS),
    # -- secrets that may be given
    option("summary_api_key", "canary-summary", upper=PLATFORM),
    option("comment_url", "https://chat.example.org/canary", upper=PLATFORM),
)

ALSO: tuple[tuple[str, Any, Needs], ...] = (
    ("machines", "none", {"cluster": ("existing",)}),
    ("cluster", "existing", {"machines": ("none",)}),
    ("cluster", "none", {"upper": ("none",)}),
    ("machines", "sites", {"cluster": ("none", "k3s")}),
    ("infra.machines.two.gpu", True, {"cluster": ("none", *MADE)}),
    ("cluster.version", NEWER_K3S, {"cluster": ("k3s",), "platform.ingress.gateway_api": (False,)}),
    ("cluster.version", "1.34.6", {"cluster": ("kubespray",)}),
)
"""What single values need."""


def axes() -> dict[str, tuple[Any, ...]]:
    """Every option with its values."""
    return {**LAYERS, **{one.path: one.values for one in OPTIONS}}


def clashes() -> Clashes:
    """What cannot be chosen together: the other side of what is needed."""
    every, found = axes(), defaultdict(set)
    needs = [(one.path, at, one.needs) for one in OPTIONS for at in range(1, len(one.values))]
    needs += [(path, every[path].index(value), needed) for path, value, needed in ALSO]
    for path, at, needed in needs:
        for other, allowed in needed.items():
            for of in range(len(every[other])):
                if every[other][of] not in allowed:
                    found[path, at].add((other, of))
                    found[other, of].add((path, at))
    return found


@cache
def pairs() -> set[Pair]:
    """Every two values that can be chosen together."""
    return possible(axes(), clashes())


@cache
def covered() -> list[dict[str, int]]:
    """Choices in which every such pair is."""
    return list(covering(axes(), clashes()))


def rows() -> list[dict[str, int]]:
    """The choices for every file: those, and whatever chance brings."""
    dice = random.Random(7)  # noqa: S311  the same files on every computer
    return covered() + [scattered(axes(), clashes(), dice) for _ in range(FILES - len(covered()))]


def tree(row: Mapping[str, int]) -> dict[str, Any]:
    """The environment of a row, with the secrets that it needs or is given as texts."""
    every = axes()
    chosen = {path: every[path][at] for path, at in row.items()}
    changes = {path: value for path, value in chosen.items() if path not in LAYERS and value is not LEFT_OUT}
    return changed(layers(**{layer: chosen[layer] for layer in LAYERS}), changes)


def layers(machines: str, cluster: str, upper: str) -> dict[str, Any]:
    """An environment in which every option is left out."""
    unpinned = (*versions.k3s(NEWER_K3S), *versions.nvidia_toolkit(), versions.kubespray())
    found = {**infra(machines), "artifacts": {"digests": {artifact.path: "5" * 64 for artifact in unpinned}}}
    if cluster == "existing":
        found |= existing()
    elif cluster in MADE:
        found["cluster"] = {"kind": cluster} | ({"vpn": {"tag": "tag:leasehold"}} if machines == "sites" else {})
    if upper != "none":
        found["platform"] = dev()["platform"]
    if upper == "apps":
        found["apps"] = dev()["apps"]
    return found


def infra(machines: str) -> dict[str, Any]:
    """The section of the machines."""
    if machines == "none":
        return {}
    if machines in HOSTS:
        bastion = {"infra.bastion": "one"} if machines == "behind" else {}
        return {"infra": changed(hosts(), bastion)["infra"]}
    spare = {"infra.volumes.spare": {"size_gb": 10, "site": "kvm"}}
    gone = ("nodes.node2", "nodes.node3", "nodes.gpu1", "volumes.node2-data", "volumes.node3-data", "leases.gpu")
    less = {f"infra.{path}": DELETE for path in gone} if machines == "one" else {}
    return {"infra": changed(two_sites() if machines == "sites" else dev(), {**spare, **less})["infra"]}
