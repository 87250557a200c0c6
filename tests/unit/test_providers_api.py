"""Requests and waits against a scripted cloud: what is repeated, what ends, what is said, what is never said."""

import base64
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from keystoneauth1 import exceptions as ksa

from rehearsal.protocol import Call, Props, ProviderError, Result
from rehearsal.providers import INVOKES, RESOURCES, clock
from rehearsal.providers.openstack import base, connection

CANARY = "canary-5f1c9d"
URN = "urn:pulumi:dev::leasehold::openstack:compute/instance:Instance::node1"
NET = RESOURCES["openstack:networking/network:Network"]
SERVER = RESOURCES["openstack:compute/instance:Instance"]
VOLUME = RESOURCES["openstack:blockstorage/volume:Volume"]


class Answer:
    """What a service answers."""

    def __init__(
        self, status: int, body: Any = None, reason: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.status_code, self.reason = status, reason
        self.content = b"" if body is None else json.dumps(body).encode()
        self.headers = {"x-openstack-request-id": "req-1", **(headers or {})}

    def json(self) -> Any:
        return json.loads(self.content)


class Cloud:
    """Answers in turn per method and path; the last one stays."""

    def __init__(self) -> None:
        self.script: dict[tuple[str, str], list[Any]] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.network = self.compute = self.block_storage = self.image = self

    def on(self, method: str, path: str, *answers: Any) -> None:
        self.script[method, path] = [
            each if isinstance(each, Answer | Exception) else Answer(200, each) for each in answers
        ]

    def request(self, path: str, method: str, **options: Any) -> Answer:
        self.calls.append((method, path, options.get("json")))
        answers = self.script.get((method, path), [Answer(404, {"itemNotFound": {"message": "not here"}})])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Answer)
        return answer

    def count(self, method: str, path: str) -> int:
        return sum(1 for each in self.calls if each[:2] == (method, path))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = Cloud()
    monkeypatch.setattr(connection, "connect", lambda _: made)
    monkeypatch.setattr(base, "region_of", lambda provider: provider.get("region", "R"))
    monkeypatch.setattr(clock, "jitter", lambda _: 0.001)
    return made


def call(timeout: float = 5.0, **more: Any) -> Call:
    return Call(URN, timeout=timeout, **more)


NEWS: Props = {"name": "n", "description": URN, "tags": ["b", "a"]}
RAW: Props = {"id": "n1", "name": "n", "description": URN, "tags": ["a", "b"], "admin_state_up": True}


def test_network_life(cloud: Cloud) -> None:
    cloud.on("POST", "/networks", {"network": {"id": "n1"}})
    cloud.on("PUT", "/networks/n1/tags", {"tags": []})
    cloud.on("GET", "/networks/n1", {"network": RAW})
    cloud.on("PUT", "/networks/n1", {"network": RAW})
    made = NET.create(call(), NEWS)
    assert cloud.calls[0] == ("POST", "/networks", {"network": {"name": "n", "description": URN}})
    assert (made.id, made.outputs["adminStateUp"], made.outputs["region"]) == ("n1", True, "R")
    found = NET.read(call(), Result("n1", made.outputs, NEWS))
    assert found is not None
    assert found.inputs == NEWS
    assert NET.diff(call(), found, NEWS).changed == ()
    NET.update(call(), Result("n1", made.outputs, NEWS), {**NEWS, "description": None})
    assert ("PUT", "/networks/n1", {"network": {"description": ""}}) in cloud.calls


def test_what_was_changed_behind_our_back_shows(cloud: Cloud) -> None:
    cloud.on("GET", "/networks/n1", {"network": {**RAW, "name": "other", "tags": ["x"]}})
    found = NET.read(call(), Result("n1", NEWS, NEWS))
    assert found is not None
    assert NET.diff(call(), found, NEWS).changed == ("name", "tags")


@pytest.mark.usefixtures("cloud")
def test_gone_is_none_and_deleting_it_succeeds() -> None:
    assert NET.read(call(), Result("n1", NEWS, NEWS)) is None
    NET.delete(call(), Result("n1", NEWS, NEWS))


def test_found_by_its_mark_and_finished(cloud: Cloud) -> None:
    foreign = {**RAW, "id": "n0", "description": "other"}
    cloud.on("GET", "/networks", {"networks": [foreign, RAW]})
    cloud.on("PUT", "/networks/n1/tags", {"tags": []})
    assert NET.find(call(), NEWS) == "n1"
    assert cloud.count("PUT", "/networks/n1/tags") == 1
    assert NET.find(call(known=frozenset({"n1"})), NEWS) is None
    assert NET.find(call(), {"name": "n"}) is None


