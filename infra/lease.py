"""A lease as a resource: created or adopted, waited for, extended, replaced when it has ended.

A dynamic resource, because no provider has one. The class stays importable under this name and has no
attributes of its own: Pulumi pickles it by reference, so that the state always runs the present code.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from infra import blazar, login

READY_SECONDS = 15 * 60
"""Bound for a lease to become ACTIVE after its start."""
GONE_SECONDS = 15 * 60
"""Bound for a lease, and the servers on it, to go away."""
REPLACING = ("name", "region", "flavor", "node_type", "count", "start", "adopt")
BAREMETAL_FLAVOR = "baremetal"


class LeaseProvider(ResourceProvider):
    """Verbs over Blazar. Properties: see LeaseArgs for inputs and Lease for outputs; None is left out on the wire."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Adopt what is named, take up what an interrupted run left, else reserve; then wait for ACTIVE."""
        connection = login.connect(props.get("cloud"), props["region"])
        site = blazar.Blazar(connection)
        wanted = props.get("adopt") or props["name"]
        lease = site.find(wanted)
        made = lease is None
        if lease is None:
            if props.get("adopt"):
                raise blazar.BlazarError(f"no live lease is named {wanted}; make one, or leave `adopt` out")
            start = blazar.parse_time(props["start"]) if props.get("start") else datetime.now(UTC)
            end = blazar.end_of(start, props.get("end"), props.get("hours"))
            flavor = blazar.flavor_id(connection, props["flavor"]) if props.get("flavor") else None
            what = blazar.reservation(flavor_id=flavor, node_type=props.get("node_type"), count=int(props["count"]))
            lease = site.create(props["name"], props.get("start"), end, [what])
        until_start = (blazar.parse_time(lease["start_date"]) - datetime.now(UTC)).total_seconds()
        bound = max(until_start, 0) + READY_SECONDS
        try:
            lease = site.wait(lease["id"], bound)
        except blazar.BlazarError:
            if made:  # nothing else would know of it
                site.delete(lease["id"], GONE_SECONDS)
            raise
        return CreateResult(lease["id"], {**props, **_facts(lease)})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """What the site says now; no id when the lease is gone."""
        lease = blazar.Blazar(login.connect(props.get("cloud"), props["region"])).get(id_)
        if lease is None:
            return ReadResult("", {})
        return ReadResult(id_, {**props, **_facts(lease)})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """A lease that has ended is replaced, whatever its inputs say; a new end is tried in place."""
        replaces = [key for key in REPLACING if olds.get(key) != news.get(key)]
        ended = olds["status"] in blazar.ENDED or blazar.parse_time(olds["end_date"]) <= datetime.now(UTC)
        if ended:
            replaces.append("end_date")
        changed = [key for key in ("cloud", "end", "hours") if olds.get(key) != news.get(key)]
        # The capacity of the old lease is what the new one will need.
        return DiffResult(bool(replaces or changed), replaces, [], delete_before_replace=True)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Ask for the new end, in the window in which the site allows it."""
        site = blazar.Blazar(login.connect(news.get("cloud"), news["region"]))
        end = blazar.end_of(blazar.parse_time(olds["start_date"]), news.get("end"), news.get("hours"))
        if end != blazar.format_time(blazar.parse_time(olds["end_date"])):
            try:
                site.extend(id_, end)
            except blazar.BlazarError as error:
                opens, closes = blazar.extension_window(blazar.parse_time(olds["end_date"]))
                raise blazar.BlazarError(
                    f"the site refuses to move the end of lease {news['name']} to {end}: {error}. Chameleon extends"
                    f" from {blazar.format_time(opens)} to {blazar.format_time(closes)} UTC, if the capacity is free."
                    " Set the old end again, or replace the lease (its servers are made anew):"
                    " pulumi up --replace URN"
                ) from error
        lease = site.wait(id_, READY_SECONDS)
        return UpdateResult({**news, **_facts(lease)})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """End the lease; one that was adopted is left as it is."""
        if not props.get("adopt"):
            blazar.Blazar(login.connect(props.get("cloud"), props["region"])).delete(id_, GONE_SECONDS)


def _facts(lease: dict[str, Any]) -> dict[str, Any]:
    first = lease["reservations"][0]
    flavor = first["resource_type"] == "flavor:instance"
    return {
        "status": lease["status"],
        "start_date": blazar.format_time(blazar.parse_time(lease["start_date"])),
        "end_date": blazar.format_time(blazar.parse_time(lease["end_date"])),
        "reservation_id": first["id"],
        # Blazar names the reserved flavor's id after the reservation.
        "flavor_id": first["id"] if flavor else "",
    }


@dataclass(frozen=True)
class LeaseArgs:
    """What to reserve, where, and for how long."""

    name: str
    cloud: str | None
    region: str
    flavor: str | None
    """Name or id of the flavor to reserve; or node_type."""
    node_type: str | None
    count: int
    start: datetime | None
    end: datetime | None
    """The end, or `hours` after the start."""
    hours: int | None
    adopt: str | None
    """Name or id of a lease that exists: used, never deleted."""


class Lease(Resource, module="infra", name="Lease"):
    """A lease that is ACTIVE."""

    status: pulumi.Output[str]
    start_date: pulumi.Output[str]
    """UTC, "YYYY-MM-DD HH:MM"."""
    end_date: pulumi.Output[str]
    """UTC, "YYYY-MM-DD HH:MM"; servers on the lease are deleted then."""
    reservation_id: pulumi.Output[str]
    """For the scheduler hint of bare-metal servers."""
    flavor_id: pulumi.Output[str]
    """The reserved flavor; "" on bare metal."""

    def __init__(self, name: str, args: LeaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Reserve, or adopt, and wait."""
        inputs = {
            "name": args.name,
            "cloud": args.cloud,
            "region": args.region,
            "flavor": args.flavor,
            "node_type": args.node_type,
            "count": args.count,
            "start": blazar.format_time(args.start) if args.start else None,
            "end": blazar.format_time(args.end) if args.end else None,
            "hours": args.hours,
            "adopt": args.adopt,
        }
        outputs = dict.fromkeys(("status", "start_date", "end_date", "reservation_id", "flavor_id"))
        super().__init__(LeaseProvider(), name, {**inputs, **outputs}, opts)
