"""The packet filter of the local cloud as one nftables script: a pure function of what Neutron's tables say.

Bridged and routed packets both pass the `forward` hook (br_netfilter is on in the namespace). A machine's packet is
first matched against the egress rules of the port it comes from, then against the ingress rules of the port it goes
to. Whatever has no port is dropped: an address is closed until it is known.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

EXTERNAL = "ext0"
OUTSIDE = "out0"
UPLINKS = f'{{ "{EXTERNAL}", "{OUTSIDE}" }}'


@dataclass(frozen=True)
class Rule:
    """One security group rule, IPv4. None means any."""

    direction: str
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    prefix: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Port:
    """A port of a machine. `pairs` are allowed address pairs; `filtered` is port security."""

    id: str
    network: str
    addresses: tuple[str, ...]
    pairs: tuple[str, ...] = ()
    filtered: bool = True
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Interface:
    """A router's leg in a tenant network: its address there, and the subnet's CIDR."""

    network: str
    address: str
    cidr: str


@dataclass(frozen=True)
class Router:
    """`external` is the address of its gateway port, None when it has none."""

    id: str
    external: str | None
    interfaces: tuple[Interface, ...]


@dataclass(frozen=True)
class FloatingIp:
    """An associated floating IP; `cidr` is the subnet of the fixed address."""

    address: str
    fixed: str
    cidr: str


@dataclass(frozen=True)
class Site:
    """`host` is this computer's address on its link, `operator` the address it appears under to machines."""

    host: str
    operator: str


@dataclass(frozen=True)
class World:
    """Everything the filter depends on."""

    site: Site
    ports: tuple[Port, ...] = ()
    groups: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    routers: tuple[Router, ...] = ()
    floating_ips: tuple[FloatingIp, ...] = ()


def bridge(network: str) -> str:
    """Name of a network's bridge: the kernel allows 15 characters."""
    return "br-" + network[:11]


def _name(kind: str, id_: str) -> str:
    return kind + "_" + id_.replace("-", "_")


def _remote(rule: Rule, members: Mapping[str, tuple[str, ...]], site: Site) -> str | None:
    """The match on the other end; "" for anybody, None when nobody can match."""
    side = "saddr" if rule.direction == "ingress" else "daddr"
    if rule.group:
        addresses = members.get(rule.group, ())
        return f"ip {side} {{ {', '.join(addresses)} }} " if addresses else None
    if not rule.prefix or rule.prefix == "0.0.0.0/0":
        return ""
    sources = [rule.prefix]
    network = ipaddress.ip_network(rule.prefix, strict=False)
    if site.operator != site.host and ipaddress.ip_address(site.operator) in network:
        # The filter sees this computer's link address: it is renamed to the operator's only after the filter.
        sources.append(site.host)
    return f"ip {side} {{ {', '.join(sources)} }} "


def _service(rule: Rule) -> str:
    """The match on protocol and ports."""
    protocol = (
        None
        if rule.protocol in (None, "any", "0")
        else {"6": "tcp", "17": "udp", "1": "icmp"}.get(str(rule.protocol), rule.protocol)
    )
    if protocol is None:
        return ""
    if protocol in ("tcp", "udp", "sctp") and rule.port_min is not None:
        last = rule.port_max if rule.port_max is not None else rule.port_min
        return f"{protocol} dport {rule.port_min}-{last} " if last != rule.port_min else f"{protocol} dport {last} "
    if protocol == "icmp" and rule.port_min is not None:
        code = f"icmp code {rule.port_max} " if rule.port_max is not None else ""
        return f"icmp type {rule.port_min} {code}"
    return f"ip protocol {protocol} "


def _group_chains(world: World) -> Iterable[str]:
    members: dict[str, tuple[str, ...]] = {}
    for port in world.ports:
        for group in port.groups:
            members[group] = (*members.get(group, ()), *port.addresses)
    for group, rules in sorted(world.groups.items()):
        for direction, kind, verdict in (("ingress", "gi", "accept"), ("egress", "ge", "goto admitted")):
            yield f"chain {_name(kind, group)} {{"
            for rule in rules:
                remote = _remote(rule, members, world.site) if rule.direction == direction else None
                if remote is not None:
                    yield f"  {remote}{_service(rule)}{verdict}"
            yield "}"


