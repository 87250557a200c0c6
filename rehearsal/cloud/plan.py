"""From an environment file to what the local cloud must offer. Pure and lenient: the file may be invalid."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rehearsal.cloud.sites import BARE_METAL, GENERIC_QUOTA, SITES, Flavor, Quota, Site, sized

DEFAULT_REGION = "RegionOne"
OUTSIDE = ("198.51.100.0/24", "192.0.2.0/24", "203.0.113.0/24")  # documentation networks: nobody's address


@dataclass(frozen=True)
class MetalHost:
    """A bare-metal host that a physical:host lease can reserve."""

    name: str
    node_type: str

    @property
    def gpu(self) -> bool:
        """Whether its machine has a GPU."""
        return self.node_type.startswith("gpu_")


@dataclass(frozen=True)
class SitePlan:
    """Everything seeded into the cloud, and how this computer appears to it."""

    regions: tuple[str, ...] = (DEFAULT_REGION,)
    missing_regions: tuple[str, ...] = ()
    """Regions in the file that no known site has: not made, so that they are found missing."""
    clouds: tuple[str, ...] = ()
    shared_networks: tuple[tuple[str, str], ...] = ()
    """Name and CIDR."""
    external_networks: tuple[str, ...] = ("public",)
    images: tuple[str, ...] = ()
    flavors: tuple[Flavor, ...] = ()
    volume_types: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    metal_hosts: tuple[MetalHost, ...] = ()
    quota: Quota = GENERIC_QUOTA
    admin_cidrs: tuple[str, ...] = ()
    operator_address: str | None = None
    """The address this computer has for the machines; None: its own, on its link to the cloud."""
    outsider_address: str = "198.51.100.2"
    """An address that is not an operator's."""

    def to_json(self) -> dict[str, Any]:
        """For the record in the root: equal plans have equal records."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "SitePlan":
        """The plan of a record."""

        def value(name: str, kept: Any) -> Any:
            if name == "quota":
                return Quota(**kept)
            if name in ("flavors", "metal_hosts"):
                return tuple((Flavor if name == "flavors" else MetalHost)(**entry) for entry in kept)
            if name == "shared_networks":
                return tuple(tuple(pair) for pair in kept)
            return tuple(kept) if isinstance(kept, list) else kept

        return cls(**{name: value(name, kept) for name, kept in record.items()})


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _entries(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in _mapping(value).values() if isinstance(entry, Mapping)]


def _names(values: Iterable[Any]) -> tuple[str, ...]:
    """Distinct non-empty texts, in order."""
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str) and value))


def _networks(values: Iterable[Any]) -> list[ipaddress.IPv4Network]:
    found = []
    for value in values:
        try:
            network = ipaddress.ip_network(str(value), strict=False)
        except ValueError:
            continue
        if isinstance(network, ipaddress.IPv4Network):
            found.append(network)
    return found


def operator_address(admin_cidrs: Iterable[Any]) -> str | None:
    """A usable host address inside the first admin CIDR; None when that is everybody."""
    for network in _networks(admin_cidrs):
        if network.prefixlen == 0:
            return None
        offset = min(10, network.num_addresses - 2) if network.num_addresses > 2 else 0
        return str(network[offset])
    return None


def outsider_address(admin_cidrs: Iterable[Any]) -> str:
    """An address outside every admin CIDR, as far as there is one."""
    taken = [network for network in _networks(admin_cidrs) if network.prefixlen]
    free = [n for n in _networks(OUTSIDE) if not any(n.overlaps(other) for other in taken)]
    return str((free or _networks(OUTSIDE))[0][2])


def _shared_cidrs(names: tuple[str, ...], taken: list[ipaddress.IPv4Network]) -> tuple[tuple[str, str], ...]:
    """A /22 for each shared network, clear of the networks in the file."""
    pool = (n for n in ipaddress.ip_network("10.56.0.0/14").subnets(new_prefix=22) if not any(map(n.overlaps, taken)))
    return tuple((name, str(network)) for name, network in zip(names, pool, strict=False))


def _generic(infra: Mapping[str, Any], names: list[str]) -> Site:
    """A site that has what the file names for it."""
    leases = {k: _mapping(v) for k, v in _mapping(infra.get("leases")).items()}
    sites = [_mapping(_mapping(infra.get("sites")).get(name)) for name in names]
    nodes = _entries(infra.get("nodes"))
    flavors = _names([lease.get("flavor") for lease in leases.values()] + [node.get("flavor") for node in nodes])
    metal = any(site.get("kind") == "baremetal" for site in sites)
    return Site(
        tuple(map(sized, flavors)) + ((BARE_METAL,) if metal else ()),
        _names(node.get("image") for node in nodes),
        _names(site.get("shared_network") for site in sites),
        _names(site.get("external_network") for site in sites) or ("public",),
        _names(volume.get("type") for volume in _entries(infra.get("volumes"))),
        GENERIC_QUOTA,
        metal,
    )


def _metal_hosts(infra: Mapping[str, Any], wanted: bool) -> tuple[MetalHost, ...]:
    """What bare-metal leases ask for, and one more of each kind."""
    kinds: list[str] = []
    for lease in _entries(infra.get("leases")):
        kind = lease.get("node_type")
        if isinstance(kind, str):
            count = lease.get("count", 1)
            kinds += [kind] * (count if isinstance(count, int) and 0 < count <= 8 else 1)
    kinds += sorted(set(kinds))
    if wanted and not kinds:
        kinds = ["compute_skylake"] * 2
    return tuple(MetalHost(f"bm-{i}", kind) for i, kind in enumerate(kinds, 1)) if wanted else ()


def _quota(sites: list[Site]) -> Quota:
    """The largest of each: one project serves all sites of the file."""
    return Quota(**{f.name: max(getattr(site.quota, f.name) for site in sites) for f in fields(Quota)})


def plan(environment: Mapping[str, Any]) -> SitePlan:
    """What the cloud must offer for an environment file's `config` mapping; never raises on bad content."""
    infra = _mapping(_mapping(environment).get("leasehold:infra"))
    entries = {str(k): _mapping(v) for k, v in _mapping(infra.get("sites")).items()}
    regions = _names(site.get("region") for site in entries.values())
    missing = tuple(region for region in regions if "@" in region and region not in SITES)
    made = tuple(region for region in regions if region not in missing)
    generic = [name for name, site in entries.items() if site.get("region") not in SITES]
    sites = [SITES[region] for region in made if region in SITES]
    if not sites or any(region not in SITES for region in made):
        sites.append(_generic(infra, generic))
    access = _mapping(infra.get("access"))
    admin = access.get("admin_cidrs")
    admin = [str(cidr) for cidr in admin] if isinstance(admin, list) else []
    nodes, volumes = _entries(infra.get("nodes")), _entries(infra.get("volumes"))
    zones = [zone for site in entries.values() for zone in (site.get("zones") or []) if isinstance(zone, str)]
    zones += [str(entry["zone"]) for entry in (*nodes, *volumes) if entry.get("zone")]
    taken = _networks([site.get("private_cidr") for site in entries.values()] + admin)
    shared = _names(name for site in sites for name in site.shared_networks)
    return SitePlan(
        regions=made or (DEFAULT_REGION,),
        missing_regions=missing,
        clouds=_names(site.get("cloud") for site in entries.values()),
        shared_networks=_shared_cidrs(shared, taken),
        external_networks=_names(name for site in sites for name in site.external_networks),
        images=_names(name for site in sites for name in site.images),
        flavors=tuple({f.name: f for site in sites for f in site.flavors}.values()),
        volume_types=_names(name for site in sites for name in site.volume_types),
        zones=_names(zone for zone in zones if zone != "nova"),
        metal_hosts=_metal_hosts(infra, any(site.bare_metal for site in sites)),
        quota=_quota(sites),
        admin_cidrs=tuple(admin),
        operator_address=operator_address(admin),
        outsider_address=outsider_address(admin),
    )
