"""What counts as a change, and what a change costs: the tables against the published providers' behaviour."""

from typing import Any

import pytest

from rehearsal.protocol import UNKNOWN, Call, Props, ProviderError, Result
from rehearsal.providers import INVOKES, RESOURCES, TIMEOUTS
from rehearsal.providers.compare import Prop, drift, same, table
from rehearsal.providers.openstack.network import fulfils
from rehearsal.providers.openstack.nics import access_address
from rehearsal.providers.openstack.userdata import digest, encoded

NET = "openstack:networking/network:Network"
SUBNET = "openstack:networking/subnet:Subnet"
PORT = "openstack:networking/port:Port"
GROUP = "openstack:networking/secGroup:SecGroup"
RULE = "openstack:networking/secGroupRule:SecGroupRule"
FIP = "openstack:networking/floatingIp:FloatingIp"
ASSOCIATE = "openstack:networking/floatingIpAssociate:FloatingIpAssociate"
SERVER = "openstack:compute/instance:Instance"
ATTACH = "openstack:compute/volumeAttach:VolumeAttach"
VOLUME = "openstack:blockstorage/volume:Volume"
KEY = "tls:index/privateKey:PrivateKey"
CERTIFICATE = "tls:index/selfSignedCert:SelfSignedCert"
COMMAND = "command:remote:Command"
CALL = Call("urn:pulumi:dev::leasehold::type::thing")

BASE: dict[str, Props] = {
    NET: {"name": "n", "description": "d", "tags": ["a", "b"]},
    SUBNET: {"name": "s", "networkId": "n1", "cidr": "192.168.1.0/24", "noGateway": True, "tags": ["a", "b"]},
    PORT: {
        "name": "p",
        "networkId": "n1",
        "fixedIps": [{"subnetId": "s1", "ipAddress": "192.168.1.11"}],
        "securityGroupIds": ["g1", "g2"],
    },
    GROUP: {"name": "g", "description": "d", "deleteDefaultRules": True},
    RULE: {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "portRangeMin": 22, "securityGroupId": "g"},
    FIP: {"pool": "public", "description": "d"},
    ASSOCIATE: {"floatingIp": "10.0.0.1", "portId": "p1"},
    SERVER: {
        "name": "node1",
        "flavorId": "f1",
        "imageName": "CC-Ubuntu24.04",
        "networks": [{"port": "p1"}, {"port": "p2"}],
        "userData": "#cloud-config\n",
        "configDrive": True,
        "metadata": {"a": "b"},
        "schedulerHints": [{"additionalProperties": {"reservation": "r1"}}],
    },
    ATTACH: {"instanceId": "i1", "volumeId": "v1"},
    VOLUME: {"name": "v", "size": 50, "volumeType": "ceph-ssd", "metadata": {"a": "b"}},
    KEY: {"algorithm": "ED25519"},
    CERTIFICATE: {"privateKeyPem": "key", "allowedUses": ["cert_signing"], "validityPeriodHours": 1},
    COMMAND: {"connection": {"host": "h"}, "create": "true", "triggers": [1]},
}

PUBLISHED: dict[str, Props] = {CERTIFICATE: {"validityEndTime": "2999-01-01T00:00:00Z"}}
"""Outputs that a comparison looks at."""


def state(token: str, outputs: Props | None = None, **inputs: Any) -> Result:
    recorded = {**BASE[token], **inputs}
    return Result("id", {**recorded, **(outputs or {})}, recorded)


def test_the_tables_are_those_of_the_contract() -> None:
    assert (
        {token for token in RESOURCES if not token.startswith(("random:", "kubernetes:", "pulumi:"))}
        == {token for token in TIMEOUTS if not token.startswith("random:")}
        == {*BASE, *(f"openstack:networking/{t}" for t in ("router:Router", "routerInterface:RouterInterface"))}
    )
    assert set(INVOKES) == {"openstack:networking/getNetwork:getNetwork"}
    assert TIMEOUTS[SERVER] == 1800


@pytest.mark.parametrize("token", BASE)
def test_nothing_changed(token: str) -> None:
    provider = RESOURCES[token]
    news = provider.check(CALL, BASE[token])
    known = Result("id", {**news, **PUBLISHED.get(token, {})}, news)
    assert provider.diff(CALL, known, dict(news)).changed == ()


