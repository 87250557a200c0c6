"""The network of one site: private network, router where the site routes nothing, and security groups.

Closed by default: a port answers nobody but what its groups name. Bare-metal sites have no security groups;
their hosts carry the same rules themselves (cloud_init.host_firewall).
"""

from dataclasses import dataclass

import pulumi
import pulumi_openstack as openstack

from config import Access, Site
from infra.marks import Marks
from infra.retries import Retries

WEB = (80, 443)


@dataclass(frozen=True)
class NetworkArgs:
    """One site's part of the environment."""

    site: Site
    access: Access
    stack: str
    retries: Retries
    admin_ports: tuple[int, ...]
    """TCP ports of the bastion for administrators."""


@dataclass(frozen=True)
class SecurityGroups:
    """Ids of the groups, by what they let in."""

    closed: pulumi.Output[str]
    internal: pulumi.Output[str]
    admin: pulumi.Output[str]
    web: pulumi.Output[str]


class Network(pulumi.ComponentResource):
    """A private network with fixed addresses, and a way out."""

    network_id: pulumi.Output[str]
    subnet_id: pulumi.Output[str]
    shared_network_id: pulumi.Output[str] | None
    """The site's routed network; none: the private network has a router."""
    router_interface: openstack.networking.RouterInterface | None
    """A floating IP can be bound to a private port only when this is there."""
    groups: SecurityGroups | None
    """None on sites without security groups."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the network; `opts.provider` is the site's."""
        super().__init__("leasehold:infra:Network", name, None, opts)
        self._name, self._args = name, args
        self._marks = Marks(args.stack, ("leasehold:infra:Infra", "leasehold:infra:Network"))
        site = args.site
        private = self._private()
        self.network_id = private.id
        self.subnet_id = self._subnet(private).id
        self.shared_network_id = self.router_interface = None
        if site.shared_network is not None:
            self.shared_network_id = self._lookup(site.shared_network)
        else:
            self.router_interface = self._router()
        self.groups = self._groups() if site.kind == "kvm" else None
        self.register_outputs({})

    def _opts(self) -> pulumi.ResourceOptions:
        timeouts = pulumi.CustomTimeouts(create="10m", update="10m", delete="10m")
        return pulumi.ResourceOptions(
            parent=self, delete_before_replace=True, custom_timeouts=timeouts, hooks=self._args.retries.hooks
        )

    def _lookup(self, network: str) -> pulumi.Output[str]:
        options = pulumi.InvokeOptions(parent=self)
        return openstack.networking.get_network_output(name=network, opts=options).id

    def _private(self) -> openstack.networking.Network:
        name = f"{self._name}-private"
        return openstack.networking.Network(
            name,
            name=f"{self._args.stack}-{name}",
            admin_state_up=True,
            description=self._marks.urn("openstack:networking/network:Network", name),
            tags=self._marks.tags,
            opts=self._opts(),
        )

    def _subnet(self, network: openstack.networking.Network) -> openstack.networking.Subnet:
        name, site = f"{self._name}-subnet", self._args.site
        routed = site.shared_network is None
        return openstack.networking.Subnet(
            name,
            name=f"{self._args.stack}-{name}",
            network_id=network.id,
            cidr=str(site.private_cidr),
            ip_version=4,
            no_gateway=None if routed else True,
            gateway_ip=str(site.private_cidr[1]) if routed else None,
            dns_nameservers=[str(server) for server in site.dns_servers],
            description=self._marks.urn("openstack:networking/subnet:Subnet", name),
            tags=self._marks.tags,
            opts=self._opts(),
        )

    def _router(self) -> openstack.networking.RouterInterface:
        name = f"{self._name}-router"
        router = openstack.networking.Router(
            name,
            name=f"{self._args.stack}-{name}",
            external_network_id=self._lookup(self._args.site.external_network),
            description=self._marks.urn("openstack:networking/router:Router", name),
            tags=self._marks.tags,
            opts=self._opts(),
        )
        return openstack.networking.RouterInterface(
            f"{name}-interface", router_id=router.id, subnet_id=self.subnet_id, opts=self._opts()
        )

    def _groups(self) -> SecurityGroups:
        access, private = self._args.access, str(self._args.site.private_cidr)
        return SecurityGroups(
            closed=self._group("closed", "nothing", [], ()),
            internal=self._group("internal", "everything from the private network", [private], (None,)),
            admin=self._group("admin", "administrators", [str(c) for c in access.admin_cidrs], self._args.admin_ports),
            web=self._group("web", "HTTP and HTTPS from users", [str(c) for c in access.public_cidrs], WEB),
        )

    def _group(self, kind: str, lets_in: str, cidrs: list[str], ports: tuple[int | None, ...]) -> pulumi.Output[str]:
        """A group that lets in TCP ports, or everything for the port None, from some networks."""
        name = f"{self._name}-{kind}"
        group = openstack.networking.SecGroup(
            name,
            name=f"{self._args.stack}-{name} ({lets_in})",
            description=self._marks.urn("openstack:networking/secGroup:SecGroup", name),
            tags=self._marks.tags,
            opts=self._opts(),
        )
        for cidr in cidrs:
            for port in ports:
                rule = f"{name}-{port or 'any'}-{cidr}"
                openstack.networking.SecGroupRule(
                    rule,
                    security_group_id=group.id,
                    direction="ingress",
                    ethertype="IPv4",
                    protocol=None if port is None else "tcp",
                    port_range_min=port,
                    port_range_max=port,
                    remote_ip_prefix=cidr,
                    description=self._marks.urn("openstack:networking/secGroupRule:SecGroupRule", rule),
                    opts=self._opts(),
                )
        return group.id
