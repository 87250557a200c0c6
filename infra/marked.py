"""What a project holds with our marks: found by stack or by resource, in the words of each service, and removed.

The state may not know of it: a create whose answer was lost, a run that was killed, a state that is an older copy.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import raise_from_response

from infra.marks import PACKAGE, URN_LENGTH

GONE_SECONDS = 180.0
POLL_SECONDS = 1.0
NOT_FOUND = 404
ATTACHMENT = "openstack:compute/volumeAttach:VolumeAttach"
"""A tie between two objects, which carries no mark: it is known by its ends."""


class StillThere(Exception):  # noqa: N818  a state of the world
    """An object did not go away in time, or its service refused; the text says which and why."""


@dataclass(frozen=True)
class Kind:
    """How one service tells of one type of object."""

    service: str
    """Attribute of a connection."""
    path: str
    """Of the collection."""
    listed: str
    """Key of the collection in its answer."""
    detail: str = ""
    """Added to the path where the list alone does not say enough."""
    described: bool = True
    """Marked in the description, else in metadata."""
    made: str = "created_at"


NEUTRON = {
    "networking/floatingIp:FloatingIp": Kind("network", "/floatingips", "floatingips"),
    "networking/port:Port": Kind("network", "/ports", "ports"),
    "networking/router:Router": Kind("network", "/routers", "routers"),
    "networking/subnet:Subnet": Kind("network", "/subnets", "subnets"),
    "networking/network:Network": Kind("network", "/networks", "networks"),
    "networking/secGroupRule:SecGroupRule": Kind("network", "/security-group-rules", "security_group_rules"),
    "networking/secGroup:SecGroup": Kind("network", "/security-groups", "security_groups"),
}
KINDS: Mapping[str, Kind] = {
    "openstack:compute/instance:Instance": Kind("compute", "/servers", "servers", "/detail", False, "created"),
    "openstack:blockstorage/volume:Volume": Kind("block_storage", "/volumes", "volumes", "/detail", False),
    **{f"openstack:{token}": kind for token, kind in NEUTRON.items()},
}
"""By type token, in the order in which they can be removed."""


@dataclass(frozen=True)
class Marked:
    """One object with a mark of ours."""

    type: str
    id: str
    name: str
    urn: str
    """As the mark has it, which may be shortened (marks.URN_LENGTH)."""
    age: timedelta
    """By the clock of its own service."""
    status: str = ""
    """In the service's own word, in capitals; none where it has none."""

    @property
    def logical(self) -> str:
        """Name in the program."""
        return self.urn.rpartition("::")[2]


def type_of(urn: str) -> str:
    """Type token of a URN, without its parents."""
    return urn.split("::")[2].rpartition("$")[2]


def of_stack(connection: Connection, stack: str) -> list[Marked]:
    """Everything of a stack, in the order in which it can be removed."""
    prefix = f"urn:pulumi:{stack}::{PACKAGE}::"
    return [m for type_, kind in KINDS.items() for m in _listed(connection, type_, kind) if m.urn.startswith(prefix)]


def of_resource(connection: Connection, urn: str) -> list[Marked]:
    """What has the mark of one resource; nothing for a type that cannot be marked."""
    kind = KINDS.get(type_of(urn))
    found = _listed(connection, type_of(urn), kind) if kind else ()
    return [marked for marked in found if marked.urn == urn[:URN_LENGTH]]


def _listed(connection: Connection, type_: str, kind: Kind) -> Iterator[Marked]:
    page: str | None = kind.path + kind.detail
    while page:
        answer = getattr(connection, kind.service).get(page)
        raise_from_response(answer)
        body = answer.json()
        for raw in body[kind.listed]:
            metadata = raw.get("metadata") or {}
            mark = str(raw.get("description") if kind.described else metadata.get(f"{PACKAGE}-urn"))
            if mark.startswith("urn:pulumi:"):
                name, status = raw.get("name") or raw["id"], str(raw.get("status") or "").upper()
                yield Marked(type_, raw["id"], name, mark, age(answer, raw.get(kind.made)), status)
        links = body.get(f"{kind.listed}_links") or ()
        page = next((link["href"] for link in links if link["rel"] == "next"), None)


def age(answer: Any, made: str | None) -> timedelta:
    """How old an object is, by the clock of the service that answered; for ever where it does not say."""
    if not made:
        return timedelta.max
    now = answer.headers.get("Date")
    moment = parsedate_to_datetime(now) if now else datetime.now(UTC)
    return moment - datetime.fromisoformat(made.removesuffix("Z")).replace(tzinfo=UTC)


def remove(connection: Connection, marked: Marked) -> None:
    """Delete one object and wait until it is gone; StillThere says why it is not."""
    kind = KINDS[marked.type]
    service, path = getattr(connection, kind.service), f"{kind.path}/{marked.id}"
    until(f"{marked.type} {marked.name} ({marked.id})", lambda: _gone(service, path))


def until(what: str, gone: Callable[[], str | None]) -> None:
    """Ask again until nothing is left to say; the last word is the reason when time is up."""
    deadline = time.monotonic() + GONE_SECONDS
    while (reason := gone()) is not None:
        if time.monotonic() > deadline:
            raise StillThere(f"{what} is still there: {reason}")
        time.sleep(POLL_SECONDS)


def _gone(service: Any, path: str) -> str | None:
    """Ask for the deletion, again where it was refused for the moment."""
    answer = service.delete(path)
    if answer.status_code == NOT_FOUND or service.get(path).status_code == NOT_FOUND:
        return None
    # 400 is Cinder's answer while a volume is on its way from one state to another.
    return f"HTTP {answer.status_code} {' '.join(answer.text.split())[:200]}"
