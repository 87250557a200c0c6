"""What an environment needs at a site, less what its stack has there already, against what is left.

A true shortage is named before the first create; retrying it would only take time from the lease.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import ForbiddenException, ResourceNotFound

from config import OpenStackInfra, Problem
from infra import blazar
from infra.marks import STACK, lease_name, stack_tag


@dataclass(frozen=True)
class Flavor:
    """The part of a flavor that quotas count."""

    vcpus: int
    ram_mb: int


def check(
    infra: OpenStackInfra, site: str, stack: str, connection: Connection, admin_ports: int = 1
) -> Iterator[Problem]:
    """Every shortage at one site; `admin_ports` is how many ports administrators may reach."""
    flavors = _flavors(connection)
    servers = {
        server.name.removeprefix(f"{stack}-")
        for server in connection.compute.servers()
        if (server.metadata or {}).get(STACK) == stack
    }
    yield from _compute(infra, site, connection, flavors, servers)
    yield from _volumes(infra, site, stack, connection)
    yield from _network(infra, site, stack, connection, admin_ports)
    if any(infra.site_of(lease) == site for lease in infra.leases.values()):
        yield from _capacity(infra, site, stack, connection, flavors)


def _flavors(connection: Connection) -> dict[str, Flavor]:
    found = {}
    for flavor in connection.compute.flavors():
        found[flavor.name] = found[flavor.id] = Flavor(flavor.vcpus, flavor.ram)
    return found


def _short(site: str, what: str, need: float, left: float) -> Iterator[Problem]:
    if need > left:
        rule = f"the environment needs {need:g} more, {max(left, 0):g} are left"
        remedy = "ask the site for more quota, free some, or make the environment smaller"
        yield Problem(f"infra.sites.{site}", what, rule, remedy)


def _compute(
    infra: OpenStackInfra, site: str, connection: Connection, flavors: Mapping[str, Flavor], have: set[str]
) -> Iterator[Problem]:
    missing = [
        node for name, node in infra.nodes.items() if infra.site_of(node) == site and not have & {name, *node.formerly}
    ]
    names: list[str | None] = [
        node.flavor or (infra.leases[node.lease].flavor if node.lease in infra.leases else None) for node in missing
    ]
    sizes = [flavors[name] for name in names if name is not None and name in flavors]
    limits = connection.compute.get_limits().absolute
    for what, need, total, used in (
        ("instances", len(missing), limits.instances, limits.instances_used),
        ("cores", sum(s.vcpus for s in sizes), limits.total_cores, limits.total_cores_used),
        ("RAM (MB)", sum(s.ram_mb for s in sizes), limits.total_ram, limits.total_ram_used),
    ):
        if total is not None and total >= 0:  # -1: no limit
            yield from _short(site, f"quota of {what}", need, total - (used or 0))


def _volumes(infra: OpenStackInfra, site: str, stack: str, connection: Connection) -> Iterator[Problem]:
    planned = {n: v for n, v in infra.volumes.items() if infra.site_of(v) == site}
    if not planned:
        return
    have = {
        volume.name.removeprefix(f"{stack}-"): volume.size
        for volume in connection.block_storage.volumes()
        if (volume.metadata or {}).get(STACK) == stack
    }
    limits = connection.block_storage.get_limits().absolute
    new = [name for name in planned if name not in have]
    size = sum(v.size_gb - have.get(name, 0) for name, v in planned.items())
    if limits.max_total_volumes >= 0:
        yield from _short(site, "quota of volumes", len(new), limits.max_total_volumes - limits.total_volumes_used)
    if limits.max_total_volume_gigabytes >= 0:
        left = limits.max_total_volume_gigabytes - limits.total_gigabytes_used
        yield from _short(site, "quota of volume gigabytes", size, left)


def needed(infra: OpenStackInfra, site: str, admin_ports: int = 1) -> Counter[str]:
    """Network objects that the environment makes at a site, by Neutron's quota names."""
    part = infra.sites[site]
    nodes = sum(infra.site_of(node) == site for node in infra.nodes.values())
    outer = 1 if part.shared_network else 0
    count = Counter(network=1, subnet=1, port=nodes * (1 + outer), floatingip=0 if part.floating_ip else 1)
    if not outer:
        count += Counter(router=1, port=1)
    if part.kind == "kvm":
        rules = 1 + admin_ports * len(infra.access.admin_cidrs) + 2 * len(infra.access.public_cidrs)
        # Neutron gives every group two egress rules.
        count += Counter(security_group=4, security_group_rule=rules + 2 * 4)
    return count