def test_in_use_is_waited_for(cloud: Cloud) -> None:
    busy = Answer(409, {"NeutronError": {"type": "NetworkInUse", "message": "one port", "detail": ""}})
    cloud.on("DELETE", "/networks/n1", busy, busy, Answer(204))
    NET.delete(call(), Result("n1", NEWS, NEWS))
    assert cloud.count("DELETE", "/networks/n1") == 3
    cloud.on("DELETE", "/networks/n1", busy)
    with pytest.raises(ProviderError, match=r"no longer in use took more than 0.05 s.*one port \(HTTP 409"):
        NET.delete(call(0.05), Result("n1", NEWS, NEWS))


RETRIES = {"maxRetries": 4}


@pytest.mark.parametrize(
    ("failure", "times"),
    [
        (ksa.ConnectFailure("reset"), 5),
        (Answer(429, headers={"Retry-After": "0"}), 5),
        (Answer(429), 1),
        (Answer(503), 1),
    ],
)
def test_reading_is_repeated_as_the_published_provider_does(cloud: Cloud, failure: Any, times: int) -> None:
    """It repeats what got no answer, and a 429 that says when; the rest is the program's to repeat."""
    cloud.on("GET", "/networks/n1", failure)
    with pytest.raises(ProviderError):
        NET.read(call(provider=RETRIES), Result("n1", NEWS, NEWS))
    assert cloud.count("GET", "/networks/n1") == times
    with pytest.raises(ProviderError):
        NET.read(call(), Result("n1", NEWS, NEWS))
    assert cloud.count("GET", "/networks/n1") == times + 1


@pytest.mark.parametrize(
    ("failure", "times"),
    [(Answer(503), 1), (ksa.ConnectFailure("reset"), 1), (ksa.ConnectFailure("refused"), 5)],
)
def test_creation_is_repeated_only_when_nothing_was_done(cloud: Cloud, failure: Any, times: int) -> None:
    """A POST that may have been carried out would make a second object."""
    cloud.on("POST", "/networks", failure)
    with pytest.raises(ProviderError, match="Network n: "):
        NET.create(call(provider=RETRIES), NEWS)
    assert cloud.count("POST", "/networks") == times


def test_errors_carry_the_services_words(cloud: Cloud) -> None:
    cloud.on("POST", "/networks", Answer(409, {"NeutronError": {"type": "OverQuota", "message": "Quota exceeded"}}))
    with pytest.raises(ProviderError, match=r"^Network n: Quota exceeded \(HTTP 409, request req-1\)$"):
        NET.create(call(), NEWS)


@pytest.mark.usefixtures("cloud")
def test_an_interrupt_ends_a_wait() -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(ProviderError, match="interrupted"):
        NET.read(call(cancel=cancel), Result("n1", NEWS, NEWS))


MARKED: Props = {"leasehold-urn": URN}
WANTED: Props = {
    "name": "node1",
    "flavorId": "f1",
    "imageName": "CC",
    "networks": [{"port": "p2"}, {"port": "p1"}],
    "userData": f"#cloud-config {CANARY}",
    "metadata": MARKED,
    "configDrive": True,
}


def server(status: str, **more: Any) -> Props:
    return {
        "server": {
            "id": "s1",
            "name": "node1",
            "status": status,
            "flavor": {"id": "f1"},
            "image": {"id": "i1"},
            "metadata": {**MARKED, "site": "x"},
            "addresses": {"net": [{"addr": "10.0.0.2", "OS-EXT-IPS-MAC:mac_addr": "m2"}]},
            **more,
        }
    }


@pytest.fixture
def nova(cloud: Cloud) -> Cloud:
    cloud.on("GET", "/images", {"images": [{"id": "i1", "status": "active"}, {"id": "i0", "status": "queued"}]})
    cloud.on("GET", "/images/i1", {"id": "i1", "name": "CC"})
    cloud.on("GET", "/flavors/f1", {"flavor": {"id": "f1", "name": "reservation:f1"}})
    cloud.on("POST", "/servers", {"server": {"id": "s1"}})
    ports = [
        {"port_id": f"p{n}", "net_id": "n", "mac_addr": f"m{n}", "fixed_ips": [{"ip_address": f"10.0.0.{n}"}]}
        for n in (1, 2)
    ]
    cloud.on("GET", "/servers/s1/os-interface", {"interfaceAttachments": ports})
    return cloud