def _port_chains(port: Port, groups: Mapping[str, tuple[Rule, ...]]) -> Iterable[str]:
    for kind, group_kind, verdict in (("pi", "gi", "accept"), ("pe", "ge", "goto admitted")):
        yield f"chain {_name(kind, port.id)} {{"
        if not port.filtered:
            yield f"  {verdict}"
        else:
            yield from (f"  jump {_name(group_kind, group)}" for group in port.groups if group in groups)
            yield "  drop"
        yield "}"


def _verdicts(world: World, kind: str) -> str:
    """Elements of the map from bridge and address to a port's chain; an address is never listed twice."""
    seen: dict[str, str] = {}
    for port in world.ports:
        for address in (*port.addresses, *(pair for pair in port.pairs if "/" not in pair)):
            key = f'"{bridge(port.network)}" . {address}'
            seen.setdefault(key, f"{key} : goto {_name(kind, port.id)}")
    return ", ".join(seen.values())


def _forward(world: World) -> Iterable[str]:
    # Routed between two networks: only where a router has a leg in both.
    reachable = {
        (bridge(a.network), bridge(b.network))
        for router in world.routers
        for a in router.interfaces
        for b in router.interfaces
    } | {(bridge(port.network), bridge(port.network)) for port in world.ports}
    pairs = ", ".join(f'"{a}" . "{b}"' for a, b in sorted(reachable))
    ingress, egress = _verdicts(world, "pi"), _verdicts(world, "pe")
    unfiltered = sorted({bridge(port.network) for port in world.ports if not port.filtered})
    yield "chain ingress {"
    if ingress:
        yield f"  oifname . ip daddr vmap {{ {ingress} }}"
    yield "  drop"
    yield "}"
    yield "chain admitted {"
    if pairs:
        yield f"  iifname . oifname {{ {pairs} }} goto ingress"
    yield f"  oifname {UPLINKS} accept"
    yield "  drop"
    yield "}"
    yield "chain forward {"
    yield "  type filter hook forward priority filter"
    yield "  policy drop"
    yield "  ct state established,related accept"
    yield "  ct state invalid drop"
    if egress:
        yield f"  iifname . ip saddr vmap {{ {egress} }}"
    if unfiltered:  # a port without port security may send from any address (pods behind a node)
        names = ", ".join(f'"{name}"' for name in unfiltered)
        yield f"  iifname {{ {names} }} goto admitted"
    yield f"  iifname {UPLINKS} ct status dnat goto ingress"
    yield "}"


def _nat(world: World) -> Iterable[str]:
    yield "chain prerouting {"
    yield "  type nat hook prerouting priority dstnat"
    yield from (f"  ip daddr {fip.address} dnat to {fip.fixed}" for fip in world.floating_ips)
    yield "}"
    yield "chain postrouting {"
    yield "  type nat hook postrouting priority srcnat"
    if world.site.operator != world.site.host:
        yield f"  ip saddr {world.site.host} snat to {world.site.operator}"
    for fip in world.floating_ips:
        # A machine that calls a neighbour by its floating IP: the answer must come back through here.
        yield f"  ct status dnat ip saddr {fip.cidr} ip daddr {fip.fixed} masquerade"
        yield f"  oifname {UPLINKS} ip saddr {fip.fixed} snat to {fip.address}"
    for router in world.routers:
        for leg in router.interfaces:
            if router.external:
                yield f"  oifname {UPLINKS} ip saddr {leg.cidr} snat to {router.external}"
    yield "}"


def render(world: World) -> str:
    """The whole ruleset as one atomic nft transaction (nft wants one statement a line)."""
    lines = [
        "table ip leasehold",
        "delete table ip leasehold",
        "table ip leasehold {",
        *_group_chains(world),
    ]
    for port in world.ports:
        lines += _port_chains(port, world.groups)
    lines += [*_forward(world), *_nat(world), "}"]
    lines += [
        "table ip6 leasehold",
        "delete table ip6 leasehold",
        "table ip6 leasehold {",
        "chain forward {",
        "  type filter hook forward priority filter",
        "  policy drop",
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"
