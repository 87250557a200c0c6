"""Machines that answer on SSH: made at OpenStack sites, or had already.

Owns leases, networks, security groups, servers, volumes and addresses. Does not own what runs on the
machines beyond their first boot: that is the cluster's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pulumi
import pulumi_openstack as openstack
import pulumi_tls as tls

from config import HostsInfra, OpenStackInfra, Settings
from infra import blazar
from infra.hosts import Host, Reach
from infra.lease import Lease, LeaseArgs
from infra.marks import lease_name
from infra.network import Network, NetworkArgs
from infra.nodes import Nodes, NodesArgs
from infra.reach import hosts_lines, ready
from infra.retries import Retries

RETRIES = 5
"""The OpenStack provider repeats refused connections and 429s with Retry-After, and nothing else: see retries.py."""


@dataclass(frozen=True)
class InfraArgs:
    """The environment's part for this layer."""

    environment: OpenStackInfra | HostsInfra
    stack: str
    private_key: pulumi.Output[str] | None = None
    """Login key for machines that exist already; for machines made here one is generated."""
    admin_ports: tuple[int, ...] = (22,)
    """TCP ports of the bastion for administrators."""

    @classmethod
    def of(cls, settings: Settings) -> "InfraArgs | None":
        """Take this layer's part of the settings; None where no machines are wanted."""
        environment = settings.environment
        if environment.infra is None:
            return None
        return cls(environment.infra, settings.stack, settings.secrets.private_key, environment.admin_ports)