def test_server_life(nova: Cloud) -> None:
    nova.on("GET", "/servers/s1", server("BUILD"), server("BUILD"), server("ACTIVE"))
    made = SERVER.create(call(), WANTED)
    sent = next(body for method, path, body in nova.calls if (method, path) == ("POST", "/servers"))["server"]
    assert base64.b64decode(sent["user_data"]).decode() == WANTED["userData"]
    assert sent["networks"] == [{"port": "p2"}, {"port": "p1"}]
    assert (sent["imageRef"], sent["flavorRef"]) == ("i1", "f1")
    out = made.outputs
    assert CANARY not in json.dumps(out)
    assert [net["port"] for net in out["networks"]] == ["p2", "p1"]
    assert (out["accessIpV4"], out["networks"][0]["name"], out["powerState"]) == ("10.0.0.2", "net", "active")
    assert out["allMetadata"]["site"] == "x"
    found = SERVER.read(call(), Result("s1", out, WANTED))
    assert found is not None
    assert found.inputs == WANTED
    assert SERVER.diff(call(), found, WANTED).changed == ()
    nova.on("DELETE", "/servers/s1", Answer(204))
    nova.on("GET", "/servers/s1", server("ACTIVE", **{"OS-EXT-STS:task_state": "deleting"}), server("DELETED"))
    SERVER.delete(call(), Result("s1", out, WANTED))
    assert not any("/ports" in path for _, path, _ in nova.calls)


def test_a_failed_server_is_deleted_and_named(nova: Cloud) -> None:
    failed = server("ERROR", fault={"code": 500, "message": "No valid host was found."})
    nova.on("GET", "/servers/s1", server("BUILD"), failed, Answer(404))
    nova.on("DELETE", "/servers/s1", Answer(204))
    with pytest.raises(ProviderError, match=r"Instance node1: .*No valid host was found.*code 500"):
        SERVER.create(call(), WANTED)
    assert nova.count("DELETE", "/servers/s1") == 1


def test_building_ends_with_its_time(nova: Cloud) -> None:
    nova.on("GET", "/servers/s1", server("BUILD"))
    begun = time.monotonic()
    with pytest.raises(ProviderError, match=r"until the server is ready took more than 0\.1 s"):
        SERVER.create(call(0.1), WANTED)
    assert time.monotonic() - begun < 1
    assert nova.count("DELETE", "/servers/s1") == 0  # the next run finds it by its mark


def test_user_data_never_shows_in_an_error(nova: Cloud) -> None:
    said = f"Invalid input for field/attribute user_data. Value: {CANARY}. '{CANARY}' is too long"
    nova.on("POST", "/servers", Answer(400, {"badRequest": {"code": 400, "message": said}}))
    with pytest.raises(ProviderError, match="field/attribute user_data refused") as caught:
        SERVER.create(call(), WANTED)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(("status", "found"), [("ACTIVE", "s1"), ("SHUTOFF", "s1"), ("ERROR", None)])
def test_an_interrupted_server_is_found(nova: Cloud, status: str, found: str | None) -> None:
    foreign = {**server("ACTIVE")["server"], "id": "s0", "metadata": {}}
    nova.on("GET", "/servers/detail", {"servers": [foreign, server("BUILD")["server"]]})
    nova.on("GET", "/servers/s1", server("BUILD"), server(status), Answer(404))
    nova.on("DELETE", "/servers/s1", Answer(204))
    assert SERVER.find(call(), WANTED) == found
    assert nova.count("DELETE", "/servers/s1") == (0 if found else 1)


def test_a_stopped_server_is_started(nova: Cloud) -> None:
    nova.on("GET", "/servers/s1", server("SHUTOFF"))
    found = SERVER.read(call(), Result("s1", WANTED, WANTED))
    assert found is not None
    assert found.outputs["powerState"] == "shutoff"
    assert SERVER.diff(call(), found, WANTED).changed == ("powerState",)
    nova.on("POST", "/servers/s1/action", Answer(202))
    nova.on("GET", "/servers/s1", server("SHUTOFF"), server("ACTIVE"))
    SERVER.update(call(), found, WANTED)
    assert ("POST", "/servers/s1/action", {"os-start": None}) in nova.calls


@pytest.mark.usefixtures("nova")
def test_resizing_in_place_is_refused() -> None:
    with pytest.raises(ProviderError, match="replaceOnChanges"):
        SERVER.update(call(), Result("s1", WANTED, WANTED), {**WANTED, "flavorId": "f2"})


def test_a_failed_volume_is_deleted(cloud: Cloud) -> None:
    cloud.on("POST", "/volumes", {"volume": {"id": "v1"}})
    cloud.on("GET", "/volumes/v1", {"volume": {"status": "creating"}}, {"volume": {"status": "error"}})
    cloud.on("DELETE", "/volumes/v1", Answer(202))
    with pytest.raises(ProviderError, match="size 5 GB"):
        VOLUME.create(call(), {"name": "v", "size": 5})
    assert cloud.count("DELETE", "/volumes/v1") == 1


@pytest.mark.parametrize(("count", "text"), [(0, "returned no results"), (2, "more than one result")])
def test_the_network_that_is_looked_up_must_be_one(cloud: Cloud, count: int, text: str) -> None:
    cloud.on("GET", "/networks", {"networks": [RAW] * count})
    with pytest.raises(ProviderError, match=f"getNetwork sharednet1: .*{text}"):
        INVOKES["openstack:networking/getNetwork:getNetwork"](call(), {"name": "sharednet1"})
