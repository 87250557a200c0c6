"""From machines to a Kubernetes cluster, or the cluster that is there already.

Owns what runs on the machines beyond their first boot, and what every cluster has: readers, GPUs that pods can ask
for, and its entry in another stack's Argo CD. Does not own workloads: those are the platform's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from cluster import existing, kubeconfig
from cluster.authority import Authority
from cluster.k3s import K3s, K3sArgs
from cluster.kubespray import Kubespray, KubesprayArgs
from cluster.machines import Machines, MachinesArgs
from cluster.registries import Registries
from cluster.retries import Retries
from config import (
    Artifacts,
    Charts,
    ClusterBase,
    Edge,
    ExistingCluster,
    K3sCluster,
    KubesprayCluster,
    Secrets,
    Settings,
)
from infra import Infra
from infra.hosts import Host


@dataclass(frozen=True)
class ClusterArgs:
    """The environment's part for this layer, and the machines."""

    config: K3sCluster | KubesprayCluster | ExistingCluster
    stack: str
    artifacts: Artifacts = field(default_factory=Artifacts)
    charts: Charts = field(default_factory=Charts)
    registries: Registries = Registries()
    edge: Edge | None = None
    """Whose Argo CD deploys here too."""
    restore: str | None = None
    secrets: Secrets = Secrets()
    hosts: Sequence[Host] = ()
    ready: Mapping[str, pulumi.Resource] = field(default_factory=dict)
    """Host name to what waited for it."""
    private_key: pulumi.Output[str] | None = None
    """Login key of the hosts; none where there are none."""

    @classmethod
    def of(cls, settings: Settings, infra: Infra | None) -> "ClusterArgs | None":
        """Take this layer's part of the settings; None where machines are all that is wanted."""
        environment = settings.environment
        if environment.cluster is None:
            return None
        machines = (infra.hosts, infra.ready, infra.private_key) if infra else ((), {}, None)
        return cls(
            environment.cluster,
            settings.stack,
            environment.artifacts,
            environment.charts,
            Registries.of(environment),
            environment.edge,
            environment.restore,
            settings.secrets,
            *machines,
        )


@dataclass(frozen=True)
class Access:
    """How the next layer reaches the cluster."""

    kubeconfig: pulumi.Output[str]
    """Administrator's; a secret."""
    endpoint: pulumi.Output[str]
    """URL of the API."""
    kind: str
    version: str | None
    """Of Kubernetes; None where it is not ours to say."""
    anchor: pulumi.Resource | None
    """Lives as long as the cluster: objects with `deleted_with` need no cluster to be destroyed. None for one that
    outlives the stack: there each object is deleted by itself."""
    authority: Authority
    """The stack's own; the nodes trust it for the platform's registry."""
    joined: Mapping[str, pulumi.Resource]
    """Host name to what made it a node; none where the nodes are not ours."""
    make_provider: Callable[[], kubernetes.Provider] = field(repr=False)

    @cached_property
    def inside(self) -> pulumi.ResourceOptions:
        """Options of a component whose objects are in the cluster; the provider is made when it is first asked for."""
        provider = self.make_provider()
        return pulumi.ResourceOptions(
            providers={"kubernetes": provider}, transformations=[Retries(self.kubeconfig).transform]
        )