class Infra(pulumi.ComponentResource):
    """Machines, and how to reach them."""

    hosts: tuple[Host, ...]
    """Every machine; a command may run on it when its `ready` is done."""
    ready: Mapping[str, pulumi.Resource]
    """Host name to the command that waited for it."""
    private_key: pulumi.Output[str]
    """Login key of the stack, OpenSSH text; a secret."""
    leases: Mapping[str, Lease]
    floating_ips: Mapping[str, pulumi.Output[str]]
    """Site to the address of its bastion."""

    def __init__(self, name: str, args: InfraArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the machines, or take those that exist, and wait until each is ready."""
        super().__init__("leasehold:infra:Infra", name, None, opts)
        self._args = args
        self.leases, self.floating_ips = {}, {}
        keys: Sequence[str] = ()
        formerly: dict[str, tuple[str, ...]] = {}
        infra = args.environment
        if isinstance(infra, OpenStackInfra):
            self._openstack(infra)
            keys = infra.access.authorized_keys
            formerly = {n: node.formerly for n, node in infra.nodes.items()}
        else:
            assert args.private_key is not None  # noqa: S101  config.load refuses this kind without a key
            self.private_key = args.private_key
            self.hosts = _machines(infra)
        self.ready = {
            host.name: ready(
                host,
                private_key=self.private_key,
                authorized_keys=keys,
                neighbours=neighbours,
                aliases=formerly.get(host.name, ()),
                parent=self,
            )
            for neighbours, hosts in self._by_site()
            for host in hosts
        }
        self.register_outputs({})

    def _openstack(self, infra: OpenStackInfra) -> None:
        stack, under = self._args.stack, pulumi.ResourceOptions(parent=self)
        login = tls.PrivateKey("login-key", algorithm="ED25519", opts=under)
        self.private_key = login.private_key_openssh
        host_keys = tls.PrivateKey("host-keys", algorithm="ED25519", opts=under)
        leases = {name: self._lease(infra, name) for name in infra.leases}
        hosts: list[Host] = []
        floating_ips: dict[str, pulumi.Output[str]] = {}
        for name, site in infra.sites.items():
            provider = openstack.Provider(name, cloud=site.cloud, region=site.region, max_retries=RETRIES, opts=under)
            here = pulumi.ResourceOptions(parent=self, providers={"openstack": provider})
            retries = Retries(name, site.cloud, site.region)
            network = Network(name, NetworkArgs(site, infra.access, stack, retries, self._args.admin_ports), here)
            nodes = Nodes(
                name,
                NodesArgs(
                    site_name=name,
                    site=site,
                    access=infra.access,
                    admin_ports=self._args.admin_ports,
                    stack=stack,
                    retries=retries,
                    nodes={n: node for n, node in infra.nodes.items() if infra.site_of(node) == name},
                    volumes={v: volume for v, volume in infra.volumes.items() if infra.site_of(volume) == name},
                    leases=leases,
                    network=network,
                    login_key=login.public_key_openssh,
                    host_key_secret=host_keys.private_key_pem,
                ),
                here,
            )
            hosts += nodes.hosts
            floating_ips[name] = nodes.floating_ip
        self.hosts, self.leases, self.floating_ips = tuple(hosts), leases, floating_ips

    def _lease(self, infra: OpenStackInfra, name: str) -> Lease:
        lease = infra.leases[name]
        site = infra.sites[infra.site_of(lease)]
        args = LeaseArgs(
            name=lease_name(self._args.stack, name),
            cloud=site.cloud,
            region=site.region,
            flavor=lease.flavor,
            node_type=lease.node_type,
            count=lease.count,
            start=lease.start,
            end=lease.end,
            hours=lease.hours,
            adopt=lease.adopt,
        )
        return Lease(name, args, pulumi.ResourceOptions(parent=self, delete_before_replace=True))

    def _by_site(self) -> list[tuple[pulumi.Input[str], list[Host]]]:
        """Hosts of each site, with the lines of /etc/hosts that they share."""
        sites: dict[str, list[Host]] = {}
        for host in self.hosts:
            sites.setdefault(host.site, []).append(host)
        return [(hosts_lines({h.name: h.address for h in hosts}), hosts) for hosts in sites.values()]

    def describe_hosts(self) -> pulumi.Output[list[dict[str, Any]]]:
        """Name, role, addresses, user and pinned key of every machine, as plain data (hosts.ssh_config reads it)."""
        bastions = {host.reach: host.name for host in self.hosts if host.bastion is None}
        unknown = [[h.reach.host, h.reach.host_key, *(v.device for v in h.volumes)] for h in self.hosts]

        def describe(known: list[Any]) -> list[dict[str, Any]]:
            values = iter(known)
            return [
                {
                    "name": host.name,
                    "role": host.role,
                    "site": host.site,
                    "address": host.address,
                    "ssh_host": next(values),
                    "ssh_port": host.reach.port,
                    "user": host.reach.user,
                    "host_key": next(values),
                    "bastion": bastions.get(host.bastion) if host.bastion else None,
                    "gpu": host.gpu,
                    "labels": dict(host.labels),
                    "volumes": [{"name": volume.name, "device": next(values)} for volume in host.volumes],
                }
                for host in self.hosts
            ]

        # One flat list: an output for every field of every host took longer than the hosts themselves.
        return pulumi.Output.all(*(value for values in unknown for value in values)).apply(describe)

    def describe_leases(self) -> pulumi.Output[dict[str, dict[str, str]]]:
        """Ids, reserved flavor, state, start, end and the window for an extension of every lease."""

        def facts(values: dict[str, str]) -> dict[str, str]:
            opens, closes = blazar.extension_window(blazar.parse_time(values["end"]))
            window = {
                "extendable_from": blazar.format_time(opens),
                "extendable_until": blazar.format_time(closes),
            }
            return {**values, **window}

        return pulumi.Output.all(
            **{
                name: pulumi.Output.all(
                    id=lease.id,
                    reservation_id=lease.reservation_id,
                    flavor_id=lease.flavor_id,
                    status=lease.status,
                    start=lease.start_date,
                    end=lease.end_date,
                ).apply(facts)
                for name, lease in self.leases.items()
            }
        )


def _machines(infra: HostsInfra) -> tuple[Host, ...]:
    """Machines that exist already, as hosts."""
    reaches = {
        name: Reach(str(ip_address(m.address)), m.user, m.host_key, m.port) for name, m in infra.machines.items()
    }
    bastion = reaches[infra.bastion] if infra.bastion else None
    return tuple(
        Host(
            name=name,
            role=machine.role,
            site="hosts",
            address=str(machine.private_address or machine.address),
            reach=reaches[name],
            bastion=None if name == infra.bastion else bastion,
            labels=machine.labels,
            gpu=machine.gpu,
            identity=machine.host_key,
        )
        for name, machine in infra.machines.items()
    )
