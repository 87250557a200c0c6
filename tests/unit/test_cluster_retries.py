"""Which failed operations of a cluster are tried again, and what is looked up before a create is."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster import records, retries
from cluster.api import NOT_FOUND, ApiError
from tests.unit import graph, platforms

NOW = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC)
KIND = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
WANTED = {**KIND, "metadata": {"name": "leasehold", "namespace": "mlflow"}}
PATH = "/apis/networking.k8s.io/v1/namespaces/mlflow/networkpolicies/leasehold"
KINDS = [
    {"name": "networkpolicies/status", "kind": "NetworkPolicy", "namespaced": True},
    {"name": "networkpolicies", "kind": "NetworkPolicy", "namespaced": True},
]
RUN = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        ("resource x was not successfully created: the server is currently unable to handle the request", True),
        ('an error on the server ("bad gateway") has prevented the request from succeeding (post secrets)', True),
        ('Post "https://10.0.0.1:6443/api/v1/namespaces": dial tcp 10.0.0.1:6443: connect: connection refused', True),
        ("Client.Timeout exceeded while awaiting headers", True),
        ("Timeout: request did not complete within requested timeout - context deadline exceeded", True),
        ("Operation cannot be fulfilled on resourcequotas: the object has been modified; please apply", True),
        ("the API server https://10.0.0.1:6443 does not answer (ProtocolError)", True),
        ("uninstall failed: failed to delete release: web", True),
        ('secrets "x" is forbidden: exceeded quota: leasehold, requested: secrets=1', False),
        ('Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas', False),
        ("Deployment x did not become live: Back-off: Get http://10.42.0.1: connection refused", False),
        ('the Kubernetes API server reported that "x" failed to fully initialize or become live: EOF', False),
        ("Release mlflow: timed out waiting for the condition: context deadline exceeded", False),
    ],
)
def test_only_what_may_be_otherwise_a_moment_later_is_tried_again(error: str, passes: bool) -> None:
    """In the words of client-go and in the rehearsal's. Ten minutes of waiting for a pod are not begun anew."""
    assert retries.may_pass(error) is passes


class Server:
    """Answers by path, with its clock; a deletion is remembered and carried out."""

    def __init__(self, made: datetime | None = None, manager: str = "pulumi-kubernetes-1a2b3c4d") -> None:
        self.answers: dict[str, Any] = {"/apis/networking.k8s.io/v1": {"resources": KINDS}}
        self.deleted: list[Any] = []
        if made:
            metadata = {"name": "leasehold", "uid": "u", "creationTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ")}
            self.answers[PATH] = {"metadata": {**metadata, "managedFields": [{"manager": manager}]}}

    def time(self) -> datetime:
        return NOW

    def call(self, method: str, path: str, *, body: Any = None) -> Any:
        if path not in self.answers:
            raise ApiError("not found", NOT_FOUND)
        if method == "DELETE":
            self.deleted.append(body["preconditions"])
            return self.answers.pop(path)
        return self.answers[path]


def freed(monkeypatch: pytest.MonkeyPatch, server: Server, type_: str = "kubernetes:networking.k8s.io/v1:X") -> Any:
    monkeypatch.setattr(retries, "Api", lambda _kubeconfig: server)
    monkeypatch.setattr(retries, "POLL_SECONDS", 0.0)
    way = retries._way(type_, "create")
    return retries._free("", way, WANTED, RUN) if way else None