class Cluster(pulumi.ComponentResource):
    """A Kubernetes cluster with its readers and GPUs."""

    access: Access
    readers: Mapping[str, pulumi.Output[str]]
    """Reader to its kubeconfig; secrets."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the cluster, or take the one that exists."""
        super().__init__("leasehold:cluster:Cluster", name, None, opts)
        self._name, self._args = name, args
        self._under = pulumi.ResourceOptions(parent=self)
        # Without keepers, so that nothing but the stack's end replaces it.
        self._anchor = random.RandomId(f"{name}-id", byte_length=8, opts=self._under)
        self._authority = Authority("authority", args.stack, self._under)
        self.access = self._made()
        self.readers = self._readers()
        self._names()
        self._gpus()
        self._registered()
        self.register_outputs({})

    def _made(self) -> Access:
        """Reach the cluster, once it is made."""
        args, config = self._args, self._args.config
        if isinstance(config, ExistingCluster):
            assert args.secrets.kubeconfig is not None  # noqa: S101  config.load refuses this kind without one
            given = existing.usable(args.secrets.kubeconfig)
            # Where a cluster is, is no secret.
            return self._access(given, pulumi.Output.unsecret(given.apply(kubeconfig.endpoint)), None, {})
        machines = self._machines(config)
        if isinstance(config, K3sCluster):
            k3s = K3s(
                "k3s",
                K3sArgs(
                    args.stack,
                    config,
                    machines,
                    args.artifacts,
                    args.secrets,
                    args.registries,
                    self._authority.certificate,
                    self._anchor,
                    args.restore,
                ),
                self._under,
            )
            return self._access(k3s.kubeconfig, machines.api, config.version, k3s.joined)
        made = KubesprayArgs(args.stack, config, machines, args.artifacts, args.registries)
        kubespray = Kubespray("kubespray", made, self._under)
        return self._access(kubespray.kubeconfig, kubespray.endpoint, kubespray.version, kubespray.joined)

    def _machines(self, config: ClusterBase) -> Machines:
        args = self._args
        assert args.private_key is not None  # noqa: S101  a rule refuses this kind without machines
        made = MachinesArgs(args.hosts, args.ready, args.private_key, config, args.artifacts, args.secrets)
        return Machines("machines", made, self._under)

    def _access(
        self,
        admin: pulumi.Output[str],
        endpoint: pulumi.Output[str],
        version: str | None,
        joined: Mapping[str, pulumi.Resource],
    ) -> Access:
        config = self._args.config
        anchor = None if isinstance(config, ExistingCluster) else self._anchor
        known = (admin, endpoint, config.kind, version, anchor, self._authority, joined)
        return Access(*known, make_provider=lambda: self._make_provider(admin))

    def _make_provider(self, admin: pulumi.Output[str]) -> kubernetes.Provider:
        return kubernetes.Provider(
            self._name,
            kubeconfig=admin,
            # Without it, heuristics on the kubeconfig decide when every object is replaced.
            cluster_identifier=self._anchor.hex,
            # Not delete_unreachable, which makes a refresh during an outage forget every object (its Read asks for
            # that first); objects go with the anchor instead.
            skip_update_unreachable=True,
            opts=self._under,
        )

    def _inside(self) -> pulumi.ResourceOptions:
        """Options of what is made of objects in the cluster."""
        return pulumi.ResourceOptions.merge(self.access.inside, pulumi.ResourceOptions(parent=self))

    def _readers(self) -> Mapping[str, pulumi.Output[str]]:
        if not self._args.config.readers:
            return {}
        from cluster.readers import Readers, ReadersArgs  # noqa: PLC0415  loads the SDK's half second

        access, args = self.access, self._args
        asked = ReadersArgs(args.config.readers, args.stack, access.kubeconfig, access.anchor)
        return Readers("readers", asked, self._inside()).kubeconfigs

    def _names(self) -> None:
        """Let DNS outlive a node, where there are several and their cluster has one server of names."""
        nodes = list(self.access.joined.values())
        if not isinstance(self._args.config, K3sCluster) or len(nodes) < 2:
            return
        from cluster.dns import Dns  # noqa: PLC0415  loads the SDK's half second

        Dns("dns", nodes, self.access.anchor, self._inside())

    def _gpus(self) -> None:
        """Offer GPUs: where a machine has one, or where an existing cluster asks for it."""
        config, nodes = self._args.config, [self.access.joined[host.name] for host in self._args.hosts if host.gpu]
        asked = config.gpu
        if asked is None or not (nodes or isinstance(config, ExistingCluster)):
            return
        from cluster.gpu import Gpu, GpuArgs  # noqa: PLC0415  loads the SDK's half second

        made = GpuArgs(
            self._args.charts,
            self.access.anchor,
            self.access.kubeconfig,
            asked.time_slicing,
            # k3s makes the class itself; whoever had a cluster with GPUs before has it.
            make_runtime_class=isinstance(config, KubesprayCluster),
            nodes=nodes,
        )
        Gpu("gpu", made, self._inside())

    def _registered(self) -> None:
        """Let another stack's Argo CD deploy here, where the environment says so."""
        if self._args.edge is None:
            return
        from cluster.edge import Edge, EdgeArgs  # noqa: PLC0415  loads the SDK's half second

        asked = EdgeArgs(self._args.edge, self._args.stack, self.access.kubeconfig, self.access.anchor)
        Edge("edge", asked, self._inside())
