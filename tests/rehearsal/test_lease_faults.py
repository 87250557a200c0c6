"""Faults of Blazar at every call of a lease's life: it is reserved once, used, and ended."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.lease import LeaseProvider
from rehearsal.cli import isolate
from rehearsal.cloud import Cloud
from rehearsal.cloud import state as states
from rehearsal.cloud.state import SERVICES
from rehearsal.paths import Root
from tests.rehearsal.fault_proxy import Proxy, Rule, faults

PROPS: dict[str, Any] = {"name": "leasehold-faults-l", "region": "KVM@TACC", "flavor": "m1.small", "count": 1.0}
PROVIDER = LeaseProvider()
FAULTS = faults(stall=3.0, drip=1.0)
CALLS = (
    "POST blazar /v1/leases",
    "GET blazar /v1/leases",
    "GET blazar /v1/leases/{id}",
    "DELETE blazar /v1/leases/{id}",
    "POST keystone /v3/auth/tokens",
    "GET nova /v2.1/flavors/detail",
)
QUICK = {("reset after", CALLS[0]), ("reset before", CALLS[3])}


@pytest.fixture(scope="module")
def proxy(root: Root, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    state = states.load(root.cloud / "state.json")
    assert state is not None
    cloud.reset()
    with Proxy({name: state.port(name) for name in SERVICES}).serving() as made:
        copy = made.clouds_yaml(cloud.clouds_yaml, tmp_path_factory.mktemp("leases") / "clouds.yaml")
        isolate({**cloud.environment(), "OS_CLIENT_CONFIG_FILE": str(copy)})
        yield made
    isolate(cloud.environment())
    cloud.reset()


@pytest.mark.parametrize(
    ("fault", "call"),
    [
        pytest.param(fault, call, marks=[] if (fault, call) in QUICK else [pytest.mark.long])
        for fault in FAULTS
        for call in CALLS
    ],
)
def test_a_lease_s_life_heals(cloud: Cloud, proxy: Proxy, fault: str, call: str) -> None:
    """A reservation that may have been made is looked up by its name before it is asked for again."""
    rule = Rule(call, FAULTS[fault])
    proxy.begin(rule)
    made = PROVIDER.create({**PROPS, "hours": 2.0})
    assert [lease["status"] for lease in cloud.inventory()["leases"]] == ["ACTIVE"]
    assert made.outs is not None
    PROVIDER.delete(made.id, made.outs)
    assert rule.struck == 1
    assert cloud.inventory()["leases"] == []
