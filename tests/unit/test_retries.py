"""Which failed operations of the cloud are tried again, and what is looked up before a create is."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from infra import login, marked, retries
from infra.marked import Marked
from infra.retries import Retries, may_pass, pause

URN = "urn:pulumi:dev::leasehold::leasehold:infra:Infra$openstack:networking/network:Network::kvm-private"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (
            "Expected HTTP response code [201] when accessing [POST http://x/v2.0/ports], but got 503 instead: busy",
            True,
        ),
        ("Network n: made by a proxy (HTTP 409, request req-1)", True),
        ("Network n: Quota exceeded for resources: ['network'] (HTTP 409, request req-1)", False),
        ("Server s: no such flavor (HTTP 400)", False),
        ('OpenStack connection error, retries exhausted. Last error was: Post "http://x": EOF', True),
        ('Post "http://x": http: ContentLength=61 with Body length 0', True),
        ("Port p: Unable to establish connection to http://x: ('Connection aborted.', RemoteDisconnected())", True),
        ("Port p: Request to http://x/v2.0/ports timed out", True),
        ('Get "http://x": net/http: request canceled (Client.Timeout exceeded while awaiting headers)', True),
        ("Instance s: waiting until the server is ready took more than 600 s; look at the object", False),
        ("timeout while waiting for state to become 'ACTIVE'", False),
        ("Instance s: Nova could not build the server: No valid host was found (code 500, status ERROR)", False),
        ("cloud x: The request you have made requires authentication. (HTTP 401)", False),
    ],
)
def test_only_what_may_be_otherwise_a_moment_later_is_tried_again(error: str, passes: bool) -> None:
    """In the words of the published provider, and in the rehearsal's."""
    assert may_pass(error) is passes


def test_pauses_grow_are_spread_and_have_a_bound() -> None:
    """Many resources that fail at once do not come back at once."""
    spread = [pause(failures) for failures in range(1, 20) for _ in range(20)]
    assert max(spread) <= retries.LONGEST_PAUSE
    assert len(set(spread)) > 300
    assert max(pause(1) for _ in range(50)) <= 1.0


class Site:
    """What the cloud holds with a mark, and what was removed of it."""

    def __init__(self, *ages: float) -> None:
        self.objects = [Marked("t", str(n), f"o{n}", URN, timedelta(seconds=age)) for n, age in enumerate(ages)]
        self.removed: list[str] = []
        self.answer: list[bool] = []

    def asked(self, monkeypatch: pytest.MonkeyPatch, operation: str, *errors: str, old: bool = False) -> bool:
        """The hook's answer, made while a program runs; under an `old` engine, or the pinned one."""
        monkeypatch.setattr(retries, "goes_on", lambda: not old)
        monkeypatch.setattr(login, "connect", lambda *_: None)
        monkeypatch.setattr(marked, "of_resource", lambda *_: self.objects)
        monkeypatch.setattr(marked, "remove", lambda _connection, one: self.removed.append(one.id))
        monkeypatch.setattr(retries, "pause", lambda _failures: 0.0)
        monkeypatch.setattr(pulumi, "ErrorHook", lambda _name, func: func)
        monkeypatch.setattr(pulumi.log, "warn", lambda _text: None)
        hook: Any = Retries("kvm", None, "R").hooks.on_error
        args = pulumi.ErrorHookArgs(URN, "", "kvm-private", "t", {}, failed_operation=operation, errors=list(errors))
        return bool(asyncio.run(hook[0](args)))


def test_a_create_is_repeated_after_what_it_may_have_made_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer was lost: there must never be two of it."""
    site = Site(1.0)
    assert site.asked(monkeypatch, "create", "x (HTTP 503)")
    assert site.removed == ["0"]


def test_what_is_older_than_the_run_is_never_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that is an older copy does not know of a volume with data: a failed create must not delete it."""
    site = Site(1.0, 3600.0)
    assert not site.asked(monkeypatch, "create", "x (HTTP 503)")
    assert site.removed == []


KNOWN = f"creating {URN}: 1 error occurred: Error waiting: got 503 instead"