@pytest.mark.parametrize(
    ("token", "news"),
    [
        (NET, {"tags": ["b", "a"]}),
        (NET, {"adminStateUp": None}),
        (SUBNET, {"ipVersion": 4}),
        (SUBNET, {"ipVersion": 4.0, "enableDhcp": True, "dnsNameservers": []}),
        (PORT, {"securityGroupIds": ["g2", "g1"]}),
        (PORT, {"description": ""}),
        (RULE, {"remoteIpPrefix": "", "portRangeMax": None}),
        (SERVER, {"tags": [], "powerState": "active"}),
        (SERVER, {"networks": [{"port": "p1", "accessNetwork": False}, {"port": "p2", "uuid": None}]}),
        (VOLUME, {"metadata": None}),
        (KEY, {"rsaBits": 2048}),
    ],
)
def test_means_the_same(token: str, news: Props) -> None:
    assert RESOURCES[token].diff(CALL, state(token), {**BASE[token], **news}).changed == ()


@pytest.mark.parametrize(
    ("token", "name", "value"),
    [
        (NET, "name", "other"),
        (NET, "description", None),
        (NET, "tags", ["a"]),
        (SUBNET, "enableDhcp", False),
        (SUBNET, "dnsNameservers", ["192.0.2.1"]),
        (SUBNET, "noGateway", None),
        (PORT, "fixedIps", [{"subnetId": "s1", "ipAddress": "192.168.1.12"}]),
        (PORT, "securityGroupIds", ["g1"]),
        (PORT, "name", UNKNOWN),
        (FIP, "description", "other"),
        (ASSOCIATE, "portId", "p2"),
        (SERVER, "name", "node2"),
        (SERVER, "flavorId", "f2"),
        (SERVER, "imageName", "CC-Ubuntu26.04"),
        (SERVER, "metadata", {"a": "c"}),
        (SERVER, "tags", ["x"]),
        (VOLUME, "size", 60),
        (VOLUME, "volumeType", "ceph-hdd"),
        (COMMAND, "create", "false"),
        (COMMAND, "stdin", "x"),
        (COMMAND, "connection", {"host": "other"}),
    ],
)
def test_changes_in_place(token: str, name: str, value: Any) -> None:
    found = RESOURCES[token].diff(CALL, state(token), {**BASE[token], name: value})
    assert (found.changed, found.replaces) == ((name,), ())


@pytest.mark.parametrize(
    ("token", "name", "value"),
    [
        (NET, "region", "elsewhere"),
        (SUBNET, "cidr", "192.168.2.0/24"),
        (SUBNET, "networkId", UNKNOWN),
        (SUBNET, "ipVersion", 6),
        (PORT, "networkId", "n2"),
        (GROUP, "deleteDefaultRules", False),
        (RULE, "description", "other"),
        (RULE, "portRangeMin", 23),
        (FIP, "pool", "other"),
        (ASSOCIATE, "floatingIp", UNKNOWN),
        (SERVER, "userData", "#cloud-config\n# other"),
        (SERVER, "networks", [{"port": "p1"}]),
        (SERVER, "networks", [{"port": "p1"}, {"port": UNKNOWN}]),
        (SERVER, "networks", [{"port": "p2"}, {"port": "p1"}]),
        (SERVER, "configDrive", None),
        (SERVER, "availabilityZone", "z2"),
        (SERVER, "schedulerHints", [{"additionalProperties": {"reservation": "r2"}}]),
        (ATTACH, "instanceId", UNKNOWN),
        (VOLUME, "availabilityZone", "z2"),
        (KEY, "algorithm", "RSA"),
        (COMMAND, "triggers", [2]),
    ],
)
def test_replaces(token: str, name: str, value: Any) -> None:
    found = RESOURCES[token].diff(CALL, state(token), {**BASE[token], name: value})
    assert (found.changed, found.replaces) == ((name,), (name,))


def test_what_the_service_chose_is_no_change() -> None:
    olds = state(SERVER, {"flavorName": "m1", "imageId": "i1", "availabilityZone": "nova", "region": "R"})
    assert RESOURCES[SERVER].diff(CALL, olds, BASE[SERVER]).changed == ()
    named = {**BASE[SERVER], "flavorName": "m1", "availabilityZone": "nova", "region": "R"}
    assert RESOURCES[SERVER].diff(CALL, olds, named).changed == ()


def test_a_server_whose_flavor_is_gone_is_replaced() -> None:
    found = RESOURCES[SERVER].diff(CALL, state(SERVER, flavorId=""), BASE[SERVER])
    assert (found.replaces, found.delete_before_replace) == (("flavorId",), True)


def test_the_state_holds_a_digest_of_the_user_data() -> None:
    olds = state(SERVER, userData=digest(BASE[SERVER]["userData"]))
    assert RESOURCES[SERVER].diff(CALL, olds, BASE[SERVER]).changed == ()