def test_a_create_is_repeated_after_what_it_made_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider refuses what exists already. Exactly that object is removed, and no other of its name."""
    server = Server(NOW - RUN / 2)
    assert freed(monkeypatch, server) is None
    assert server.deleted == [{"uid": "u"}]
    assert freed(monkeypatch, Server()) is None, "it was never made"


@pytest.mark.parametrize(
    ("server", "why"),
    [(Server(NOW - RUN * 2), "older than this run"), (Server(NOW, "kubectl-create"), "not of this stack")],
)
def test_what_is_older_or_somebody_else_s_is_not_touched(
    monkeypatch: pytest.MonkeyPatch, server: Server, why: str
) -> None:
    """A state that is an older copy does not know of it: a failed create must not delete it."""
    assert why in str(freed(monkeypatch, server))
    assert server.deleted == []


def test_a_patch_is_simply_repeated() -> None:
    """Fields are set, not made. So it is with changes, and with deletions."""
    assert retries._way("kubernetes:core/v1:ServiceAccountPatch", "create") is None
    assert retries._way("kubernetes:core/v1:ConfigMap", "update") is None
    assert retries._way(retries.RELEASE, "delete") is None


def record(status: str) -> dict[str, Any]:
    """Helm's, of a first revision, made by this run."""
    content = {"name": "web", "info": {"status": status, "description": "x"}, "manifest": "kind: ConfigMap"}
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(content).encode()))).decode()
    metadata = {
        **{"name": "sh.helm.release.v1.web.v1", "namespace": "mlflow", "uid": "u", "resourceVersion": "7"},
        "creationTimestamp": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "labels": {"owner": "helm", "name": "web", "status": status, "version": "1"},
    }
    return {"metadata": metadata, "type": "helm.sh/release.v1", "data": {"release": packed}}


class Helm:
    """An API server with one record of helm's, or none."""

    def __init__(self, status: str | None, now: datetime = NOW) -> None:
        self.records, self._now = [record(status)] if status else [], now
        self.written: list[dict[str, Any]] = []

    def time(self) -> datetime:
        return self._now

    def call(self, method: str, path: str, query: Any = None, body: Any = None, *, brief: bool = False) -> Any:
        if method == "PUT":
            self.written.append(body)
            return body
        if path.endswith(".v1"):
            return self.records[0]
        assert brief, "a record holds the whole manifest"
        assert query == {"labelSelector": "owner=helm,name=web"}
        return {"items": self.records or None}


def settled(monkeypatch: pytest.MonkeyPatch, helm: Helm) -> str | None:
    monkeypatch.setattr(retries, "Api", lambda _kubeconfig: helm)
    way = retries._way(retries.RELEASE, "update")
    assert way
    return retries._free("", way, {"name": "web", "namespace": "mlflow"}, RUN)


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade"])
def test_a_release_is_tried_again_once_its_record_says_that_it_failed(
    monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """Helm refuses every operation while another one is said to be under way. Nothing else of the record changes."""
    helm = Helm(status)
    assert settled(monkeypatch, helm) is None
    [written] = helm.written
    assert written["metadata"]["labels"]["status"] == "failed"
    assert written["metadata"]["resourceVersion"] == "7", "another one's change is not written over"
    before, after = (records.content(one) for one in (record(status), written))
    assert after == {**before, "info": {**before["info"], "status": "failed"}}


@pytest.mark.parametrize("status", [None, "failed", "deployed"])
def test_another_record_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, status: str | None) -> None:
    """There was none yet, or helm has said itself how it ended."""
    helm = Helm(status)
    assert settled(monkeypatch, helm) is None
    assert not helm.written


def test_an_operation_that_another_run_began_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may still be at work."""
    helm = Helm("pending-upgrade", NOW + RUN * 2)
    assert "for longer than this run lasts" in str(settled(monkeypatch, helm))
    assert not helm.written


def test_every_object_in_the_cluster_has_the_hook() -> None:
    """It is inherited: whoever adds a component need not think of it."""
    found = platforms.recorded("shipped").resources.values()
    asked = [one for one in found if one.type.startswith("kubernetes:")]
    assert len(asked) > 200
    assert {tuple(one.request.hooks.on_error) for one in asked} == {("cluster-retries",)}
    # By it the hook finds an object: a secret would not be shown to it.
    assert not [one.name for one in asked if graph.SECRET in str(one.inputs.get("metadata"))]
