"""Neutron objects: networks, subnets, routers, ports, security groups and their rules, and the network lookup."""

from typing import Any, ClassVar

from rehearsal.protocol import Call, Props, ProviderError, Result
from rehearsal.providers.clock import Clock
from rehearsal.providers.compare import Prop, check_names, table
from rehearsal.providers.openstack.base import OpenStackType, wire, within
from rehearsal.providers.openstack.connection import Api, region_of

NAME = Prop("name", "name", required=True)
DESCRIPTION = Prop("description", "description")
TAGS = Prop("tags", unordered=True)
SHARED_OUTPUTS = {"allTags": "tags", "tenantId": "tenant_id"}


class NeutronType(OpenStackType):
    """A Neutron object that is made by one POST and marked by its description."""

    service = "network"
    collection: ClassVar[str]
    """Last part of the path, with underscores in bodies and hyphens in addresses."""
    member: ClassVar[str]
    extra: ClassVar[dict[str, str]] = {}
    """Outputs beside the inputs: wire name = API name."""

    @property
    def path(self) -> str:
        """The collection's address."""
        return "/" + self.collection.replace("_", "-")

    def body(self, news: Props, names: tuple[str, ...]) -> Props:
        """The named properties in Neutron's terms; one that was taken out gets its default back."""
        result: Props = {}
        for name in names:
            prop = self.props[name]
            if prop.api:
                value = news.get(name)
                result[prop.api] = ("" if prop.default is None else prop.default) if value is None else value
        return result

    def given(self, news: Props) -> tuple[str, ...]:
        """Properties to send at creation."""
        return tuple(prop.name for prop in self.props.values() if news.get(prop.name) is not None)

    def make(self, api: Api, news: Props) -> str:
        """See the base."""
        answer = api.request("POST", self.path, {self.member: self.body(news, self.given(news))})
        return str(answer[self.member]["id"])

    def finish(self, api: Api, identity: str, news: Props) -> None:
        """Tags have a call of their own in Neutron."""
        if "tags" in self.props and news.get("tags"):
            api.request("PUT", f"{self.path}/{identity}/tags", {"tags": sorted(news["tags"])})

    def load(self, api: Api, identity: str) -> Props | None:
        """See the base."""
        answer = api.find(f"{self.path}/{identity}")
        return None if answer is None else dict(answer[self.member])

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:  # noqa: ARG002  types that ask for more need them
        """See the base."""
        more = {key: value for key, value in SHARED_OUTPUTS.items() if key != "allTags" or "tags" in self.props}
        outputs = wire(self.props, raw, **more, **self.extra)
        if "tags" in self.props:
            outputs["tags"] = list(raw.get("tags", []))
        return outputs

    def change(self, api: Api, olds: Result, news: Props, changed: tuple[str, ...]) -> None:
        """See the base."""
        body = self.body(news, changed)
        if body:
            api.request("PUT", f"{self.path}/{olds.id}", {self.member: body})
        if "tags" in changed:
            api.request("PUT", f"{self.path}/{olds.id}/tags", {"tags": sorted(news.get("tags") or [])})

    def remove(self, api: Api, olds: Result) -> None:
        """Neutron answers after the object is gone."""
        api.delete(f"{self.path}/{olds.id}")

    def find(self, call: Call, news: Props) -> str | None:
        """By description and name; without a description there is no mark and nothing is found."""
        mark = news.get("description")
        if not isinstance(mark, str) or not mark:
            return None
        api = self.api(call, news)
        named = "name" in self.props
        answer = api.get(self.path, description=mark, name=news.get("name") if named else None)
        for raw in answer[self.collection]:
            if raw["id"] in call.known or raw.get("description") != mark:
                continue
            if not named or raw.get("name") == news.get("name"):
                self.finish(api, raw["id"], news)
                return str(raw["id"])
        return None


class Network(NeutronType):
    """A network of the project."""

    kind, collection, member = "Network", "networks", "network"
    props = table(
        NAME,
        DESCRIPTION,
        TAGS,
        Prop("adminStateUp", "admin_state_up", computed=True),
        Prop("portSecurityEnabled", "port_security_enabled", computed=True),
    )
    extra: ClassVar[dict[str, str]] = {"shared": "shared", "mtu": "mtu", "external": "router:external"}


