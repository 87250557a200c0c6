"""Faults of a cluster's API server at every distinct call of an `up` and of a `destroy`: a real one behind the proxy.

The stack is the cluster layer on a cluster that exists: namespaces with all that guards them, and a reader's account.
"""

from collections.abc import Iterator

import pytest

from rehearsal.paths import Root
from tests.environments import as_file
from tests.rehearsal.faulty import NAME, Cell, Matrix, up_and_away, whole_matrix
from tests.rehearsal.faulty_cluster import FAULTS, FaultyCluster, behind

HANDS = {"up": 2, "destroy": 1}
HEALED = 0.995


@pytest.fixture(scope="module")
def stack(root: Root, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyCluster]:
    folder = tmp_path_factory.mktemp("faulty-cluster")
    with behind(folder) as (proxy, kubectl, kubeconfig):
        file = folder / f"Pulumi.{NAME}.yaml"
        readers = {"grace": {"namespaces": ["default"]}}
        wanted = {"kind": "existing", "kubeconfig_file": str(kubeconfig), "readers": readers}
        file.write_text(as_file({"cluster": wanted}))
        with FaultyCluster(root, proxy, file, kubectl).emptied() as stack:
            yield stack


def test_a_bad_minute_of_an_api_server_heals_inside_one_up(stack: FaultyCluster) -> None:
    """Different faults at different calls, all in one run."""
    space = "/api/v1/namespaces/leasehold-readers"
    wanted = {
        "POST cluster /api/v1/namespaces": "reset after",
        f"POST cluster {space}/resourcequotas": "503",
        f"POST cluster {space}/limitranges": "reset before",
        "GET cluster /apis/networking.k8s.io/v1": "502",
        f"POST cluster {space}/serviceaccounts": "500",
        f"POST cluster {space}/secrets": "504",
    }
    matrix = Matrix()
    up_and_away(stack, [Cell(FAULTS[fault], call) for call, fault in wanted.items()], matrix)
    print(matrix.table())
    assert not matrix.failed, matrix.table()
    assert sum(matrix.healed.values()) == len(wanted), matrix.unmet


@pytest.mark.long
@pytest.mark.parametrize("command", ["up", "destroy"])
def test_every_fault_at_every_distinct_call(stack: FaultyCluster, command: str) -> None:
    """At least 99.5 % heal inside one `up`; nothing is left over, however it ended."""
    matrix = whole_matrix(stack, command, FAULTS.values(), HANDS[command])
    assert all(causes for causes in matrix.failed.values())
    assert command == "destroy" or matrix.share >= HEALED, matrix.table()
