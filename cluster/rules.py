"""What must hold between the cluster, its machines and its downloads, checked before anything is created.

Each rule is a pure function from the environment to problems; none of them raises.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

import versions
from cluster.kubespray import render
from config import (
    ClusterBase,
    Environment,
    ExistingCluster,
    HostsInfra,
    K3sCluster,
    KubesprayCluster,
    Machine,
    Node,
    OpenStackInfra,
    Problem,
)

NODE_PREFIX = 24
"""Size of the piece of the pods' network that each node gets (Kubernetes' node-cidr-mask-size)."""
SERVICE_PREFIXES = (12, 24)
"""kube-apiserver takes no larger network for services than a /12; a smaller one than /24 is soon used up."""
KUBELET_LABELS = ("kubelet.kubernetes.io/", "node.kubernetes.io/")
"""Namespaces in which a kubelet may label its own Node (Kubernetes, NodeRestriction)."""
OTHERS_LABELS = ("kubernetes.io", "k8s.io", "k3s.io", "k3s.cattle.io", "nvidia.com")
"""Namespaces, and those below them, whose labels Kubernetes, k3s and NVIDIA's programs write."""
OWNED = ("kube-", "leasehold-")
"""Beginnings of namespaces in which nobody else makes anything."""
ANYWHERE_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


def check(environment: Environment) -> Iterator[Problem]:
    """Every rule of this layer."""
    infra, cluster = environment.infra, environment.cluster
    yield from _layers(environment)
    yield from _labels(environment)
    yield from _edge(environment)
    if not isinstance(cluster, ClusterBase) or infra is None:
        return
    yield from _networks(environment, cluster)
    yield from _reach(environment, cluster)
    yield from _names(infra)
    if isinstance(cluster, KubesprayCluster):
        yield from _kubespray(infra, cluster)
    yield from _gpus(environment, cluster)
    yield from _digests(environment)


def machines(environment: Environment) -> Mapping[str, Node | Machine]:
    """Every machine by name."""
    infra = environment.infra
    if infra is None:
        return {}
    return infra.machines if isinstance(infra, HostsInfra) else infra.nodes


def artifacts(environment: Environment) -> Iterator[versions.Artifact]:
    """Everything that the machines of an environment download."""
    cluster = environment.cluster
    if isinstance(cluster, K3sCluster):
        yield from versions.k3s(cluster.version)
    if isinstance(cluster, KubesprayCluster):
        yield versions.kubespray()
    if isinstance(cluster, ClusterBase):
        if any(machine.gpu for machine in machines(environment).values()):
            yield from versions.nvidia_toolkit()
        if cluster.vpn:
            yield versions.tailscale()


def _layers(environment: Environment) -> Iterator[Problem]:
    infra, cluster = environment.infra, environment.cluster
    existing = isinstance(cluster, ExistingCluster)
    if infra is None and not existing:
        rule = "required, unless cluster.kind is existing"
        yield Problem("infra", "(missing)", rule, "say where the machines come from")
    if infra is not None and existing:
        rule = "machines that an existing cluster would not use"
        yield Problem("infra", f"kind {infra.kind}", rule, "leave it out, or choose another cluster.kind")
    if environment.restore is not None and not isinstance(cluster, K3sCluster):
        rule = "only a cluster of kind k3s is restored from a snapshot"
        yield Problem("restore", environment.restore, rule, "leave it out")


def _edge(environment: Environment) -> Iterator[Problem]:
    edge, cluster = environment.edge, environment.cluster
    if edge is None:
        return
    if cluster is None:
        yield Problem("edge", edge.hub, "there is no cluster to register", "add cluster, or leave edge out")
    elif isinstance(cluster, ClusterBase) and cluster.api != "public":
        rule = "the hub's Argo CD reaches the API at a public address only"
        yield Problem("cluster.api", cluster.api, rule, "set it to public and the hub's address in admin_cidrs")
    for namespace in edge.namespaces:
        if namespace == "default" or namespace.startswith(OWNED):
            rule = "a namespace of Kubernetes or of this project"
            yield Problem("edge.namespaces", namespace, rule, "name one of your own: it is made here")


def _labels(environment: Environment) -> Iterator[Problem]:
    kind = "machines" if isinstance(environment.infra, HostsInfra) else "nodes"
    for name, machine in machines(environment).items():
        for label in machine.labels:
            domain = label.partition("/")[0] if "/" in label else ""
            allowed = label in ANYWHERE_LABELS or label.startswith(KUBELET_LABELS)
            if not allowed and any(domain == other or domain.endswith(f".{other}") for other in OTHERS_LABELS):
                rule = "in a namespace of labels that Kubernetes, k3s and NVIDIA's programs write"
                yield Problem(f"infra.{kind}.{name}.labels", label, rule, "use a domain of your own, or no domain")