class Subnet(NeutronType):
    """A subnet with one CIDR."""

    kind, collection, member = "Subnet", "subnets", "subnet"
    props = table(
        NAME,
        DESCRIPTION,
        TAGS,
        Prop("networkId", "network_id", force_new=True, required=True),
        Prop("cidr", "cidr", force_new=True, required=True),
        Prop("ipVersion", "ip_version", force_new=True, default=4),
        Prop("enableDhcp", "enable_dhcp", default=True),
        Prop("dnsNameservers", "dns_nameservers", default=()),
        Prop("gatewayIp", computed=True),
        Prop("noGateway"),
    )
    extra: ClassVar[dict[str, str]] = {"allocationPools": "allocation_pools"}

    def check(self, call: Call, news: Props) -> Props:
        """The published provider refuses both ways to say where the gateway is."""
        if news.get("gatewayIp") and news.get("noGateway") is True:
            raise ProviderError(f"{self.label(call, news)}: gatewayIp conflicts with noGateway; set one of them")
        return super().check(call, news)

    def given(self, news: Props) -> tuple[str, ...]:
        """Neutron wants the version always."""
        return tuple(dict.fromkeys((*super().given(news), "ipVersion", "enableDhcp")))

    def body(self, news: Props, names: tuple[str, ...]) -> Props:
        """A gateway of null means none; not naming it means the first address."""
        result = super().body(news, names)
        if "noGateway" in names or "gatewayIp" in names:
            if news.get("noGateway"):
                result["gateway_ip"] = None
            elif news.get("gatewayIp"):
                result["gateway_ip"] = news["gatewayIp"]
        return result

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:
        """See the base."""
        gateway = raw.get("gateway_ip")
        return {**super().view(api, raw, inputs), "gatewayIp": gateway or "", "noGateway": not gateway}


class Router(NeutronType):
    """A router, with or without a way out."""

    kind, collection, member = "Router", "routers", "router"
    props = table(NAME, DESCRIPTION, TAGS, Prop("externalNetworkId", computed=True))
    extra: ClassVar[dict[str, str]] = {"adminStateUp": "admin_state_up", "distributed": "distributed"}

    def body(self, news: Props, names: tuple[str, ...]) -> Props:
        """See the base."""
        result = super().body(news, names)
        if "externalNetworkId" in names:
            external = news.get("externalNetworkId")
            result["external_gateway_info"] = {"network_id": external} if external else {}
        return result

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:
        """See the base."""
        gateway = raw.get("external_gateway_info") or {}
        fixed = [address(item) for item in gateway.get("external_fixed_ips", [])]
        outputs = super().view(api, raw, inputs)
        outputs |= {"externalNetworkId": gateway.get("network_id", ""), "externalFixedIps": fixed}
        if "enable_snat" in gateway:
            outputs["enableSnat"] = gateway["enable_snat"]
        return outputs


class Port(NeutronType):
    """A port; its address and MAC outlive the server that uses it."""

    kind, collection, member = "Port", "ports", "port"
    props = table(
        NAME,
        DESCRIPTION,
        TAGS,
        Prop("networkId", "network_id", force_new=True, required=True),
        Prop("fixedIps"),
        Prop("securityGroupIds", unordered=True),
    )
    extra: ClassVar[dict[str, str]] = {
        "adminStateUp": "admin_state_up",
        "allSecurityGroupIds": "security_groups",
        "deviceId": "device_id",
        "deviceOwner": "device_owner",
        "macAddress": "mac_address",
        "portSecurityEnabled": "port_security_enabled",
    }

    def body(self, news: Props, names: tuple[str, ...]) -> Props:
        """Groups that are not named are Neutron's choice at creation."""
        result = super().body(news, names)
        if "fixedIps" in names:
            wanted = news.get("fixedIps") or []
            result["fixed_ips"] = [
                {"subnet_id": item["subnetId"]} | ({"ip_address": item["ipAddress"]} if item.get("ipAddress") else {})
                for item in wanted
            ]
        if "securityGroupIds" in names:
            result["security_groups"] = list(news.get("securityGroupIds") or [])
        return result

    def given(self, news: Props) -> tuple[str, ...]:
        """Empty lists would ask for no address and no group at all."""
        return tuple(name for name in super().given(news) if news[name] != [])

    def view(self, api: Api, raw: Props, inputs: Props) -> Props:
        """See the base: what was asked for is kept where reality fulfils it."""
        outputs = super().view(api, raw, inputs)
        real = [address(item) for item in raw.get("fixed_ips", [])]
        wanted = inputs.get("fixedIps") or []
        outputs["allFixedIps"] = [item["ipAddress"] for item in real]
        outputs["fixedIps"] = wanted if not wanted or fulfils(real, wanted) else real
        groups = inputs.get("securityGroupIds")
        outputs["securityGroupIds"] = list(raw.get("security_groups", [])) if groups else []
        return outputs


