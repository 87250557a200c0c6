"""What the sites themselves say about an environment, asked before anything is created. Only reads.

Everything independent is asked side by side: five seconds are the goal, over a wide-area link too.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pulumi
from keystoneauth1.exceptions import ClientException, Unauthorized
from openstack.connection import Connection
from openstack.exceptions import ConfigException, SDKException, raise_from_response

from config import Environment, Lease, Node, OpenStackInfra, Problem, Rule, Site, Volume
from infra import blazar, login, shortfall
from infra.marks import stack_tag
from infra.nodes import is_id

CREDENTIAL_DOCS = "README, 'A real deployment'"
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class AtSite:
    """One site while it is asked."""

    name: str
    site: Site
    infra: OpenStackInfra
    stack: str
    connection: Connection
    admin_ports: int
    """How many ports administrators may reach."""

    @property
    def key(self) -> str:
        """Key path of the site."""
        return f"infra.sites.{self.name}"

    def has(self, part: Lease | Node | Volume) -> bool:
        """Whether a part of the environment is at this site."""
        return self.infra.site_of(part) == self.name


Check = Callable[[AtSite], Iterable[Problem]]


def for_stack(stack: str) -> Rule:
    """The rule that asks every site; `stack` tells which objects there are ours already."""

    def check(environment: Environment) -> Iterator[Problem]:
        infra = environment.infra
        if not isinstance(infra, OpenStackInfra):
            return
        if any(str(network) == ANYWHERE for network in infra.access.admin_cidrs):
            pulumi.log.warn("infra.access.admin_cidrs lets the whole internet reach SSH; name your own networks")
        with ThreadPoolExecutor(len(infra.sites)) as pool:
            for problems in pool.map(
                lambda name: list(_site(infra, name, stack, len(environment.admin_ports))), infra.sites
            ):
                yield from problems

    return check


def _site(infra: OpenStackInfra, name: str, stack: str, admin_ports: int) -> Iterator[Problem]:
    site = infra.sites[name]
    key = f"infra.sites.{name}"
    try:
        connection = login.connect(site.cloud, site.region)
        access = login.access(connection)
    except ConfigException as error:
        if "valid region name" in str(error):
            yield Problem(f"{key}.region", site.region, "no such region in clouds.yaml", str(error))
            return
        remedy = f"make an application credential and put it into clouds.yaml ({CREDENTIAL_DOCS})"
        yield Problem(f"{key}.cloud", _login(site), f"credential missing: {error}", remedy)
        return
    except Unauthorized:
        rule = "credential refused: it is wrong, deleted or expired"
        yield Problem(f"{key}.cloud", _login(site), rule, f"make a new application credential ({CREDENTIAL_DOCS})")
        return
    except (ClientException, SDKException) as error:
        yield Problem(f"{key}.region", site.region, f"the site does not answer: {error}", "check auth_url, try again")
        return
    regions = sorted({e["region"] for s in access.service_catalog.catalog for e in s["endpoints"]})
    if site.region not in regions:
        yield Problem(f"{key}.region", site.region, "no such region here", f"one of: {', '.join(regions)}")
        return
    here = AtSite(name, site, infra, stack, connection, admin_ports)
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        for problems in pool.map(lambda check: _answers(check, here), CHECKS):
            yield from problems


def _login(site: Site) -> str:
    """Where the login of a site comes from."""
    return site.cloud or "(OS_CLOUD or OS_*)"


def _answers(check: Check, here: AtSite) -> list[Problem]:
    """Run one check; a service that fails is a problem of its own, not a traceback."""
    try:
        return list(check(here))
    except (ClientException, SDKException, blazar.BlazarError) as error:
        rule = f"could not be asked: {error}"
        return [Problem(here.key, here.site.region, rule, "try again, or ask the site")]


def _credential(here: AtSite) -> Iterator[Problem]:
    """Leases need an unrestricted application credential; any other login is everything its owner may do."""
    config = here.connection.config.config
    if config.get("auth_type") != "v3applicationcredential":
        pulumi.log.warn(f"{here.key}: logged in by {config.get('auth_type')}; use an application credential instead")
        return
    user = login.access(here.connection).user_id
    which = config["auth"]["application_credential_id"]
    found = here.connection.identity.get(f"/users/{user}/application_credentials/{which}")
    raise_from_response(found)
    credential = found.json()["application_credential"]
    leases = [lease for lease in here.infra.leases.values() if here.has(lease)]
    if leases and not credential.get("unrestricted"):
        rule = "the application credential is restricted, and Blazar needs an unrestricted one for leases"
        remedy = f"make one with --unrestricted ({CREDENTIAL_DOCS})"
        yield Problem(f"{here.key}.cloud", _login(here.site), rule, remedy)
    ends = credential.get("expires_at")
    leases_end = [lease.ends(datetime.now(UTC)) for lease in leases if not lease.adopt]
    if ends and leases_end and blazar.parse_time(ends) < max(leases_end):
        rule = f"the application credential expires at {ends}, before the last lease ends"
        yield Problem(f"{here.key}.cloud", _login(here.site), rule, "make one that lasts longer")


def _images(here: AtSite) -> Iterator[Problem]:
    wanted: dict[str, list[str]] = {}
    for name, part in here.infra.nodes.items():
        if here.has(part):
            wanted.setdefault(part.image, []).append(name)
    for image, nodes in wanted.items():
        found = list(here.connection.image.images(**{"id" if is_id(image) else "name": image}))
        for node in nodes:
            if not found:
                known = ", ".join(sorted({i.name for i in here.connection.image.images() if i.name})[:12])
                yield Problem(f"infra.nodes.{node}.image", image, "no such image at the site", f"one of: {known}")
            elif len(found) > 1:
                ids = ", ".join(i.id for i in found)
                rule = f"{len(found)} images have this name"
                yield Problem(f"infra.nodes.{node}.image", image, rule, f"give one by id: {ids}")


def _flavors(here: AtSite) -> Iterator[Problem]:
    flavors = list(here.connection.compute.flavors())
    names, ids = {flavor.name for flavor in flavors}, {flavor.id for flavor in flavors}
    for kind, parts in (("leases", here.infra.leases), ("nodes", here.infra.nodes)):
        for name, part in parts.items():
            if here.has(part) and part.flavor and part.flavor not in names | ids:
                remedy = f"one of: {', '.join(sorted(n for n in names if ':' not in n)[:12])}"
                yield Problem(f"infra.{kind}.{name}.flavor", part.flavor, "no such flavor at the site", remedy)


def _networks(here: AtSite) -> Iterator[Problem]:
    networks = {network.name: network for network in here.connection.network.networks()}
    for field in ("shared_network", "external_network"):
        value = getattr(here.site, field)
        if value is not None and value not in networks:
            remedy = f"one of: {', '.join(sorted(networks))}"
            yield Problem(f"{here.key}.{field}", value, "no such network at the site", remedy)
    external = networks.get(here.site.external_network)
    if external is not None and not external.is_router_external:
        remedy = "name the network of floating IPs"
        yield Problem(f"{here.key}.external_network", external.name, "not an external network", remedy)
    if here.site.floating_ip is not None:
        address = str(here.site.floating_ip)
        if not list(here.connection.network.ips(floating_ip_address=address)):
            remedy = "allocate it first, or leave the key out"
            yield Problem(f"{here.key}.floating_ip", address, "the project holds no such floating IP", remedy)


def _volumes(here: AtSite) -> Iterator[Problem]:
    if not any(here.has(volume) for volume in here.infra.volumes.values()):
        return
    types = {kind.name for kind in here.connection.block_storage.types()}
    for name, volume in here.infra.volumes.items():
        if here.has(volume) and volume.type and volume.type not in types:
            remedy = f"one of: {', '.join(sorted(types))}"
            yield Problem(f"infra.volumes.{name}.type", volume.type, "no such volume type at the site", remedy)


def _zones(here: AtSite) -> Iterator[Problem]:
    wanted = dict.fromkeys(here.site.zones, f"{here.key}.zones")
    for name, node in here.infra.nodes.items():
        if node.zone and here.has(node):
            wanted[node.zone] = f"infra.nodes.{name}.zone"
    if not wanted:
        return
    zones = {zone.name for zone in here.connection.compute.availability_zones()}
    for zone, key in wanted.items():
        if zone not in zones:
            yield Problem(key, zone, "no such zone at the site", f"one of: {', '.join(sorted(zones))}")


def _renamed(here: AtSite) -> Iterator[Problem]:
    """A node under a new name would ask for an address that its own old port still holds."""
    held = {}
    for port in here.connection.network.ports(tags=stack_tag(here.stack)):
        for fixed in port.fixed_ips:
            held[fixed["ip_address"]] = port.name
    for name, node in here.infra.nodes.items():
        owner = held.get(str(node.address))
        names = [f"{here.stack}-{n}-inner" for n in (name, *node.formerly)]
        if owner and here.has(node) and owner not in names:
            old = owner.removeprefix(f"{here.stack}-").removesuffix("-inner")
            remedy = f"if it is the same machine, add `formerly: [{old}]`; else choose another address"
            yield Problem(f"infra.nodes.{name}.address", str(node.address), f"held by {old}", remedy)


def _shortfalls(here: AtSite) -> Iterable[Problem]:
    return shortfall.check(here.infra, here.name, here.stack, here.connection, here.admin_ports)


CHECKS: tuple[Check, ...] = (
    _credential,
    _images,
    _flavors,
    _networks,
    _volumes,
    _zones,
    _renamed,
    _shortfalls,
)
