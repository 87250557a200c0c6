"""Where the machines come from: made at OpenStack sites, or had already."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from config.fields import PROJECT, Address, HostName, Label, LabelValue, Model, Network, PublicKey, Role, Time

PRIVATE_KEY = "ssh_private_key"
WEEK, YEAR = 7 * 24, 365 * 24


class Site(Model):
    """An OpenStack site: one region, one login, one private network, one bastion."""

    kind: Literal["kvm", "baremetal"] = Field(
        "kvm", description="kvm: leases reserve flavors; baremetal: leases reserve whole hosts"
    )
    region: str = Field(description="region as the site's catalogue names it, such as KVM@TACC")
    cloud: str | None = Field(None, description="entry of clouds.yaml; none: OS_CLOUD, or the OS_* variables")
    external_network: str = Field("public", description="network that floating IPs come from")
    shared_network: str | None = Field(
        None, description="site's routed network, every node has a port on it; none: a router of our own"
    )
    private_cidr: Network = Field(description="the stack's own network, IPv4 CIDR of /8 to /28")
    dns_servers: tuple[Address, ...] = Field((), description="name servers of the private network")
    bastion: HostName = Field(description="node with the floating IP, through which all others are reached")
    floating_ip: Address | None = Field(None, description="floating IP you already hold; none: one is allocated")
    zones: tuple[str, ...] = Field((), description="availability zones; nodes without a zone are spread over them")
    standard_lease_cap_hours: int = Field(180 * 24, ge=1, description="longest lease without GPU, hours")
    gpu_lease_cap_hours: int = Field(WEEK, ge=1, description="longest lease of GPU flavors or bare metal, hours")


class Lease(Model):
    """Reserved capacity with an end; at the end Blazar deletes the servers on it."""

    site: str | None = Field(None, description="name of a site; none: the only one")
    flavor: str | None = Field(None, description="flavor to reserve (kvm)")
    node_type: str | None = Field(None, description="node type of the hosts to reserve (baremetal)")
    count: int = Field(1, ge=1, le=1000, description="number of instances or hosts")
    start: Time | None = Field(None, description='UTC, "YYYY-MM-DD HH:MM"; none: now')
    end: Time | None = Field(None, description='UTC, "YYYY-MM-DD HH:MM"; or give hours')
    hours: int | None = Field(None, ge=1, le=10 * YEAR, description="length in hours, from the start; or give end")
    adopt: str | None = Field(None, description="name or id of a lease you already hold: used, never deleted")

    def ends(self, now: datetime) -> datetime:
        """When it ends, if it is made at a time."""
        return self.end or (self.start or now) + timedelta(hours=self.hours or 0)


class Node(Model):
    """A machine. Its name is the key it stands under."""

    role: Role = Field(description="server: control plane and data store (an odd number); agent: workloads")
    address: Address = Field(description="fixed address in the site's private_cidr")
    image: str = Field(description="image name or id; a name is not followed when the site publishes it anew")
    lease: str | None = Field(None, description="lease the node sits on; or give flavor")
    flavor: str | None = Field(None, description="flavor without a reservation; or give lease")
    site: str | None = Field(None, description="name of a site; none: the lease's, or the only one")
    zone: str | None = Field(None, description="availability zone; none: spread over the site's zones")
    volumes: tuple[str, ...] = Field((), description="names of data volumes, attached in this order")
    labels: dict[Label, LabelValue] = Field({}, description="Kubernetes node labels")
    gpu: bool = Field(False, description="the node has an NVIDIA GPU: it sits on a lease of GPU nodes only")
    formerly: tuple[HostName, ...] = Field((), description="earlier names: renaming keeps the machine")


class Volume(Model):
    """A data volume: protected, never replaced, and independent of the node it is attached to."""

    size_gb: int = Field(ge=1, le=64_000, description="size in GiB; it may grow, never shrink")
    type: str | None = Field(None, description="volume type; none: the site's default")
    site: str | None = Field(None, description="name of a site; none: the only one")
    zone: str | None = Field(None, description="availability zone of the volume; none: the site's default")


class Access(Model):
    """Who may reach the machines. Nothing else is open."""

    admin_cidrs: tuple[Network, ...] = Field(
        min_length=1, description="networks that may reach SSH, and the Kubernetes API where it is public"
    )
    public_cidrs: tuple[Network, ...] = Field((), description="networks that may reach ports 80 and 443")
    authorized_keys: tuple[PublicKey, ...] = Field((), description="OpenSSH public keys of people who log in")
    user: str = Field("cc", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="login user of the image, with sudo")


class OpenStackInfra(Model):
    """Machines made at OpenStack sites."""

    kind: Literal["openstack"]
    sites: dict[HostName, Site] = Field(min_length=1, description="name to site")
    leases: dict[HostName, Lease] = Field({}, description="name to lease")
    nodes: dict[HostName, Node] = Field(min_length=1, description="host name to node")
    volumes: dict[HostName, Volume] = Field({}, description="name to data volume")
    access: Access

    def site_of(self, part: Lease | Node | Volume) -> str:
        """Name of the site of a part: its own, its lease's, or the only one; "" when that is unknown."""
        lease = self.leases.get(part.lease or "") if isinstance(part, Node) else None
        named = part.site or (lease.site if lease else None)
        return named or (next(iter(self.sites)) if len(self.sites) == 1 else "")


class Machine(Model):
    """A machine that you already have: it is told its name, its neighbours, and nothing else."""

    role: Role = Field(description="server: control plane and data store (an odd number); agent: workloads")
    address: Address = Field(description="address at which SSH answers, from here or from the bastion")
    private_address: Address | None = Field(None, description="address for the other nodes; none: address")
    host_key: PublicKey = Field(description="the machine's SSH host key, one line: it is pinned")
    user: str = Field("cc", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="login user with sudo")
    port: int = Field(22, ge=1, le=65535, description="SSH port")
    labels: dict[Label, LabelValue] = Field({}, description="Kubernetes node labels")
    gpu: bool = Field(False, description="the machine has an NVIDIA GPU")


class HostsInfra(Model):
    """Machines that exist already."""

    kind: Literal["hosts"]
    machines: dict[HostName, Machine] = Field(min_length=1, description="host name to machine")
    bastion: HostName | None = Field(None, description="machine through which the others are reached; none: directly")
    private_key_file: Path | None = Field(
        None, description=f"file of the private key for login; none: the secret {PROJECT}:{PRIVATE_KEY}"
    )


Infra = Annotated[OpenStackInfra | HostsInfra, Field(discriminator="kind")]