def _networks(environment: Environment, cluster: ClusterBase) -> Iterator[Problem]:
    given = {"pod_cidr": cluster.pod_cidr, "service_cidr": cluster.service_cidr}
    for field, network in given.items():
        if not network.is_private:
            remedy = "use a network in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
            yield Problem(f"cluster.{field}", str(network), "must be a private range", remedy)
        for where, other in _taken(environment):
            if network.overlaps(other):
                yield Problem(f"cluster.{field}", str(network), f"overlaps {where}", "choose another range")
    if cluster.pod_cidr.overlaps(cluster.service_cidr):
        rule = f"overlaps cluster.pod_cidr, {cluster.pod_cidr}"
        yield Problem("cluster.service_cidr", str(cluster.service_cidr), rule, "choose another range")
    nodes, room = len(machines(environment)), 2 ** max(0, NODE_PREFIX - cluster.pod_cidr.prefixlen)
    if nodes > room or cluster.pod_cidr.prefixlen > NODE_PREFIX:
        rule = f"each node takes a /{NODE_PREFIX} of it, and there are {nodes} nodes"
        yield Problem("cluster.pod_cidr", str(cluster.pod_cidr), rule, "give a larger network; 10.42.0.0/16 is usual")
    largest, smallest = SERVICE_PREFIXES
    if not largest <= cluster.service_cidr.prefixlen <= smallest:
        rule = f"must be a /{largest} to /{smallest}"
        yield Problem("cluster.service_cidr", str(cluster.service_cidr), rule, "10.43.0.0/16 is usual")


def _taken(environment: Environment) -> Iterator[tuple[str, IPv4Network]]:
    """Addresses that exist already, with what has them."""
    infra = environment.infra
    if isinstance(infra, OpenStackInfra):
        for name, site in infra.sites.items():
            # A /0 stands in for a network that is wrong by itself.
            if site.private_cidr.prefixlen:
                yield f"infra.sites.{name}.private_cidr, {site.private_cidr}", site.private_cidr
    elif infra is not None:
        for name, machine in infra.machines.items():
            address: IPv4Address = machine.private_address or machine.address
            yield f"the address of machine {name}, {address}", IPv4Network(f"{address}/32")


def _reach(environment: Environment, cluster: ClusterBase) -> Iterator[Problem]:
    infra = environment.infra
    if isinstance(infra, OpenStackInfra) and cluster.vpn is None:
        sites = sorted({infra.site_of(node) for node in infra.nodes.values()} & set(infra.sites))
        if len(sites) > 1:
            rule = f"nodes at {', '.join(sites)} have no private network in common"
            yield Problem("cluster.vpn", "(missing)", rule, "add a VPN, or keep the cluster's nodes at one site")
    if isinstance(infra, HostsInfra) and infra.bastion is None and cluster.api == "bastion":
        rule = "infra.bastion names no machine to go through"
        yield Problem("cluster.api", "bastion", rule, "name one, or choose public: the API at the first server")


def _names(infra: OpenStackInfra | HostsInfra) -> Iterator[Problem]:
    """A renamed agent becomes a new node; a renamed server would lose its member of etcd with its old Node."""
    for name, node in infra.nodes.items() if isinstance(infra, OpenStackInfra) else ():
        if node.role == "server" and node.formerly:
            rule = "a server's name is also that of its member of etcd"
            remedy = "keep the name, or remove the server and add another"
            yield Problem(f"infra.nodes.{name}.formerly", ", ".join(node.formerly), rule, remedy)


def _kubespray(infra: OpenStackInfra | HostsInfra, cluster: KubesprayCluster) -> Iterator[Problem]:
    if cluster.version.rpartition(".")[0] not in render.MINORS:
        rule = f"Kubespray {versions.KUBESPRAY} installs {', '.join(render.MINORS)}"
        yield Problem("cluster.version", cluster.version, rule, f"{versions.KUBESPRAY_KUBERNETES} is its default")
    # An agent's balancer has port 6443 of 127.0.0.1, which handing the API on would need too.
    remedy = "name a server, or choose cluster.kind k3s"
    if isinstance(infra, HostsInfra):
        through: dict[str, Node | Machine | None] = {"infra.bastion": infra.machines.get(infra.bastion or "")}
    else:
        through = {f"infra.sites.{name}.bastion": infra.nodes.get(site.bastion) for name, site in infra.sites.items()}
    for key, machine in through.items():
        if machine is not None and machine.role != "server":
            yield Problem(key, "agent", "the API of a Kubespray cluster is reached through a server", remedy)


def _gpus(environment: Environment, cluster: ClusterBase) -> Iterator[Problem]:
    sliced = cluster.gpu.time_slicing
    if sliced is not None and not any(machine.gpu for machine in machines(environment).values()):
        remedy = "give a node `gpu: true`, or leave it out"
        yield Problem("cluster.gpu.time_slicing", str(sliced), "no node has a GPU", remedy)


def _digests(environment: Environment) -> Iterator[Problem]:
    for artifact in artifacts(environment):
        if environment.artifacts.sha256(artifact) is None:
            remedy = f"add `{artifact.path}: SHA256` there, from {artifact.proof}"
            yield Problem("artifacts.digests", artifact.path, "is downloaded, and no sha256 of it is known", remedy)
