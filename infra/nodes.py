"""The machines of one site: ports with fixed addresses, servers, data volumes, and the floating IP of the bastion.

A server is cattle: a new flavor or image replaces it, the old one goes first, and its ports and volumes stay.
No node depends on another of its role; all but the bastion are reached through the bastion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import pulumi
import pulumi_openstack as openstack

from config import Access, Node, Site, Volume
from infra.cloud_init import host_firewall, user_data
from infra.host_keys import host_key
from infra.hosts import AttachedVolume, Host, Reach
from infra.lease import BAREMETAL_FLAVOR, Lease
from infra.marks import Marks
from infra.network import Network
from infra.retries import Retries

BOOT_MINUTES = {"kvm": 30, "baremetal": 60}
"""Chameleon's bare metal takes 10 to 20 minutes to boot; twice the slowest report, and a bound all the same."""


@dataclass(frozen=True)
class NodesArgs:
    """One site's machines and what they sit on."""

    site_name: str
    site: Site
    access: Access
    admin_ports: tuple[int, ...]
    """TCP ports of the bastion for administrators."""
    stack: str
    retries: Retries
    nodes: Mapping[str, Node]
    volumes: Mapping[str, Volume]
    leases: Mapping[str, Lease]
    network: Network
    login_key: pulumi.Output[str]
    """OpenSSH public key of the stack."""
    host_key_secret: pulumi.Output[str]
    """What the host keys are derived from."""


def zone_of(node: Node, zones: Sequence[str]) -> str | None:
    """The zone of a node: its own, else the site's in turn, else the site's default.

    The turn is the address's, so that another node coming or going moves nobody.
    """
    return node.zone or (zones[int(node.address) % len(zones)] if zones else None)


def is_id(image: str) -> bool:
    """Whether an image is given by id."""
    try:
        return bool(UUID(image))
    except ValueError:
        return False


