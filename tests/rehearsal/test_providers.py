"""Every OpenStack type against a running cloud: create, read without a difference, update, find, delete, delete again.

The cloud of the whole run (conftest.py) is emptied first.
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rehearsal.cloud import Cloud
from rehearsal.protocol import Call, Props, ProviderError, Result
from rehearsal.providers import INVOKES, RESOURCES, TIMEOUTS
from rehearsal.providers.openstack.connection import connect
from tests.rehearsal.cluster import until

NETWORK = "openstack:networking/network:Network"
SUBNET = "openstack:networking/subnet:Subnet"
ROUTER = "openstack:networking/router:Router"
INTERFACE = "openstack:networking/routerInterface:RouterInterface"
PORT = "openstack:networking/port:Port"
GROUP = "openstack:networking/secGroup:SecGroup"
RULE = "openstack:networking/secGroupRule:SecGroupRule"
FIP = "openstack:networking/floatingIp:FloatingIp"
ASSOCIATE = "openstack:networking/floatingIpAssociate:FloatingIpAssociate"
SERVER = "openstack:compute/instance:Instance"
ATTACH = "openstack:compute/volumeAttach:VolumeAttach"
VOLUME = "openstack:blockstorage/volume:Volume"
GET_NETWORK = "openstack:networking/getNetwork:getNetwork"


@pytest.fixture(scope="module", autouse=True)
def _cloud(cloud: Cloud) -> None:
    """Run on an empty cloud."""
    cloud.reset()


RUN = f"providers-{secrets.token_hex(3)}"
Made = tuple[str, str, Props, Result]


def call(token: str, name: str) -> Call:
    return Call(f"urn:pulumi:{RUN}::leasehold::{token}::{name}", timeout=min(TIMEOUTS[token], 180.0))


def mark(token: str, name: str) -> Props:
    return {"name": f"{RUN}-{name}", "description": call(token, name).urn, "tags": ["leasehold", f"stack={RUN}"]}


def same(token: str, name: str, news: Props, olds: Result) -> Result:
    """Read, and find no difference in either the read or the recorded state."""
    provider = RESOURCES[token]
    recorded = Result(olds.id, olds.outputs, news)
    assert provider.diff(call(token, name), recorded, news).changed == ()
    found = provider.read(call(token, name), recorded)
    assert found is not None
    assert found.inputs == news
    assert provider.diff(call(token, name), found, news).changed == ()
    assert {key for key in olds.outputs if olds.outputs[key] != found.outputs.get(key)} <= {"updated", "attachments"}
    return found


@pytest.fixture
def stack() -> Iterator[Callable[..., Result]]:
    """Make resources; they are deleted twice afterwards, last one first."""
    made: list[Made] = []

    def make(token: str, name: str, change: Props | None = None, /, **inputs: Any) -> Result:
        provider, at = RESOURCES[token], call(token, name)
        news = provider.check(at, inputs)
        assert provider.find(at, news) is None
        result = provider.create(at, news)
        made.append((token, name, news, result))
        same(token, name, news, result)
        assert provider.find(at, news) == result.id
        if change:
            changed = {**news, **change}
            diff = provider.diff(at, Result(result.id, result.outputs, news), changed)
            assert set(diff.changed) == set(change)
            assert diff.replaces == ()
            result = provider.update(at, Result(result.id, result.outputs, news), changed)
            made[-1] = (token, name, changed, result)
            same(token, name, changed, result)
        return result

    yield make
    for token, name, news, result in reversed(made):
        provider, at = RESOURCES[token], call(token, name)
        recorded = Result(result.id, result.outputs, news)
        provider.delete(at, recorded)
        if token != ASSOCIATE:
            assert provider.read(at, recorded) is None
        assert provider.find(at, news) is None
        provider.delete(at, recorded)


@pytest.fixture(scope="module")
def external() -> str:
    networks = connect({}).network.networks(is_router_external=True)
    return str(next(iter(networks)).name)


@pytest.fixture
def net(stack: Callable[..., Result]) -> tuple[str, str]:
    network = stack(NETWORK, "net", **mark(NETWORK, "net"))
    wanted = {"networkId": network.id, "cidr": "10.77.0.0/24", "noGateway": True}
    return network.id, stack(SUBNET, "sub", **mark(SUBNET, "sub"), **wanted).id


def test_network(stack: Callable[..., Result]) -> None:
    made = stack(NETWORK, "n", {"tags": ["x"], "adminStateUp": False}, **mark(NETWORK, "n"), adminStateUp=True)
    assert made.outputs["allTags"] == ["x"]
    assert made.outputs["region"]


def test_subnet(stack: Callable[..., Result]) -> None:
    network = stack(NETWORK, "n", **mark(NETWORK, "n"))
    wanted = {"networkId": network.id, "cidr": "10.78.0.0/24", "gatewayIp": "10.78.0.1", "dnsNameservers": []}
    made = stack(SUBNET, "s", {"dnsNameservers": ["192.0.2.2", "192.0.2.1"]}, **mark(SUBNET, "s"), **wanted)
    assert made.outputs["allocationPools"]
    closed = {"networkId": network.id, "cidr": "10.79.0.0/24", "noGateway": True, "enableDhcp": False}
    assert stack(SUBNET, "t", {"name": "renamed"}, **mark(SUBNET, "t"), **closed).outputs["gatewayIp"] == ""


def test_port(stack: Callable[..., Result], net: tuple[str, str]) -> None:
    network, subnet = net
    group = stack(GROUP, "g", **mark(GROUP, "g"))
    fixed = [{"subnetId": subnet, "ipAddress": "10.77.0.11"}]
    change = {"securityGroupIds": [group.id], "name": "renamed"}
    made = stack(PORT, "p", change, **mark(PORT, "p"), networkId=network, fixedIps=fixed)
    assert made.outputs["allFixedIps"] == ["10.77.0.11"]
    assert made.outputs["macAddress"]
    assert made.outputs["allSecurityGroupIds"] == [group.id]
    free = stack(PORT, "q", **mark(PORT, "q"), networkId=network, securityGroupIds=[group.id])
    assert len(free.outputs["allFixedIps"]) == 1
    taken = {**mark(PORT, "r"), "networkId": network, "fixedIps": fixed}
    with pytest.raises(ProviderError, match=r"10\.77\.0\.11.*HTTP 409"):
        RESOURCES[PORT].create(call(PORT, "r"), taken)


def test_security_group(stack: Callable[..., Result]) -> None:
    group = stack(GROUP, "g", {"name": "renamed"}, **mark(GROUP, "g"), deleteDefaultRules=True)
    rules = list(connect({}).network.security_group_rules(security_group_id=group.id))
    assert rules == []
    wanted = {"direction": "ingress", "ethertype": "IPv4", "securityGroupId": group.id}
    tcp = {"protocol": "tcp", "portRangeMin": 22, "portRangeMax": 22, "remoteIpPrefix": "0.0.0.0/0"}
    stack(RULE, "tcp", **wanted, **tcp, description=call(RULE, "tcp").urn)
    stack(RULE, "any", **wanted, remoteGroupId=group.id, description=call(RULE, "any").urn)


def test_router_and_floating_ip(stack: Callable[..., Result], external: str) -> None:
    found = INVOKES[GET_NETWORK](call(NETWORK, "x"), {"name": external})
    network = stack(NETWORK, "n", **mark(NETWORK, "n"))
    wanted = {"networkId": network.id, "cidr": "10.80.0.0/24", "gatewayIp": "10.80.0.1"}
    subnet = stack(SUBNET, "s", **mark(SUBNET, "s"), **wanted)
    router = stack(ROUTER, "r", {"name": "renamed"}, **mark(ROUTER, "r"), externalNetworkId=found["id"])
    stack(INTERFACE, "i", routerId=router.id, subnetId=subnet.id)
    ports = [stack(PORT, name, **mark(PORT, name), networkId=network.id) for name in ("p", "q")]
    inputs = {key: value for key, value in mark(FIP, "f").items() if key != "name"}
    address = stack(FIP, "f", {"description": "changed"}, **inputs, pool=external).outputs["address"]
    tied = stack(ASSOCIATE, "a", {"portId": ports[1].id}, floatingIp=address, portId=ports[0].id)
    assert tied.outputs["portId"] == ports[1].id


def test_volume(stack: Callable[..., Result]) -> None:
    urn = call(VOLUME, "v").urn
    wanted = {"name": f"{RUN}-v", "size": 1, "description": urn, "metadata": {"leasehold-urn": urn}}
    stack(VOLUME, "v", {"size": 2, "name": "renamed", "metadata": {"leasehold-urn": urn, "a": "b"}}, **wanted)


@pytest.fixture(scope="module")
def machine() -> Props:
    cloud = connect({})
    flavor = min((f for f in cloud.compute.flavors() if ":" not in f.name), key=lambda f: f.ram)
    image = min((i for i in cloud.image.images() if i.status == "active"), key=lambda i: len(i.name))
    return {"flavorId": flavor.id, "imageName": image.name, "configDrive": True}


def test_server_with_a_volume(stack: Callable[..., Result], net: tuple[str, str], machine: Props) -> None:
    network, subnet = net
    fixed = [{"subnetId": subnet, "ipAddress": "10.77.0.21"}]
    port = stack(PORT, "p", **mark(PORT, "p"), networkId=network, fixedIps=fixed)
    volume = stack(VOLUME, "v", name=f"{RUN}-v", size=1, description=call(VOLUME, "v").urn)
    urn = call(SERVER, "m").urn
    wanted = {"metadata": {"leasehold-urn": urn}, "networks": [{"port": port.id}], "userData": "#cloud-config\n"}
    change = {"name": f"{RUN}-n", "metadata": {"leasehold-urn": urn, "a": "b"}}
    server = stack(SERVER, "m", change, name=f"{RUN}-m", **machine, **wanted)
    out = server.outputs
    assert (out["accessIpV4"], out["powerState"]) == ("10.77.0.21", "active")
    assert out["networks"][0]["port"] == port.id
    assert out["networks"][0]["mac"] == port.outputs["macAddress"]
    assert "cloud-config" not in str(out)
    attached = stack(ATTACH, "a", instanceId=server.id, volumeId=volume.id)
    assert attached.outputs["device"].startswith("/dev/")
    _stopped_and_started(server, {**machine, **wanted, **change})
    RESOURCES[SERVER].delete(call(SERVER, "m"), server)
    # Nova lets go of the volume some moments after the server is gone.
    until("the attachment to be gone", lambda: RESOURCES[ATTACH].read(call(ATTACH, "a"), attached) is None, 20)
    assert RESOURCES[PORT].read(call(PORT, "p"), port) is not None
    kept = RESOURCES[VOLUME].read(call(VOLUME, "v"), volume)
    assert kept is not None
    assert kept.outputs["attachments"] == []


def _stopped_and_started(server: Result, news: Props) -> None:
    provider, at = RESOURCES[SERVER], call(SERVER, "m")
    cloud = connect({})
    cloud.compute.stop_server(server.id)
    cloud.compute.wait_for_server(cloud.compute.get_server(server.id), "SHUTOFF", interval=0.5, wait=60)
    found = provider.read(at, Result(server.id, server.outputs, news))
    assert found is not None
    assert found.outputs["powerState"] == "shutoff"
    assert provider.diff(at, found, news).changed == ("powerState",)
    assert provider.update(at, found, news).outputs["powerState"] == "active"


def test_a_server_that_cannot_be_built(machine: Props) -> None:
    wanted = {"name": f"{RUN}-x", **machine, "flavorId": "no-such-flavor", "networks": []}
    with pytest.raises(ProviderError, match=r"Instance providers-.*no-such-flavor.*HTTP 400"):
        RESOURCES[SERVER].create(call(SERVER, "x"), wanted)


def test_many_at_once(external: str) -> None:
    """The engine calls from a pool of threads; all share one connection."""
    with ThreadPoolExecutor(32) as pool:
        lookups = pool.map(lambda n: INVOKES[GET_NETWORK](call(NETWORK, str(n)), {"name": external}), range(200))
        assert len({found["id"] for found in lookups}) == 1


def test_network_lookup(external: str) -> None:
    found = INVOKES[GET_NETWORK](call(NETWORK, "x"), {"name": external})
    assert found["external"] is True
    assert found["subnets"]
    with pytest.raises(ProviderError, match="getNetwork no-such-net: Your query returned no results"):
        INVOKES[GET_NETWORK](call(NETWORK, "x"), {"name": "no-such-net"})
