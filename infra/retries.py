"""An operation of the engine that failed is tried again, where that can help and cannot do anything twice.

The OpenStack provider repeats little (see RETRIES in infra): a service that answers 503 once fails a whole run. The
engine asks here before it gives up on a resource. Updates and deletions may always be repeated. A create may have
happened although its answer was lost: what carries its mark, and is no older than this run, is removed first; if
something older carries it, nothing is touched, and `recover` is what takes that up (docs/recovery.md). What the engine
knows already of a create, such as a server of which only the wait failed, is waited for and never removed.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pulumi
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import SDKException, raise_from_response

from infra import login, marked

TIMES = 5
"""How often an operation is repeated."""
LONGEST_PAUSE = 15.0
SLACK = timedelta(seconds=2)
"""Services tell times in whole seconds."""
STATUS = re.compile(r"\b(?:HTTP|got) (\d{3})\b")
"""In errors of the published provider (`but got 503 instead`) and of the rehearsal's (`HTTP 503`)."""
PASSING = login.PASSING | {login.CONFLICT}
UNANSWERED = re.compile(
    r"connection (?:refused|reset|aborted)|broken pipe|\bEOF\b|i/o timeout|TLS handshake timeout|awaiting headers"
    r"|ContentLength=\d+ with Body length 0|Unable to establish connection|Request to \S+ timed out|RemoteDisconnected",
    re.IGNORECASE,
)
"""What Go's and Python's libraries say of a connection. `ContentLength` is the provider's own attempt to send a body
again that it has sent already."""
NEVER = re.compile(r"quota|exceeded(?! while awaiting)", re.IGNORECASE)
"""Neutron answers 409 to a request beyond the quota as well. Go's library says `Client.Timeout exceeded while awaiting
headers` of an answer that did not come."""
INTERFACE = "openstack:networking/routerInterface:RouterInterface"


def may_pass(error: str) -> bool:
    """Whether the same request may succeed a moment later."""
    if NEVER.search(error):
        return False
    found = STATUS.findall(error)
    return any(int(status) in PASSING for status in found) if found else bool(UNANSWERED.search(error))