class SecGroup(NeutronType):
    """A security group."""

    kind, collection, member = "SecGroup", "security_groups", "security_group"
    props = table(
        NAME,
        Prop("description", "description", computed=True),
        TAGS,
        Prop("deleteDefaultRules", force_new=True),
    )
    extra: ClassVar[dict[str, str]] = {"stateful": "stateful"}

    def finish(self, api: Api, identity: str, news: Props) -> None:
        """Take out the rules that Neutron puts into every new group; the program's own have a description."""
        super().finish(api, identity, news)
        if news.get("deleteDefaultRules"):
            rules = api.get("/security-group-rules", security_group_id=identity)["security_group_rules"]
            for rule in rules:
                if not rule.get("description"):
                    api.delete(f"/security-group-rules/{rule['id']}")


class SecGroupRule(NeutronType):
    """One rule; Neutron cannot change rules."""

    kind, collection, member = "SecGroupRule", "security_group_rules", "security_group_rule"
    props = table(
        Prop("description", "description", force_new=True),
        Prop("direction", "direction", force_new=True, required=True),
        Prop("ethertype", "ethertype", force_new=True, required=True),
        Prop("protocol", "protocol", force_new=True),
        Prop("portRangeMin", "port_range_min", force_new=True),
        Prop("portRangeMax", "port_range_max", force_new=True),
        Prop("remoteIpPrefix", "remote_ip_prefix", force_new=True),
        Prop("remoteGroupId", "remote_group_id", force_new=True),
        Prop("securityGroupId", "security_group_id", force_new=True, required=True),
    )

    def given(self, news: Props) -> tuple[str, ...]:
        """An empty protocol or prefix means any."""
        return tuple(name for name in super().given(news) if news[name] != "")


def address(item: Props) -> Props:
    """A fixed address on the wire."""
    return {"subnetId": item["subnet_id"], "ipAddress": item["ip_address"]}


def fulfils(real: list[Props], wanted: list[Props]) -> bool:
    """Whether each wanted address is there, and no other; one without an address is any of its subnet."""
    left = list(real)
    for item in sorted(wanted, key=lambda each: not each.get("ipAddress")):
        given = {key: value for key, value in item.items() if value}
        match = next((each for each in left if given.items() <= each.items()), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def get_network(call: Call, args: Props) -> Props:
    """The one network that fits `name`, `networkId`, `external`, `status`, `tenantId`."""
    names = {
        "name": "name",
        "networkId": "id",
        "external": "router:external",
        "status": "status",
        "tenantId": "tenant_id",
    }
    label = f"getNetwork {args.get('name') or args.get('networkId') or ''}".strip()
    check_names(label, [*names, "region"], [], args)
    call = within(call, args)
    api = Api(call, "network", Clock(call, label))
    query: dict[str, Any] = {names[key]: value for key, value in args.items() if key in names and value is not None}
    found = api.get("/networks", **query)["networks"]
    if not found:
        raise ProviderError(
            f"{label}: Your query returned no results. Please change your search criteria and try again "
            "(list what is there: openstack network list)"
        )
    if len(found) > 1:
        raise ProviderError(
            f"{label}: Your query returned more than one result. Please try a more specific search criteria; "
            "add networkId"
        )
    raw = found[0]
    computed = {
        "id": raw["id"],
        "name": raw["name"],
        "adminStateUp": str(raw.get("admin_state_up", "")).lower(),
        "allTags": raw.get("tags", []),
        "availabilityZoneHints": raw.get("availability_zone_hints", []),
        "description": raw.get("description", ""),
        "dnsDomain": raw.get("dns_domain") or "",
        "external": bool(raw.get("router:external")),
        "mtu": raw.get("mtu", 0),
        "region": region_of(call.provider),
        "segments": [],
        "shared": str(raw.get("shared", "")).lower(),
        "status": raw.get("status"),
        "subnets": raw.get("subnets", []),
        "tenantId": raw.get("tenant_id"),
        "transparentVlan": bool(raw.get("vlan_transparent")),
    }
    return {**args, **computed}