def test_what_the_engine_knows_of_a_create_is_waited_for_and_never_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of every failure after the one in which the service answered; the engine updates it then."""
    site = Site(1.0)
    site.objects = [replace(site.objects[0], status="BUILD")]

    def later(_seconds: float) -> None:
        site.objects = [replace(site.objects[0], status="ACTIVE")]

    monkeypatch.setattr("infra.retries.time.sleep", later)
    assert site.asked(monkeypatch, "create", "x (HTTP 503)", KNOWN)
    assert site.objects[0].status == "ACTIVE"
    assert site.removed == []


@pytest.mark.parametrize(("status", "old"), [("ERROR", False), ("ERROR_DELETING", False), ("ACTIVE", True)])
def test_a_create_that_the_engine_knows_is_given_up_where_that_cannot_help(
    monkeypatch: pytest.MonkeyPatch, status: str, old: bool
) -> None:
    """Nothing repairs a server in ERROR; an engine of before would make a second one."""
    site = Site(1.0)
    site.objects = [replace(site.objects[0], status=status)]
    assert not site.asked(monkeypatch, "create", KNOWN, old=old)
    assert site.removed == []


def test_the_pinned_engine_is_one_that_goes_on() -> None:
    """Else every server that met a 503 in its boot would end its run."""
    pinned, wanted = version("pulumi"), retries.GOES_ON.removeprefix(">=")
    assert tuple(map(int, pinned.split("."))) >= tuple(map(int, wanted.split(".")))


def test_updates_and_deletions_need_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice is as good as once."""
    site = Site(1.0)
    assert site.asked(monkeypatch, "update", "x (HTTP 503)")
    assert site.asked(monkeypatch, "delete", "x (HTTP 409)")
    assert site.removed == []


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A site that is down is not asked for ever."""
    errors = ["x (HTTP 503)"] * (retries.TIMES + 1)
    assert not Site().asked(monkeypatch, "create", *errors)
    assert Site().asked(monkeypatch, "create", *errors[1:])


class Service:
    """Answers by path, with its clock; deletions and updates are remembered and carried out."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.sent = answers, list[str]()

    def get(self, path: str, **_: Any) -> Any:
        body = self.answers.get(path)
        status = 404 if body is None else 200
        headers = {"Date": "Sun, 29 Nov 2026 12:00:00 GMT"}
        return SimpleNamespace(status_code=status, headers=headers, json=lambda: body, text="")

    def delete(self, path: str) -> None:
        self.sent.append(f"DELETE {path}")
        self.answers.pop(path, None)

    def put(self, path: str, **_: Any) -> None:
        self.sent.append(f"PUT {path}")


@pytest.mark.parametrize(("since", "cleared"), [(120.0, True), (10.0, False)])
def test_ties_are_known_by_their_ends_and_by_their_age(since: float, cleared: bool) -> None:
    """A second request for an interface or an attachment is refused; one that an older run made is not taken off."""
    age = timedelta(seconds=since)
    port = {"id": "p", "fixed_ips": [{"subnet_id": "s"}], "created_at": "2026-11-29T11:59:00Z"}
    network = Service({"/ports": {"ports": [port]}})
    there: Any = SimpleNamespace(network=network)
    reason = retries.LOOSE[retries.INTERFACE](there, {"routerId": "r", "subnetId": "s"}, age)
    assert (reason is None) is cleared
    assert network.sent == (["PUT /routers/r/remove_router_interface"] if cleared else [])

    held = {"server_id": "m", "attached_at": "2026-11-29T11:59:00.000000"}
    storage = Service({"/volumes/v": {"volume": {"status": "available", "attachments": [held]}}})
    compute = Service({"/servers/m/os-volume_attachments/v": {}})
    there = SimpleNamespace(compute=compute, block_storage=storage)
    reason = retries.LOOSE[marked.ATTACHMENT](there, {"instanceId": "m", "volumeId": "v"}, age)
    assert (reason is None) is cleared
    assert compute.sent == (["DELETE /servers/m/os-volume_attachments/v"] if cleared else [])