def pause(failures: int) -> float:
    """Seconds before the next attempt: doubling, spread so that many resources do not come back at once."""
    return min(2.0 ** (failures - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311  no secret depends on it


async def again(
    args: pulumi.ErrorHookArgs, passes: Callable[[str], bool], free: Callable[[], str | None] | None, threads: Executor
) -> bool:
    """Answer the engine, which has told every error so far, the newest first.

    `passes`: whether an error may be another one a moment later. `free`, called in a thread, clears the way where the
    operation may have happened, as a create; the reason, where it must not be repeated.
    """
    failures = len(args.errors)
    if failures > TIMES or not passes(args.errors[0]):
        return False
    await asyncio.sleep(pause(failures))
    if free is None:
        return True
    reason = await asyncio.get_running_loop().run_in_executor(threads, free)
    if reason:
        pulumi.log.warn(f"{args.urn}: not tried again: {reason}")
    return reason is None


GOES_ON = ">=3.272.0"
"""Engines that update what a create has made in part. Older ones, before September 2026, would make it once more
(pulumi/pulumi#24683); the first of these is not known to us, this one is pinned."""
BUILDING = {"BUILD", "BUILDING", "CREATING", "DOWNLOADING", "ATTACHING"}
BUILT_SECONDS, BUILT_POLL = 1800.0, 5.0
"""A bare metal server takes up to half an hour."""


def goes_on() -> bool:
    """Whether the engine is one of those."""
    try:
        pulumi.require_pulumi_version(GOES_ON)
    except Exception:  # the SDK raises nothing more special, and an old engine does not know the question
        return False
    return True


class Retries:
    """The retries of one site; `hooks` goes into the options of its resources."""

    hooks: pulumi.ResourceHookBinding

    def __init__(self, site: str, cloud: str | None, region: str) -> None:
        """Made when the run begins: what is older than this object is not of this run."""
        self._cloud, self._region, self._begun = cloud, region, time.monotonic()
        self._goes_on = goes_on()
        # A pool of its own: the engine waits for the answer in threads of the loop's.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="retries")
        self.hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook(f"{site}-retries", self._again)])

    async def _again(self, args: pulumi.ErrorHookArgs) -> bool:
        return await again(args, may_pass, self._way(args), self._threads)

    def _way(self, args: pulumi.ErrorHookArgs) -> Callable[[], str | None] | None:
        if args.failed_operation != "create":
            return None
        # The provider says this only of what it knows by its id, and hands the engine what is there.
        if any(f"creating {args.urn}" in error for error in args.errors):
            return partial(self._told, self._built, args.urn)
        return partial(self._told, self._free, args.urn, dict(args.new_inputs or {}))

    def _told(self, work: Callable[..., str | None], *args: Any) -> str | None:
        """What is in the way of a second try; also where nobody says."""
        try:
            return work(login.connect(self._cloud, self._region), *args)
        except (ClientException, SDKException, marked.StillThere) as error:
            return f"it is not known whether it was made: {error}"

    def _built(self, connection: Connection, urn: str) -> str | None:
        """Wait until what was begun has been made; the reason, where it was not."""
        if not self._goes_on:
            return "the engine would make it a second time; the next `up` goes on with it"
        deadline = time.monotonic() + BUILT_SECONDS
        while True:
            found = marked.of_resource(connection, urn)
            building = [one for one in found if one.status in BUILDING]
            if not building or time.monotonic() > deadline:
                break
            time.sleep(BUILT_POLL)
        bad = building or [one for one in found if one.status.startswith("ERROR")]
        return f"{bad[0].name} ({bad[0].id}) is in state {bad[0].status}" if bad else None

    def _free(self, connection: Connection, urn: str, inputs: Mapping[str, Any]) -> str | None:
        """Clear the way for a create; the reason, where it must not be repeated."""
        since = timedelta(seconds=time.monotonic() - self._begun) + SLACK
        type_ = marked.type_of(urn)
        if type_ in LOOSE:
            return LOOSE[type_](connection, inputs, since)
        found = marked.of_resource(connection, urn)
        for one in found:
            if one.age > since:
                return f"{one.name} ({one.id}) has its mark and is older than this run; run recover"
        for one in found:
            marked.remove(connection, one)
        return None


def _interface(connection: Connection, inputs: Mapping[str, Any], since: timedelta) -> str | None:
    """Take off a router's port on the subnet: a second request for it is refused."""
    network: Any = connection.network
    router, subnet = inputs["routerId"], inputs["subnetId"]
    answer = network.get("/ports", params={"device_id": router})
    raise_from_response(answer)
    for port in answer.json()["ports"]:
        if any(fixed["subnet_id"] == subnet for fixed in port["fixed_ips"]):
            if marked.age(answer, port.get("created_at")) > since:
                return f"the router {router} has an interface on {subnet} that is older than this run; run recover"
            network.put(f"/routers/{router}/remove_router_interface", json={"port_id": port["id"]})
    return None


def _attachment(connection: Connection, inputs: Mapping[str, Any], since: timedelta) -> str | None:
    """Detach what this run attached: a second request for it is refused."""
    compute: Any = connection.compute
    storage: Any = connection.block_storage
    server, volume = inputs["instanceId"], inputs["volumeId"]
    answer = storage.get(f"/volumes/{volume}")
    raise_from_response(answer)
    held = [a for a in answer.json()["volume"].get("attachments", []) if a["server_id"] == server]
    if any(marked.age(answer, a.get("attached_at")) > since for a in held):
        return f"volume {volume} has been attached for longer than this run lasts; run recover"
    path = f"/servers/{server}/os-volume_attachments/{volume}"

    def detached() -> str | None:
        compute.delete(path)
        now = storage.get(f"/volumes/{volume}")
        raise_from_response(now)
        status = now.json()["volume"]["status"]
        gone = compute.get(path).status_code == marked.NOT_FOUND
        return None if gone and status in {"available", "error"} else f"it is {status}"

    marked.until(f"the attachment of volume {volume}", detached)
    return None


LOOSE = {INTERFACE: _interface, marked.ATTACHMENT: _attachment}
"""Ties between two objects: they carry no mark, and are known by their ends. A floating IP's association is an
update of the address, which may be repeated."""
