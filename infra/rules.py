"""What must hold between the parts of an environment, checked without a cloud and before anything is created.

Each rule is a pure function from the environment (and the clock) to problems; none of them raises.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from config import Environment, HostsInfra, Lease, OpenStackInfra, Problem

GPU_FLAVOR_PREFIX = "g1."
"""Chameleon's naming of GPU flavors (ChameleonCloud/docs, kvm_hardware)."""
NARROWEST, WIDEST = 28, 8


def check(environment: Environment) -> Iterator[Problem]:
    """Every rule, at the present time."""
    infra = environment.infra
    if infra is None:
        return
    if isinstance(infra, HostsInfra):
        yield from _machines(infra)
        return
    yield from _sites(infra)
    yield from _references(infra)
    yield from _addresses(infra)
    yield from _names(infra)
    yield from _leases(infra, datetime.now(UTC))
    yield from _gpus(infra)
    yield from _volumes(infra)
    yield from _servers("infra.nodes", Counter(node.role for node in infra.nodes.values())["server"])


def _servers(key: str, servers: int) -> Iterator[Problem]:
    if servers % 2 == 0:
        rule = "the data store needs an odd number of servers to keep a majority"
        yield Problem(key, f"{servers} servers", rule, "give 1, 3 or 5 nodes the role server")


def _machines(infra: HostsInfra) -> Iterator[Problem]:
    if infra.bastion is not None and infra.bastion not in infra.machines:
        remedy = f"name one of: {', '.join(infra.machines)}"
        yield Problem("infra.bastion", infra.bastion, "no such machine", remedy)
    yield from _servers("infra.machines", Counter(m.role for m in infra.machines.values())["server"])
    taken: dict[str, str] = {}
    for name, machine in infra.machines.items():
        end = f"{machine.address}:{machine.port}"
        if end in taken:
            rule = f"used by {taken[end]} already"
            yield Problem(f"infra.machines.{name}.address", str(machine.address), rule, "give each machine its own")
        taken[end] = name


def _sites(infra: OpenStackInfra) -> Iterator[Problem]:
    for name, site in infra.sites.items():
        key = f"infra.sites.{name}"
        bastion = infra.nodes.get(site.bastion)
        if bastion is None:
            remedy = f"name one of: {', '.join(infra.nodes)}"
            yield Problem(f"{key}.bastion", site.bastion, "no such node", remedy)
        elif infra.site_of(bastion) != name:
            rule = f"that node is at site {infra.site_of(bastion) or '?'}"
            yield Problem(f"{key}.bastion", site.bastion, rule, f"name a node of site {name}")
        if not WIDEST <= site.private_cidr.prefixlen <= NARROWEST:
            remedy = "192.168.1.0/24 is usual"
            yield Problem(f"{key}.private_cidr", str(site.private_cidr), "must be a /8 to /28", remedy)
        if not site.private_cidr.is_private:
            remedy = "use a network in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16"
            yield Problem(f"{key}.private_cidr", str(site.private_cidr), "must be a private range", remedy)
        if site.kind == "baremetal" and site.shared_network:
            rule = "bare-metal hosts get one port, on the private network"
            yield Problem(f"{key}.shared_network", site.shared_network, rule, "leave it out: a router is made")
    sites = list(infra.sites.items())
    for i, (name, site) in enumerate(sites):
        for other, earlier in sites[:i]:
            known = site.private_cidr.prefixlen and earlier.private_cidr.prefixlen
            if known and site.private_cidr.overlaps(earlier.private_cidr):
                rule = f"overlaps that of site {other}"
                key = f"infra.sites.{name}.private_cidr"
                yield Problem(key, str(site.private_cidr), rule, "give each site its own range")


