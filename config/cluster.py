"""What makes machines a cluster, or which cluster there is already."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from config.fields import PROJECT, Cron, Model, Name, Network, Registry, Url
from versions import K3S, KUBESPRAY_KUBERNETES

KUBECONFIG = "kubeconfig"
TAILSCALE_KEY = "tailscale_auth_key"
SNAPSHOT_ACCESS_KEY = "snapshot_access_key"
SNAPSHOT_SECRET_KEY = "snapshot_secret_key"  # noqa: S105  the name of a key


class SnapshotStore(Model):
    """A bucket for snapshots. Its keys are the secrets snapshot_access_key and snapshot_secret_key."""

    endpoint: Url = Field(description="URL of the S3 endpoint, such as https://chi.tacc.chameleoncloud.org:7480")
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="name of a bucket that exists")
    region: str = Field("us-east-1", min_length=1, description="region of the bucket")
    folder: str = Field("", pattern=r"^[A-Za-z0-9._/-]*$", description="folder in the bucket; empty: its root")


class Snapshots(Model):
    """Snapshots of the control plane's data, on the first data volume of every server."""

    schedule: Cron = Field("*/15 * * * *", description="when: five cron fields, in the servers' time (UTC)")
    retention: int = Field(24, ge=1, le=1000, description="how many a server keeps")
    s3: SnapshotStore | None = Field(None, description="bucket that gets them too; none: on the servers only")


class Reader(Model):
    """Somebody who may look and change nothing: gets a kubeconfig as a stack output."""

    namespaces: tuple[Name, ...] = Field(
        min_length=1, description="namespaces whose objects, but for secrets, are seen"
    )


class Gpu(Model):
    """How GPUs are offered to pods, on nodes with `gpu: true`."""

    time_slicing: int | None = Field(
        None, ge=2, le=48, description="pods that share one GPU in turn, without memory isolation; none: one pod a GPU"
    )


class Vpn(Model):
    """A network over the internet, for nodes that have no private network in common."""

    kind: Literal["tailscale"] = Field("tailscale", description="Tailscale; the auth key is a secret")
    tag: str = Field(pattern=r"^tag:[a-z][a-z0-9-]*$", description="tag that the auth key gives, such as tag:leasehold")


class Rotation(Model):
    """Counters: raise one and run `up` to renew what it names."""

    token: int = Field(1, ge=1, description="generation of the tokens that nodes join with")
    certificates: int = Field(1, ge=1, description="generation of the nodes' certificates")


class AnyCluster(Model):
    """What every kind of cluster has."""

    readers: dict[Name, Reader] = Field({}, description="name to reader")


class ClusterBase(AnyCluster):
    """What every cluster has that is made here."""

    api: Literal["public", "bastion"] = Field(
        "public", description="public: admin_cidrs reach the API at the bastion's address; bastion: by SSH only"
    )
    pod_cidr: Network = Field(IPv4Network("10.42.0.0/16"), description="addresses of pods, a /24 for each node")
    service_cidr: Network = Field(IPv4Network("10.43.0.0/16"), description="addresses of services")
    mirrors: dict[Registry, tuple[Url, ...]] = Field({}, description="registry to its mirrors, in order of use")
    gpu: Gpu = Field(Gpu(), description="see its section")
    vpn: Vpn | None = Field(None, description="VPN between the nodes; none: their private network")


class K3sCluster(ClusterBase):
    """k3s on the machines: the servers hold the control plane and its etcd."""

    kind: Literal["k3s"]
    version: str = Field(
        K3S, pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+\+k3s[0-9]+$", description="release; upgrade by one minor at a time"
    )
    snapshots: Snapshots = Field(Snapshots(), description="see its section")
    rotation: Rotation = Field(Rotation(), description="see its section")


class KubesprayCluster(ClusterBase):
    """Kubernetes by Kubespray, run from the bastion."""

    kind: Literal["kubespray"]
    version: str = Field(
        KUBESPRAY_KUBERNETES, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$", description="Kubernetes release that Kubespray knows"
    )
    network_plugin: Literal["calico", "cilium", "flannel"] = Field("calico", description="network between pods")


class ExistingCluster(AnyCluster):
    """A cluster that you have already: a kubeconfig is enough, nothing is done over SSH."""

    kind: Literal["existing"]
    kubeconfig_file: Path | None = Field(
        None, description=f"file of the kubeconfig; none: the secret {PROJECT}:{KUBECONFIG}"
    )
    gpu: Gpu | None = Field(
        None,
        description="offer GPUs of nodes labelled nvidia.com/gpu.present=true, by RuntimeClass nvidia; none: do not",
    )


Cluster = Annotated[K3sCluster | KubesprayCluster | ExistingCluster, Field(discriminator="kind")]
