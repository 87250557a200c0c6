"""A stack in a cluster whose API server is behind the fault proxy: a real one, without nodes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import cluster.api as product
from rehearsal.engine import Engine
from rehearsal.providers.kubernetes import api
from tests.rehearsal import api_server
from tests.rehearsal.cluster import Kubectl
from tests.rehearsal.fault_proxy import Fault, Proxy, Tls, common
from tests.rehearsal.faulty import Faulty

CLIENT_SECONDS, STALL, DRIP = 4.0, 6.0, 2.0
"""Instead of 30 s, 60 s and 10 s: the client gives up before the answer of a stalled call comes, and it was done."""
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
FAULTS = common(STALL, DRIP)


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


@contextmanager
def behind(folder: Path) -> Iterator[tuple[Proxy, Kubectl, Path]]:
    """A server; the proxy before it, the way around it, and the kubeconfig that leads through it."""
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
            kubeconfig = folder / "kubeconfig"
            kubeconfig.touch(mode=0o600)
            kubeconfig.write_text(yaml.safe_dump(known))
            yield proxy, kubectl, kubeconfig