def _references(infra: OpenStackInfra) -> Iterator[Problem]:
    def unknown(key: str, value: str, known: dict[str, object]) -> Iterator[Problem]:
        if value not in known:
            remedy = f"name one of: {', '.join(known)}" if known else "define it first"
            yield Problem(key, value, f"no such {key.rsplit('.', 1)[-1].rstrip('s')}", remedy)

    for kind, parts in (("leases", infra.leases), ("nodes", infra.nodes), ("volumes", infra.volumes)):
        for name, part in parts.items():
            if part.site is not None:
                yield from unknown(f"infra.{kind}.{name}.site", part.site, dict(infra.sites))
            elif not infra.site_of(part):
                rule = "required where there are several sites"
                yield Problem(f"infra.{kind}.{name}.site", "(missing)", rule, f"one of: {', '.join(infra.sites)}")
    for name, node in infra.nodes.items():
        key = f"infra.nodes.{name}"
        if node.lease is not None:
            yield from unknown(f"{key}.lease", node.lease, dict(infra.leases))
        if (node.lease is None) == (node.flavor is None):
            value = "(missing)" if node.lease is None else f"{node.lease}, {node.flavor}"
            yield Problem(f"{key}.lease", value, "exactly one of lease and flavor", "give a lease, or a flavor")
        for volume in node.volumes:
            yield from unknown(f"{key}.volumes", volume, dict(infra.volumes))
        site = infra.sites.get(infra.site_of(node))
        lease = infra.leases.get(node.lease or "")
        if lease and node.site and infra.site_of(lease) not in ("", node.site):
            rule = f"lease {node.lease} is at site {infra.site_of(lease)}"
            yield Problem(f"{key}.site", node.site, rule, "leave the site out, or name another lease")
        if site and node.zone and site.zones and node.zone not in site.zones:
            remedy = f"name one of: {', '.join(site.zones)}"
            yield Problem(f"{key}.zone", node.zone, "not a zone of its site", remedy)
        if site and site.kind == "baremetal" and not node.lease:
            remedy = "give a lease with node_type"
            yield Problem(f"{key}.lease", "(missing)", "bare metal is only to be had by lease", remedy)


def _addresses(infra: OpenStackInfra) -> Iterator[Problem]:
    taken: dict[tuple[str, str], str] = {}
    for name, node in infra.nodes.items():
        site = infra.sites.get(infra.site_of(node))
        if site is None or site.private_cidr.prefixlen > NARROWEST:
            continue
        key, address, network = f"infra.nodes.{name}.address", node.address, site.private_cidr
        if address not in network:
            remedy = f"choose an address from {network[1]} to {network[-2]}"
            yield Problem(key, str(address), f"outside the private network {network}", remedy)
        elif address in (network.network_address, network.broadcast_address):
            yield Problem(key, str(address), f"the network's own address in {network}", "choose another")
        elif site.shared_network is None and address == network[1]:
            yield Problem(key, str(address), "the address of the network's router", "choose another")
        owner = taken.setdefault((infra.site_of(node), str(address)), name)
        if owner != name:
            yield Problem(key, str(address), f"used by {owner} already", "give each node its own address")


def _names(infra: OpenStackInfra) -> Iterator[Problem]:
    earlier: dict[str, str] = {}
    for name, node in infra.nodes.items():
        for old in node.formerly:
            key = f"infra.nodes.{name}.formerly"
            if old in infra.nodes:
                yield Problem(key, old, "a node of that name exists", "name only nodes that are gone")
            if old in earlier:
                yield Problem(key, old, f"claimed by {earlier[old]} too", "one machine becomes one node")
            earlier[old] = name


def _leases(infra: OpenStackInfra, now: datetime) -> Iterator[Problem]:
    users = Counter(node.lease for node in infra.nodes.values())
    for name, lease in infra.leases.items():
        key = f"infra.leases.{name}"
        if users[name] > lease.count:
            rule = f"{users[name]} nodes use it"
            yield Problem(f"{key}.count", str(lease.count), rule, "raise the count, or use another lease")
        if lease.adopt:
            continue
        yield from _capacity_kind(infra, name, lease)
        yield from _period(infra, name, lease, now)


