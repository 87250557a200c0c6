"""The few calls of Blazar's v1 REST API that a lease needs, and the arithmetic around them.

No Pulumi or Terraform provider has a lease (gophercloud#3304), and openstacksdk only finds the endpoint.
API: https://docs.openstack.org/api-ref/reservation/v1/
"""

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection

from infra.login import CONFLICT, PASSING

LIVE = ("PENDING", "CREATING", "STARTING", "ACTIVE", "UPDATING")
ENDED = ("TERMINATED", "TERMINATING", "DELETING", "ERROR")
POLL_SECONDS = 2.0
TIMES = 4
"""How often a lease is asked for."""
EXTENDABLE_HOURS = 48
"""Chameleon lets a lease be extended in its last 48 hours (ChameleonCloud/docs, cli_reservations)."""


class BlazarError(Exception):
    """A call failed: what was asked, what the site answered, what to do."""


def flavor_id(connection: Connection, name: str) -> str:
    """Id of a flavor by name or id."""
    flavor = connection.compute.find_flavor(name)
    if flavor is None:
        raise BlazarError(f"the site has no flavor {name}")
    return str(flavor.id)


def parse_time(text: str) -> datetime:
    """Read a time as Blazar answers it, or as people write it."""
    return datetime.fromisoformat(text.replace("Z", "")).replace(tzinfo=UTC)


def format_time(time_: datetime) -> str:
    """Write a time as Blazar takes it: minutes, UTC."""
    return time_.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def end_of(start: datetime, end: str | None, hours: float | None) -> str:
    """When a lease ends: at a given time, or so many hours after its start."""
    return end or format_time(start + timedelta(hours=hours or 0))


def extension_window(end: datetime, hours: int = EXTENDABLE_HOURS) -> tuple[datetime, datetime]:
    """From when to when an extension may be asked for."""
    return end - timedelta(hours=hours), end


def reservation(*, flavor_id: str | None, node_type: str | None, count: int) -> dict[str, Any]:
    """Render what is reserved: instances of a flavor, or whole hosts of a type."""
    if flavor_id is not None:
        # `affinity` must be present, and null where it does not matter.
        return {"resource_type": "flavor:instance", "flavor_id": flavor_id, "amount": count, "affinity": None}
    wanted = f'["=", "$node_type", "{node_type}"]'
    return {
        "resource_type": "physical:host",
        "min": count,
        "max": count,
        "hypervisor_properties": "",
        "resource_properties": wanted,
    }


class Unsure(BlazarError):  # noqa: N818  a state of knowledge
    """A request that the site put off, or whose fate is not known: it may be sent again after a look."""


class Blazar:
    """A session at one site."""

    def __init__(self, connection: Connection) -> None:
        """Find the endpoint; a site without one cannot lease."""
        self._connection = connection
        endpoint = connection.session.get_endpoint(
            service_type="reservation", interface="public", region_name=connection.config.get_region_name()
        )
        if not endpoint:
            region = connection.config.get_region_name()
            raise BlazarError(f"region {region} has no reservation service; give its nodes a flavor, no lease")
        self._url = endpoint.rstrip("/")

    def get(self, lease: str) -> dict[str, Any] | None:
        """A lease by id; None when it is gone."""
        found: dict[str, Any] | None = self._call("GET", f"/leases/{lease}", missing_ok=True)
        return found["lease"] if found else None

    def find(self, name_or_id: str) -> dict[str, Any] | None:
        """The live lease of that id or name; None when there is none. Two of one name are an error."""
        leases = self._call("GET", "/leases")["leases"]
        found = [le for le in leases if name_or_id in (le["id"], le["name"]) and le["status"] in LIVE]
        if len(found) > 1:
            raise BlazarError(f"{len(found)} live leases are named {name_or_id}; adopt one by its id")
        return found[0] if found else None

    def hosts(self) -> list[dict[str, Any]] | None:
        """Reservable hosts; None where the site shows them to operators only."""
        found = self._call("GET", "/os-hosts", missing_ok=True, forbidden_ok=True)
        return found["hosts"] if found else None

    def create(self, name: str, start: str | None, end: str, reservations: list[dict[str, Any]]) -> dict[str, Any]:
        """Ask for a lease; it is ACTIVE later (see wait).

        A request that may have been carried out is looked up by the lease's name before it is sent again.
        """
        body = {
            "name": name,
            "start_date": start or "now",
            "end_date": end,
            "reservations": reservations,
            "events": [],
        }
        for attempt in range(1, TIMES):
            try:
                return self._ask(body)
            except Unsure:
                time.sleep(2**attempt * random.uniform(0.5, 1.0))  # noqa: S311  no secret depends on it
            if (made := self.find(name)) is not None:
                return made
        return self._ask(body)

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        created: dict[str, Any] = self._call("POST", "/leases", json=body)["lease"]
        return created

    def extend(self, lease: str, end: str) -> None:
        """Ask for another end."""
        self._call("PUT", f"/leases/{lease}", json={"end_date": end})

    def delete(self, lease: str, timeout: float) -> None:
        """End a lease, servers on it included, and wait until it is gone."""
        deadline = time.monotonic() + timeout
        self._call("DELETE", f"/leases/{lease}", missing_ok=True)
        while (found := self.get(lease)) is not None and found["status"] not in ENDED[:1]:
            _wait(deadline, f"lease {lease} is still {found['status']}")

    def wait(self, lease: str, timeout: float) -> dict[str, Any]:
        """Wait until a lease is ACTIVE, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.get(lease)
            if found is None or found["status"] in ENDED:
                state = found["status"] if found else "gone"
                raise BlazarError(f"lease {lease} is {state} before it was ACTIVE; ask the site, then run again")
            if found["status"] == "ACTIVE":
                return found
            _wait(deadline, f"lease {lease} is {found['status']} after {timeout:.0f} s")

    def _call(
        self,
        method: str,
        path: str,
        *,
        missing_ok: bool = False,
        forbidden_ok: bool = False,
        json: Any = None,
    ) -> Any:
        try:
            answer = self._connection.session.request(self._url + path, method, json=json, raise_exc=False, timeout=120)
        except ClientException as error:
            raise Unsure(f"{method} {path}: {error}") from error
        if (answer.status_code == 404 and missing_ok) or (answer.status_code == 403 and forbidden_ok):
            return None
        if answer.status_code >= 400:
            # 409 is also the answer to a second lease of one name.
            unsure = answer.status_code in PASSING | {CONFLICT}
            raise (Unsure if unsure else BlazarError)(self._explain(method, path, answer.status_code, answer.text))
        return answer.json() if answer.text else None

    def _explain(self, method: str, path: str, status: int, text: str) -> str:
        plain = " ".join(text.split())[:300]
        delegated = self._connection.config.config.get("auth_type") == "v3applicationcredential"
        if method == "POST" and status == 500 and delegated:
            return (
                "the site refuses leases to application credentials: Blazar needs a trust for every lease, and"
                " Keystone 30 and later refuse trusts to application credentials unless the site allows them"
                " ([security_compliance] allow_insecure_application_credential_trust_escalation). A restricted"
                f" credential has the same effect. Log in by password or token, or ask the site. ({status}: {plain})"
            )
        return f"{method} {path} was answered {status}: {plain}"


def _wait(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise BlazarError(f"{what}; look at it with `openstack reservation lease list`, then run again")
    time.sleep(POLL_SECONDS)
