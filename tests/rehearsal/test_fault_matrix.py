"""Faults of the OpenStack services at every distinct call of an `up` and of a `destroy`.

A cell is a fault at the first call of one kind. Several cells share a run, each at another call; a run that fails is
halved, until it is known which cell it was.
"""

import random
from collections.abc import Iterator

import pytest

from rehearsal.cloud import Cloud
from rehearsal.paths import Root
from rehearsal.providers.openstack import connection
from tests.rehearsal.fault_proxy import faults
from tests.rehearsal.faulty import Cell, FaultySite, Matrix, faulty, up_and_away, whole_matrix

SEED = 20261129
SHARE = 8
"""Cells in the tests of every change."""
CLIENT_SECONDS, STALL, DRIP = 12.0, 15.0, 2.0
"""Instead of 60 s, 60 s and 10 s: the client gives up before the answer of a stalled call comes, and it was done."""
HANDS = {"up": 2, "destroy": 1}
"""Runs that share the cells of a fault. A destroy goes over what failed by itself."""
HEALED = 0.995
FAULTS = faults(STALL, DRIP)


@pytest.fixture(scope="module")
def stack(root: Root, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySite]:
    patch = pytest.MonkeyPatch()
    patch.setattr(connection, "REQUEST_TIMEOUT", CLIENT_SECONDS)
    with faulty(root, cloud, tmp_path_factory.mktemp("faulty")) as made:
        yield made
    patch.undo()


def test_a_seeded_share_of_the_matrix_heals_inside_one_up(stack: FaultySite) -> None:
    """Different faults at different calls, all in one run: a bad hour of a site."""
    calls = [
        "GET neutron /v2.0/networks/{id}",
        "GET nova /v2.1/flavors/detail",
        "POST cinder /v3/volumes",
        "POST keystone /v3/auth/tokens",
        "POST neutron /v2.0/floatingips",
        "POST neutron /v2.0/networks",
        "POST neutron /v2.0/ports",
        "POST neutron /v2.0/security-groups",
        "POST neutron /v2.0/subnets",
        "PUT neutron /v2.0/floatingips/{id}",
        "PUT neutron /v2.0/ports/{id}/tags",
    ]
    choice = random.Random(SEED)  # noqa: S311  a reproducible choice, no secret
    quick = [name for name in FAULTS if name != "stall"]
    pairs = zip(choice.sample(quick, SHARE), choice.sample(calls, SHARE), strict=True)
    matrix = Matrix()
    up_and_away(stack, [Cell(FAULTS[name], call) for name, call in pairs], matrix)
    print(matrix.table())
    assert not matrix.failed, matrix.table()
    assert sum(matrix.healed.values()) == SHARE


@pytest.mark.long
@pytest.mark.parametrize("command", ["up", "destroy"])
def test_every_fault_at_every_distinct_call(stack: FaultySite, command: str) -> None:
    """At least 99.5 % heal inside one `up`; nothing is there twice, and nothing is left over, however it ended."""
    matrix = whole_matrix(stack, command, FAULTS.values(), HANDS[command])
    assert all(causes for causes in matrix.failed.values())
    assert command == "destroy" or matrix.share >= HEALED, matrix.table()