def _capacity_kind(infra: OpenStackInfra, name: str, lease: Lease) -> Iterator[Problem]:
    key = f"infra.leases.{name}"
    site = infra.sites.get(infra.site_of(lease))
    if site and site.kind == "baremetal" and (lease.flavor or not lease.node_type):
        value = lease.flavor or "(missing)"
        yield Problem(f"{key}.node_type", value, "a bare-metal site reserves hosts", "give node_type, no flavor")
    if site and site.kind == "kvm" and (lease.node_type or not lease.flavor):
        value = lease.node_type or "(missing)"
        yield Problem(f"{key}.flavor", value, "a kvm site reserves flavors", "give flavor, no node_type")


def _period(infra: OpenStackInfra, name: str, lease: Lease, now: datetime) -> Iterator[Problem]:
    key = f"infra.leases.{name}"
    if (lease.end is None) == (lease.hours is None):
        value = "(missing)" if lease.end is None else f"{lease.end:%Y-%m-%d %H:%M}, {lease.hours} h"
        yield Problem(f"{key}.hours", value, "exactly one of hours and end", "give hours, or an end")
        return
    start = lease.start or now
    end = lease.ends(now)
    if lease.end and lease.start and lease.end <= lease.start:
        yield Problem(f"{key}.end", f"{lease.end:%Y-%m-%d %H:%M}", "before its start", "give a later end")
    elif end <= now:
        when = lease.end or start
        rule = "the lease would have ended already"
        yield Problem(
            f"{key}.{'end' if lease.end else 'start'}", f"{when:%Y-%m-%d %H:%M}", rule, "give a time to come (UTC)"
        )
    site = infra.sites.get(infra.site_of(lease))
    if site is None:
        return
    scarce = site.kind == "baremetal" or is_gpu_lease(infra, name)
    cap = site.gpu_lease_cap_hours if scarce else site.standard_lease_cap_hours
    hours = (end - start).total_seconds() / 3600
    if hours > cap:
        what = "GPUs and bare metal" if scarce else "leases"
        field, value = ("end", f"{end:%Y-%m-%d %H:%M}") if lease.end else ("hours", f"{lease.hours}")
        yield Problem(f"{key}.{field}", value, f"the site's limit for {what} is {cap} h", f"ask for {cap} h or less")


def is_gpu_lease(infra: OpenStackInfra, name: str) -> bool:
    """Whether a lease reserves GPUs: by its flavor, or because a GPU node sits on it."""
    flavor = infra.leases[name].flavor or ""
    return flavor.startswith(GPU_FLAVOR_PREFIX) or any(n.gpu for n in infra.nodes.values() if n.lease == name)


def _gpus(infra: OpenStackInfra) -> Iterator[Problem]:
    for name, node in infra.nodes.items():
        site = infra.sites.get(infra.site_of(node))
        if not node.gpu or site is None:
            continue
        key = f"infra.nodes.{name}.lease"
        if node.lease is None:
            rule = "a GPU node needs a lease of its own"
            yield Problem(key, "(missing)", rule, "define a lease for it and name it here")
            continue
        others = [n for n, other in infra.nodes.items() if other.lease == node.lease and not other.gpu]
        if others:
            rule = f"a GPU lease ends within days and takes {', '.join(others)} along"
            yield Problem(key, node.lease, rule, "give the GPU node a lease of its own")


def _volumes(infra: OpenStackInfra) -> Iterator[Problem]:
    attached: dict[str, str] = {}
    for name, node in infra.nodes.items():
        for volume in node.volumes:
            key = f"infra.nodes.{name}.volumes"
            owner = attached.setdefault(volume, name)
            if owner != name or node.volumes.count(volume) > 1:
                yield Problem(key, volume, f"attached to {owner} already", "a volume sits on one node")
            part = infra.volumes.get(volume)
            if part and infra.site_of(part) not in ("", infra.site_of(node)):
                rule = f"the volume is at site {infra.site_of(part)}"
                yield Problem(key, volume, rule, "attach volumes of the node's own site")
        site = infra.sites.get(infra.site_of(node))
        if site and site.kind == "baremetal" and node.volumes:
            value = ", ".join(node.volumes)
            rule = "bare-metal sites attach no volumes"
            yield Problem(f"infra.nodes.{name}.volumes", value, rule, "leave them out")
