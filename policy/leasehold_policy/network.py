"""What may be reached, by whom, and over what."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from .model import Finding, Resource, each, uncovered, whole
from .values import UNKNOWN, absent, at, given, items, mapping, names, number, walk

GROUP_RULE = "openstack:networking/secGroupRule:SecGroupRule"
PORT = "openstack:networking/port:Port"
WEB = {80, 443}
WIDEST = 100
"""Ports that one rule may open to addresses outside."""
METADATA = "169.254.169.254/32"
GUARD = "Middleware"


def from_world(rule: Resource) -> bool:
    """Whether a security group rule lets every address in; a rule without a source does."""
    if not rule.named(GROUP_RULE) or rule.at("direction") != "ingress":
        return False
    sources = [rule.at(key) for key in ("remoteIpPrefix", "remoteGroupId", "remoteAddressGroupId")]
    return everywhere(sources[0]) or all(absent(source) for source in sources)


def everywhere(prefix: Any) -> bool:
    """Whether a prefix has every address."""
    return isinstance(prefix, str) and prefix.endswith("/0")


def ports(rule: Resource) -> tuple[float, float]:
    """The first and the last port that a security group rule opens: all, where it names none."""
    low, high = number(rule.at("portRangeMin")), number(rule.at("portRangeMax"))
    return (low or 0, high or 65535) if UNKNOWN not in (rule.at("portRangeMin"), rule.at("portRangeMax")) else (0, -1)


@each("name the networks of your administrators in infra.access.admin_cidrs")
def ssh_from_the_world(resource: Resource) -> Iterator[str]:
    """SSH is open to named networks only."""
    low, high = ports(resource)
    if from_world(resource) and low <= 22 <= high:
        yield "port 22 is open to every address"


@each("give the rule a remoteIpPrefix, or open 80 and 443 alone")
def only_web_from_the_world(resource: Resource) -> Iterator[str]:
    """Every address may reach ports 80 and 443, and nothing else."""
    low, high = ports(resource)
    if from_world(resource) and high >= low and not (low == high and low in WEB):
        yield f"ports {low:.0f} to {high:.0f} are open to every address"


@each("open each port by a rule of its own, or name a private network")
def wide_port_range(resource: Resource) -> Iterator[str]:
    """A rule for addresses that are not private opens at most 100 ports."""
    prefix, (low, high) = resource.at("remoteIpPrefix"), ports(resource)
    if not (resource.named(GROUP_RULE) and resource.at("direction") == "ingress" and isinstance(prefix, str)):
        return
    try:
        private = ip_network(prefix).is_private
    except ValueError:
        private = False
    if not private and high - low >= WIDEST:
        yield f"{high - low + 1:.0f} ports are open to {prefix}"


@each("leave portSecurityEnabled alone")
def port_security_on(resource: Resource) -> Iterator[str]:
    """A port has its site's protection against forged addresses."""
    if resource.named(PORT) and resource.at("portSecurityEnabled") is False:
        yield "portSecurityEnabled is false"


@each("let a route of the ingress lead to it")
def load_balancer(resource: Resource) -> Iterator[str]:
    """Nothing but the ingress is reached from outside: no Service is a LoadBalancer."""
    if resource.named("Service") and resource.at("spec", "type") == "LoadBalancer":
        yield "spec.type is LoadBalancer"


@each("let a route of the ingress lead to it")
def node_port(resource: Resource) -> Iterator[str]:
    """Nothing is reached at a node's own address: no Service is a NodePort."""
    if resource.named("Service") and resource.at("spec", "type") == "NodePort":
        yield "spec.type is NodePort"


@each("let a route of the ingress lead to it")
def external_addresses(resource: Resource) -> Iterator[str]:
    """No Service takes traffic for addresses that it names itself."""
    if resource.named("Service") and given(resource.at("spec", "externalIPs")):
        yield "spec.externalIPs is set"


@each("use a Service and a route")
def host_port(resource: Resource) -> Iterator[str]:
    """No container, and no chart, takes a port of its node."""
    if resource.type.startswith("kubernetes:"):
        for node in walk(resource.inputs):
            if node.key == "hostPort" and number(node.value):
                yield f"{node.place} is set"