def _network(
    infra: OpenStackInfra, site: str, stack: str, connection: Connection, admin_ports: int
) -> Iterator[Problem]:
    project = connection.current_project_id
    answer = connection.network.get(f"/quotas/{project}/details")
    if answer.status_code >= 400:  # an older site without the details extension: its own checks must do
        return
    tag = stack_tag(stack)
    network = connection.network
    groups = list(network.security_groups(tags=tag))
    have = Counter(
        network=len(list(network.networks(tags=tag))),
        subnet=len(list(network.subnets(tags=tag))),
        port=len(list(network.ports(tags=tag))),
        router=len(list(network.routers(tags=tag))),
        floatingip=len(list(network.ips(tags=tag))),
        security_group=len(groups),
        security_group_rule=sum(len(group.security_group_rules) for group in groups),
    )
    quota: dict[str, Any] = answer.json()["quota"]
    planned = needed(infra, site, admin_ports)
    for what, need in planned.items():
        limit = quota.get(what, {"limit": -1, "used": 0, "reserved": 0})
        if limit["limit"] >= 0:
            left = limit["limit"] - limit["used"] - limit["reserved"]
            yield from _short(site, f"quota of {what.replace('_', ' ')}s", need - have[what], left)
    yield from _addresses(infra, site, connection, need=planned - have)


def _addresses(infra: OpenStackInfra, site: str, connection: Connection, need: Counter[str]) -> Iterator[Problem]:
    """Free addresses of the site's networks, where the site lets a project see them."""
    part = infra.sites[site]
    wanted = {part.external_network: need["floatingip"]}
    if part.shared_network:
        wanted[part.shared_network] = need["port"] // 2
    try:
        found = {a.network_name: a for a in connection.network.network_ip_availabilities()}
    except (ForbiddenException, ResourceNotFound):
        return
    for name, count in wanted.items():
        if name in found:
            left = found[name].total_ips - found[name].used_ips
            yield from _short(site, f"addresses of {name}", count, left)


def _capacity(
    infra: OpenStackInfra, site: str, stack: str, connection: Connection, flavors: Mapping[str, Flavor]
) -> Iterator[Problem]:
    """Reservable hosts against the leases to be made, where the site lets a project see its hosts.

    What other projects reserved of a host is not visible, so this is an upper bound: Blazar has the last word.
    """
    client = blazar.Blazar(connection)
    hosts = client.hosts()
    if hosts is None:
        return
    usable = [host for host in hosts if host.get("reservable", True)]
    for name, lease in infra.leases.items():
        if infra.site_of(lease) != site or lease.adopt or client.find(lease_name(stack, name)):
            continue
        key = f"infra.leases.{name}.count"
        if lease.node_type is not None:
            fitting = sum(host.get("node_type") == lease.node_type for host in usable)
            what = f"hosts of type {lease.node_type}"
        elif lease.flavor is not None and lease.flavor in flavors:
            size = flavors[lease.flavor]
            fitting = sum(_slots(host, size) for host in usable)
            what = f"instances of {lease.flavor}"
        else:
            continue
        if fitting < lease.count:
            rule = f"the site can reserve {fitting} {what} at most"
            yield Problem(key, str(lease.count), rule, "reserve fewer, or another kind")


def _slots(host: Mapping[str, Any], flavor: Flavor) -> int:
    cpus = int(host["vcpus"]) // max(flavor.vcpus, 1)
    return min(cpus, int(host["memory_mb"]) // max(flavor.ram_mb, 1))
