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
from tests.rehearsal.faulty import Cell, Faulty, Matrix, causes, dealt, faulty, marks, whole

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
def stack(root: Root, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    patch = pytest.MonkeyPatch()
    patch.setattr(connection, "REQUEST_TIMEOUT", CLIENT_SECONDS)
    with faulty(root, cloud, tmp_path_factory.mktemp("faulty")) as made:
        yield made
    patch.undo()


def up_and_away(stack: Faulty, cells: list[Cell], matrix: Matrix) -> None:
    """One `up` from nothing with these cells; what failed in company is tried alone."""
    outcome, met = stack.run("up", cells)
    matrix.unmet += [cell for cell in cells if cell not in met]
    assert set(marks(stack.cloud).values()) <= {1}, marks(stack.cloud)
    if whole(outcome):
        matrix.healed.update(cell.fault.name for cell in met)
    else:
        if len(met) == 1:
            matrix.failed[met[0]] = causes(outcome)
        assert whole(stack.run("up")[0]), "the next run, without a fault, must heal what a fault has left"
        assert set(marks(stack.cloud).values()) == {1}
    assert whole(stack.run("destroy")[0])
    assert not marks(stack.cloud), marks(stack.cloud)
    if not whole(outcome) and len(met) > 1:
        for half in dealt(met, 2):
            up_and_away(stack, half, matrix)


def destroy_from_whole(stack: Faulty, cells: list[Cell], matrix: Matrix) -> None:
    """One `destroy` of a whole stack with these cells."""
    assert whole(stack.run("up")[0])
    outcome, met = stack.run("destroy", cells)
    matrix.unmet += [cell for cell in cells if cell not in met]
    if whole(outcome):
        matrix.healed.update(cell.fault.name for cell in met)
    else:
        matrix.failed.update({cell: causes(outcome) for cell in met[:1]} if len(met) == 1 else {})
        assert whole(stack.run("destroy")[0])
    assert not marks(stack.cloud), marks(stack.cloud)
    if not whole(outcome) and len(met) > 1:
        for half in dealt(met, 2):
            destroy_from_whole(stack, half, matrix)


def test_a_seeded_share_of_the_matrix_heals_inside_one_up(stack: Faulty) -> None:
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
def test_every_fault_at_every_distinct_call(stack: Faulty, command: str) -> None:
    """At least 99.5 % heal inside one `up`; nothing is there twice, and nothing is left over, however it ended."""
    calls = {"up": stack.calls("up"), "destroy": stack.calls("destroy")}[command]
    print(f"{len(calls)} distinct calls of {command}:", *calls, sep="\n  ")
    matrix, try_one = Matrix(), up_and_away if command == "up" else destroy_from_whole
    for fault in FAULTS.values():
        for hand in dealt([Cell(fault, call) for call in calls], HANDS[command]):
            try_one(stack, hand, matrix)
        print(matrix.table(), flush=True)
    assert all(causes for causes in matrix.failed.values())
    assert command == "destroy" or matrix.share >= HEALED, matrix.table()