def test_a_zone_with_a_host_is_answered_with_the_zone() -> None:
    olds = state(SERVER, availabilityZone="nova")
    assert RESOURCES[SERVER].diff(CALL, olds, {**BASE[SERVER], "availabilityZone": "nova:host1"}).changed == ()


@pytest.mark.parametrize(("power", "changed"), [("shutoff", ("powerState",)), ("error", ()), ("migrating", ())])
def test_power(power: str, changed: tuple[str, ...]) -> None:
    """A stopped server is started by the next run; a failed one is left to people, as published."""
    assert RESOURCES[SERVER].diff(CALL, state(SERVER, powerState=power), BASE[SERVER]).changed == changed


@pytest.mark.parametrize(("news", "first"), [({}, True), ({"name": "other"}, False)])
def test_an_unchanged_name_makes_deletion_first(news: Props, first: bool) -> None:
    changed = {**BASE[PORT], "networkId": "n2", **news}
    assert RESOURCES[PORT].diff(CALL, state(PORT), changed).delete_before_replace is first


@pytest.mark.parametrize("token", BASE)
def test_refuses_what_it_does_not_honour(token: str) -> None:
    with pytest.raises(ProviderError, match="valueSpecs"):
        RESOURCES[token].check(CALL, {**BASE[token], "valueSpecs": {"a": "b"}})


@pytest.mark.parametrize(
    ("token", "change", "text"),
    [
        (SUBNET, {"cidr": None}, "cidr is required"),
        (SUBNET, {"gatewayIp": "192.168.1.1"}, "conflicts with noGateway"),
        (SERVER, {"imageName": None}, "imageId and imageName"),
        (SERVER, {"flavorId": ""}, "flavorId and flavorName"),
        (SERVER, {"powerState": "paused"}, "powerState"),
        (KEY, {"algorithm": "DSA"}, "DSA is not known"),
        (COMMAND, {"environment": {"A": "b"}}, "stdin"),
        (COMMAND, {"connection": {"host": "h", "agentSocketPath": "x"}}, "agentSocketPath"),
        (COMMAND, {"connection": {"user": "cc"}}, "host is required"),
    ],
)
def test_refuses_bad_inputs(token: str, change: Props, text: str) -> None:
    with pytest.raises(ProviderError, match=text):
        RESOURCES[token].check(CALL, {**BASE[token], **change})


def test_unknown_inputs_pass_the_check() -> None:
    for token, inputs in BASE.items():
        news = dict.fromkeys(inputs, UNKNOWN)
        assert RESOURCES[token].check(CALL, news).items() >= news.items()


def test_drift_is_what_differs_and_nothing_else() -> None:
    props = table(Prop("name"), Prop("tags", unordered=True), Prop("up", computed=True), Prop("dhcp", default=True))
    inputs = {"name": "n", "tags": ["a", "b"], "other": 1}
    unchanged = {"name": "n", "tags": ["b", "a"], "up": True, "dhcp": True, "status": "ACTIVE"}
    assert drift(props, inputs, unchanged) == inputs
    assert drift(props, inputs, {"name": "m", "dhcp": False}) == {**inputs, "name": "m", "dhcp": False}


def test_zero_values_are_none_unless_the_service_would_choose() -> None:
    assert same(Prop("a"), None, 0)
    assert same(Prop("a"), False, None)
    assert not same(Prop("a", computed=True), False, True)
    assert not same(Prop("a", default=True), None, False)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ([{"subnetId": "s", "ipAddress": "1"}], False),
        ([{"subnetId": "s", "ipAddress": "1"}, {"subnetId": "s"}], True),
        ([{"subnetId": "s"}, {"subnetId": "s", "ipAddress": "2"}], True),
        ([{"subnetId": "s"}, {"subnetId": "t"}], False),
    ],
)
def test_addresses_that_were_asked_for(wanted: list[Props], fits: bool) -> None:
    assert fulfils([{"subnetId": "s", "ipAddress": "1"}, {"subnetId": "s", "ipAddress": "2"}], wanted) is fits


def test_user_data() -> None:
    assert encoded("#cloud-config\n") == "I2Nsb3VkLWNvbmZpZwo="
    assert encoded("I2Nsb3VkLWNvbmZpZwo=") == "I2Nsb3VkLWNvbmZpZwo="
    assert digest("x") == "11f6ad8ec52a2984abaafd7c3b516503785c2072"


def test_access_address() -> None:
    first: Props = {"fixedIpV4": "10.0.0.1", "accessNetwork": False}
    assert access_address([first, {"fixedIpV4": "10.0.0.2", "accessNetwork": False}], "fixedIpV4") == "10.0.0.1"
    assert access_address([first, {"fixedIpV4": "10.0.0.2", "accessNetwork": True}], "fixedIpV4") == "10.0.0.2"
