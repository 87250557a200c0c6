"""Faults of a cluster's API server at every distinct call of an `up` and of a `destroy`: a real one behind the proxy.

The stack is the cluster layer on a cluster that exists: namespaces with all that guards them, and a reader's account.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import cluster.api as product
from rehearsal.engine import Engine
from rehearsal.paths import Root
from rehearsal.providers.kubernetes import api
from tests.environments import as_file
from tests.rehearsal import api_server
from tests.rehearsal.cluster import Kubectl
from tests.rehearsal.fault_proxy import Fault, Proxy, Tls, faults
from tests.rehearsal.faulty import NAME, Cell, Faulty, Matrix, up_and_away, whole_matrix

CLIENT_SECONDS, STALL, DRIP = 4.0, 6.0, 2.0
"""Instead of 30 s, 60 s and 10 s: the client gives up before the answer of a stalled call comes, and it was done."""
HANDS = {"up": 2, "destroy": 1}
HEALED = 0.995
SERVICE = "cluster"
KINDS = "namespaces,resourcequotas,limitranges,networkpolicies,serviceaccounts,secrets,roles,rolebindings"
MANAGER = "pulumi-kubernetes"
REASONS = {
    409: ("Conflict", "Operation cannot be fulfilled on x: the object has been modified; please apply your changes"),
    429: ("TooManyRequests", "too many requests, please try again later"),
    500: ("InternalError", "Internal error occurred: etcdserver: leader changed"),
    504: ("Timeout", "Timeout: request did not complete within requested timeout - context deadline exceeded"),
}
"""What an API server says with these; with the others nothing of Kubernetes is said, as by a load balancer."""
FAULTS = [fault for name, fault in faults(STALL, DRIP).items() if name != "409 in use"]


def said(fault: Fault) -> object:
    """The body of an answer with a fault."""
    if fault.status not in REASONS:
        return "made by the fault proxy"
    reason, message = REASONS[fault.status]
    return {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": fault.status}


@dataclass
class FaultyCluster(Faulty):
    """One of a cluster that exists."""

    kubectl: Kubectl

    def engine(self) -> Engine:
        """It asks anew which kinds there are."""
        api._client.cache_clear()
        return super().engine()

    def marks(self) -> Counter[str]:
        """What the provider has made."""
        found = self.kubectl.get(KINDS, "-A", "--show-managed-fields")["items"]
        return Counter(
            f"{item['kind']} {item['metadata'].get('namespace', '')}/{item['metadata']['name']}"
            for item in found
            if any(entry["manager"].startswith(MANAGER) for entry in item["metadata"].get("managedFields", []))
        )


@pytest.fixture(scope="module")
def stack(root: Root, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyCluster]:
    folder = tmp_path_factory.mktemp("faulty-cluster")
    with pytest.MonkeyPatch.context() as patch, api_server.running(controllers=True) as kubectl:
        for module in (api, product):
            patch.setattr(module, "ANSWER_SECONDS", CLIENT_SECONDS)
        tls = kubectl.kubeconfig.parent / "tls"
        known: dict[str, Any] = yaml.safe_load(kubectl.kubeconfig.read_text())
        port = urlsplit(known["clusters"][0]["cluster"]["server"]).port
        assert port
        shown = Tls(tls / "apiserver.crt", tls / "apiserver.key")
        with Proxy({SERVICE: port}, shown, said).serving() as proxy:
            known["clusters"][0]["cluster"]["server"] = f"{proxy.url}/{SERVICE}"
            kubeconfig, file = folder / "kubeconfig", folder / f"Pulumi.{NAME}.yaml"
            kubeconfig.touch(mode=0o600)
            kubeconfig.write_text(yaml.safe_dump(known))
            readers = {"grace": {"namespaces": ["default"]}}
            wanted = {"kind": "existing", "kubeconfig_file": str(kubeconfig), "readers": readers}
            file.write_text(as_file({"cluster": wanted}))
            with FaultyCluster(root, proxy, file, kubectl).emptied() as stack:
                yield stack


def test_a_bad_minute_of_an_api_server_heals_inside_one_up(stack: FaultyCluster) -> None:
    """Different faults at different calls, all in one run."""
    space = "/api/v1/namespaces/leasehold-readers"
    kinds = {fault.name: fault for fault in FAULTS}
    wanted = {
        "POST cluster /api/v1/namespaces": "reset after",
        f"POST cluster {space}/resourcequotas": "503",
        f"POST cluster {space}/limitranges": "reset before",
        "GET cluster /apis/networking.k8s.io/v1": "502",
        f"POST cluster {space}/serviceaccounts": "500",
        f"POST cluster {space}/secrets": "504",
    }
    matrix = Matrix()
    up_and_away(stack, [Cell(kinds[fault], call) for call, fault in wanted.items()], matrix)
    print(matrix.table())
    assert not matrix.failed, matrix.table()
    assert sum(matrix.healed.values()) == len(wanted), matrix.unmet


@pytest.mark.long
@pytest.mark.parametrize("command", ["up", "destroy"])
def test_every_fault_at_every_distinct_call(stack: FaultyCluster, command: str) -> None:
    """At least 99.5 % heal inside one `up`; nothing is left over, however it ended."""
    matrix = whole_matrix(stack, command, FAULTS, HANDS[command])
    assert all(causes for causes in matrix.failed.values())
    assert command == "destroy" or matrix.share >= HEALED, matrix.table()