class Nodes(pulumi.ComponentResource):
    """Machines that boot; `hosts` tells how to reach them."""

    hosts: tuple[Host, ...]
    floating_ip: pulumi.Output[str]
    """Address of the bastion."""

    def __init__(self, name: str, args: NodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the machines; `opts.provider` is the site's."""
        super().__init__("leasehold:infra:Nodes", name, None, opts)
        self._args = args
        self._marks = Marks(args.stack, ("leasehold:infra:Infra", "leasehold:infra:Nodes"))
        user_data, host_keys = self._boot()
        outer = {n: self._outer_port(n) for n in args.nodes} if args.network.shared_network_id else {}
        inner = {n: self._inner_port(n) for n in args.nodes}
        servers = {n: self._server(n, user_data[n], [p[n] for p in (outer, inner) if p]) for n in args.nodes}
        volumes = {v: self._volume(v) for v in args.volumes}
        self.floating_ip = self._floating_ip((outer or inner)[args.site.bastion])
        user = args.access.user
        bastion = Reach(self.floating_ip, user, host_keys[args.site.bastion])
        self.hosts = tuple(
            Host(
                name=n,
                role=node.role,
                site=args.site_name,
                address=str(node.address),
                reach=bastion if n == args.site.bastion else Reach(str(node.address), user, host_keys[n]),
                bastion=None if n == args.site.bastion else bastion,
                labels=node.labels,
                gpu=node.gpu,
                volumes=self._attach(n, servers[n], volumes),
                lease=node.lease,
                lease_end=args.leases[node.lease].end_date if node.lease else "",
                identity=servers[n].id,
            )
            for n, node in args.nodes.items()
        )
        self.register_outputs({})

    def _opts(
        self,
        name: str = "",
        suffix: str = "",
        *,
        minutes: int = 10,
        protect: bool | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
        replace_on_changes: list[str] | None = None,
    ) -> pulumi.ResourceOptions:
        """Options of a resource; a node's earlier names are aliases, so that renaming keeps what it has."""
        node = self._args.nodes.get(name)
        timeout = f"{minutes}m"
        return pulumi.ResourceOptions(
            parent=self,
            delete_before_replace=True,
            aliases=[pulumi.Alias(name=f"{old}{suffix}") for old in node.formerly] if node else None,
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout, delete=timeout),
            protect=protect,
            hooks=self._args.retries.hooks,
            depends_on=depends_on,
            replace_on_changes=replace_on_changes,
        )

    def _boot(self) -> tuple[dict[str, pulumi.Output[str]], dict[str, pulumi.Output[str]]]:
        """User data, a secret, and the public half of the host key, which is none, of every node."""
        args = self._args
        places = {n: (args.site_name, str(node.address)) for n, node in args.nodes.items()}

        def render(name: str, known: list[str]) -> str:
            secret, login_key = known
            return user_data(host_key(secret, *places[name]), login_key=login_key, firewall=self._firewall(name))

        def publish(name: str, secret: str) -> str:
            return host_key(secret, *places[name]).public

        known = pulumi.Output.all(args.host_key_secret, args.login_key)
        # Read here only to publish what is public: an output of a secret would be a secret itself.
        secret = pulumi.Output.unsecret(args.host_key_secret)
        return (
            {n: known.apply(partial(render, n)) for n in args.nodes},
            {n: secret.apply(partial(publish, n)) for n in args.nodes},
        )

    def _firewall(self, name: str) -> str | None:
        """The host's own, where the site has no security groups."""
        if self._args.network.groups is not None:
            return None
        reached, access = name == self._args.site.bastion, self._args.access
        return host_firewall(
            private=self._args.site.private_cidr,
            admin=access.admin_cidrs if reached else (),
            admin_ports=self._args.admin_ports,
            public=access.public_cidrs if reached else (),
        )

    def _outer_port(self, name: str) -> openstack.networking.Port:
        groups = self._args.network.groups
        wanted = None
        if groups is not None:
            wanted = [groups.admin, groups.web] if name == self._args.site.bastion else [groups.closed]
        return self._port(name, "-outer", self._args.network.shared_network_id, wanted)

    def _inner_port(self, name: str) -> openstack.networking.Port:
        network, groups = self._args.network, self._args.network.groups
        wanted = None
        if groups is not None:
            reached_here = name == self._args.site.bastion and network.shared_network_id is None
            wanted = [groups.internal, *([groups.admin, groups.web] if reached_here else [])]
        address = openstack.networking.PortFixedIpArgs(
            subnet_id=network.subnet_id, ip_address=str(self._args.nodes[name].address)
        )
        return self._port(name, "-inner", network.network_id, wanted, [address])

    def _port(
        self,
        name: str,
        suffix: str,
        network_id: pulumi.Output[str] | None,
        groups: list[pulumi.Output[str]] | None,
        fixed_ips: list[openstack.networking.PortFixedIpArgs] | None = None,
    ) -> openstack.networking.Port:
        return openstack.networking.Port(
            f"{name}{suffix}",
            name=f"{self._args.stack}-{name}{suffix}",
            network_id=network_id,
            security_group_ids=groups,
            fixed_ips=fixed_ips,
            description=self._marks.urn("openstack:networking/port:Port", f"{name}{suffix}"),
            tags=self._marks.tags,
            opts=self._opts(name, suffix),
        )

    def _server(
        self, name: str, data: pulumi.Output[str], ports: list[openstack.networking.Port]
    ) -> openstack.compute.Instance:
        args, node = self._args, self._args.nodes[name]
        lease = args.leases[node.lease] if node.lease else None
        baremetal = args.site.kind == "baremetal"
        hint = openstack.compute.InstanceSchedulerHintArgs
        return openstack.compute.Instance(
            name,
            name=f"{args.stack}-{name}",
            flavor_id=lease.flavor_id if lease and not baremetal else None,
            flavor_name=BAREMETAL_FLAVOR if baremetal else node.flavor,
            scheduler_hints=[hint(additional_properties={"reservation": lease.reservation_id})]
            if lease and baremetal
            else None,
            image_id=node.image if is_id(node.image) else None,
            image_name=None if is_id(node.image) else node.image,
            networks=[openstack.compute.InstanceNetworkArgs(port=port.id) for port in ports],
            availability_zone=zone_of(node, args.site.zones),
            config_drive=True,
            user_data=data,
            metadata=self._marks.metadata("openstack:compute/instance:Instance", name),
            opts=self._opts(
                name,
                minutes=BOOT_MINUTES[args.site.kind],
                # The published provider resizes and rebuilds in place; a reserved flavor is another place.
                replace_on_changes=["flavorId", "flavorName", "imageId", "imageName"],
            ),
        )

    def _volume(self, name: str) -> openstack.blockstorage.Volume:
        args, volume = self._args, self._args.volumes[name]
        kind = "openstack:blockstorage/volume:Volume"
        return openstack.blockstorage.Volume(
            name,
            name=f"{args.stack}-{name}",
            size=volume.size_gb,
            volume_type=volume.type,
            availability_zone=volume.zone,
            enable_online_resize=True,
            description=self._marks.urn(kind, name),
            metadata=self._marks.metadata(kind, name),
            opts=self._opts(protect=True),
        )

    def _attach(
        self,
        name: str,
        server: openstack.compute.Instance,
        volumes: Mapping[str, openstack.blockstorage.Volume],
    ) -> tuple[AttachedVolume, ...]:
        attached: list[AttachedVolume] = []
        before: list[pulumi.Resource] = []
        for volume in self._args.nodes[name].volumes:
            attachment = openstack.compute.VolumeAttach(
                f"{volume}-attach",
                instance_id=server.id,
                volume_id=volumes[volume].id,
                # One after the other, because the device names follow the order of attachment.
                opts=self._opts(depends_on=before),
            )
            attached.append(AttachedVolume(volume, attachment.device))
            before = [attachment]
        return tuple(attached)

    def _floating_ip(self, port: openstack.networking.Port) -> pulumi.Output[str]:
        site, name = self._args.site, f"{self._args.site_name}-floating-ip"
        address: pulumi.Input[str]
        if site.floating_ip is not None:
            address = str(site.floating_ip)
        else:
            address = openstack.networking.FloatingIp(
                name,
                pool=site.external_network,
                description=self._marks.urn("openstack:networking/floatingIp:FloatingIp", name),
                tags=self._marks.tags,
                opts=self._opts(protect=True),
            ).address
        router = self._args.network.router_interface
        association = openstack.networking.FloatingIpAssociate(
            f"{name}-associate",
            floating_ip=address,
            port_id=port.id,
            # Neutron binds a floating IP only to a network with a router, and no value of the router is used here.
            opts=self._opts(depends_on=[router] if router else ()),
        )
        return association.floating_ip