@whole("add the namespace to the table of flows, which makes a NetworkPolicy for it")
def namespace_is_closed(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Every namespace has a NetworkPolicy for all its pods, in both directions."""
    closing = [r.namespace for r in resources if r.named("NetworkPolicy") and _closes(r)]
    for space in uncovered(resources, closing):
        yield Finding(space, "no NetworkPolicy selects all its pods for Ingress and Egress")


def _closes(policy: Resource) -> bool:
    types, selector = names(policy.at("spec", "policyTypes")), policy.at("spec", "podSelector")
    return not given(selector) and (UNKNOWN in types or {"Ingress", "Egress"} <= types)


@each("name the namespaces or addresses that may come in")
def policy_names_its_sources(resource: Resource) -> Iterator[str]:
    """A NetworkPolicy lets named sources in: an entry without `from`, or with 0.0.0.0/0, lets everybody in."""
    if resource.named("NetworkPolicy"):
        for place, rule in enumerate(items(resource.at("spec", "ingress"))):
            sources = at(rule, "from")
            if rule is not UNKNOWN and (
                absent(sources) or any(everywhere(at(source, "ipBlock", "cidr")) for source in items(sources))
            ):
                yield f"spec.ingress[{place}] is open to everybody"


@each(f"add {METADATA} to the block's `except`")
def metadata_address(resource: Resource) -> Iterator[str]:
    """No pod reaches the cloud's metadata address, which has the user data of its machine."""
    if not resource.named("NetworkPolicy"):
        return
    for place, rule in enumerate(items(resource.at("spec", "egress"))):
        blocks = [at(peer, "ipBlock") for peer in items(at(rule, "to"))]
        open_ = rule is not UNKNOWN and absent(at(rule, "to"))
        for block in blocks:
            spared = at(block, "except")
            if everywhere(at(block, "cidr")) and not {METADATA, UNKNOWN} & names(spared):
                open_ = True
        if open_:
            yield f"spec.egress[{place}] leads to the metadata address"


@each("set parentRefs[].sectionName to the HTTPS listener")
def route_over_tls(resource: Resource) -> Iterator[str]:
    """A route hangs on one listener by name, and that is the one with TLS."""
    if resource.named("HTTPRoute"):
        for place, parent in enumerate(items(resource.at("spec", "parentRefs"))):
            section = at(parent, "sectionName")
            if parent is not UNKNOWN and section is not UNKNOWN and section != "https":
                yield f"spec.parentRefs[{place}] is not the listener `https`"


@each("make it HTTPS; ACME's own challenge is the one use of HTTP")
def listener_has_tls(resource: Resource) -> Iterator[str]:
    """A listener of a Gateway speaks TLS with a certificate."""
    if resource.named("Gateway"):
        for place, listener in enumerate(items(resource.at("spec", "listeners"))):
            certificates, protocol = at(listener, "tls", "certificateRefs"), at(listener, "protocol")
            if UNKNOWN not in (listener, certificates, protocol) and (protocol != "HTTPS" or absent(certificates)):
                yield f"spec.listeners[{place}] has no TLS"


@each("allow namespaces by a label")
def gateway_names_its_namespaces(resource: Resource) -> Iterator[str]:
    """A Gateway takes routes of chosen namespaces only."""
    if resource.named("Gateway"):
        for place, listener in enumerate(items(resource.at("spec", "listeners"))):
            if at(listener, "allowedRoutes", "namespaces", "from") == "All":
                yield f"spec.listeners[{place}] takes routes of every namespace"


@each(f"add an ExtensionRef filter to a {GUARD}, or waive what has accounts of its own")
def route_is_guarded(resource: Resource) -> Iterator[str]:
    """Whoever comes over a route is asked for a password before the service sees the request."""
    if resource.named("HTTPRoute"):
        for place, rule in enumerate(items(resource.at("spec", "rules"))):
            filters = at(rule, "filters")
            kinds = names([at(item, "extensionRef", "kind") for item in items(filters)])
            if UNKNOWN not in (rule, filters) and not {GUARD, UNKNOWN} & kinds:
                yield f"spec.rules[{place}] has no guard"


@each("give every redirect and header of the route to HTTPS")
def strict_transport(resource: Resource) -> Iterator[str]:
    """Browsers are told to come back over TLS only."""
    if resource.named("HTTPRoute"):
        for place, rule in enumerate(items(resource.at("spec", "rules"))):
            names = {
                str(mapping(header).get("name")).lower()
                for item in items(at(rule, "filters"))
                for header in items(at(item, "responseHeaderModifier", "set"))
            }
            if not ("strict-transport-security" in names or any(n.value is UNKNOWN for n in walk(rule))):
                yield f"spec.rules[{place}] sets no Strict-Transport-Security"
