"""The lease resource against a real Blazar: its verbs as Pulumi calls them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra import blazar, lease, login
from infra.lease import LeaseProvider
from rehearsal.cloud import Cloud, plan
from rehearsal.environment import EnvironmentFile
from rehearsal.paths import PROJECT

PROPS: dict[str, Any] = {
    "name": "leasehold-test",
    "region": "KVM@TACC",
    "flavor": "m1.small",
    "count": 2.0,
    "hours": 3.0,
}
PROVIDER = LeaseProvider()


@pytest.fixture(autouse=True)
def _empty(cloud: Cloud) -> Iterator[None]:
    cloud.up(plan(EnvironmentFile.read(PROJECT / "Pulumi.dev.yaml").config))
    cloud.reset()
    yield
    cloud.reset()


@dataclass(frozen=True)
class Made:
    """A lease that is ACTIVE."""

    id: str
    outs: dict[str, Any]


def make(props: dict[str, Any]) -> Made:
    made = PROVIDER.create(props)
    assert made.outs is not None
    return Made(made.id, made.outs)


def leases(cloud: Cloud) -> dict[str, str]:
    return {lease["name"]: lease["status"] for lease in cloud.inventory()["leases"]}


def test_a_create_that_happened_before_is_taken_up_and_not_repeated(cloud: Cloud) -> None:
    """A run that was killed after the request must not reserve twice."""
    first = make(PROPS)
    again = make(PROPS)
    assert again.id == first.id
    assert leases(cloud) == {"leasehold-test": "ACTIVE"}
    assert login.connect(None, "KVM@TACC").compute.get_flavor(first.outs["flavor_id"]).vcpus == 1


def test_a_new_length_moves_the_end_in_place() -> None:
    """The servers on it stay."""
    made = make(PROPS)
    longer = {**PROPS, "hours": 5.0}
    difference = PROVIDER.diff(made.id, made.outs, longer)
    assert difference.changes
    assert not difference.replaces
    moved = PROVIDER.update(made.id, made.outs, longer).outs
    assert moved is not None
    hours = blazar.parse_time(moved["end_date"]) - blazar.parse_time(moved["start_date"])
    assert hours == timedelta(hours=5)
    assert moved["flavor_id"] == made.outs["flavor_id"]


def test_a_refused_extension_says_when_it_may_be_asked_for_and_what_else_helps(cloud: Cloud) -> None:
    """The site may have promised the capacity to others."""
    made = make(PROPS)
    PROVIDER.delete(made.id, PROPS)
    with pytest.raises(blazar.BlazarError, match=r"refuses to move the end.*Chameleon extends.*--replace URN"):
        PROVIDER.update(made.id, made.outs, {**PROPS, "hours": 9.0})
    assert leases(cloud) == {}


def test_an_adopted_lease_is_used_and_never_deleted(cloud: Cloud) -> None:
    """It is somebody's, and may hold other servers."""
    theirs = make({**PROPS, "name": "theirs"})
    for wanted in ("theirs", theirs.id):
        props = {"name": "leasehold-other", "region": "KVM@TACC", "count": 1.0, "adopt": wanted}
        adopted = make(props)
        assert adopted.id == theirs.id
        PROVIDER.delete(adopted.id, adopted.outs)
    assert leases(cloud) == {"theirs": "ACTIVE"}
    with pytest.raises(blazar.BlazarError, match="no live lease is named nobodys"):
        PROVIDER.create({**PROPS, "adopt": "nobodys"})


def test_a_lease_that_does_not_become_active_in_time_is_not_left_behind(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed create is in nobody's state."""
    monkeypatch.setattr(lease, "READY_SECONDS", -60)
    with pytest.raises(blazar.BlazarError, match=r"openstack reservation lease list"):
        PROVIDER.create(PROPS)
    assert leases(cloud) == {}


def test_a_lease_that_has_ended_or_is_gone_is_made_anew() -> None:
    """Its inputs are the same; the clock and the site say that it is over."""
    made = make(PROPS)
    past = {**made.outs, "end_date": blazar.format_time(datetime.now(UTC) - timedelta(minutes=1))}
    assert PROVIDER.diff(made.id, past, PROPS).replaces
    assert not PROVIDER.diff(made.id, made.outs, PROPS).changes
    PROVIDER.delete(made.id, PROPS)
    assert PROVIDER.read(made.id, made.outs).id == ""
    PROVIDER.delete(made.id, PROPS)


def test_host_reservations_ask_for_hosts_of_their_type() -> None:
    """The shape that Blazar's physical:host plugin takes."""
    asked = blazar.reservation(flavor_id=None, node_type="gpu_rtx_6000", count=2)
    assert asked["resource_type"] == "physical:host"
    assert (asked["min"], asked["max"]) == (2, 2)
    assert asked["resource_properties"] == '["=", "$node_type", "gpu_rtx_6000"]'
