"""Which failed operations of a cluster are tried again, and what is looked up before a create is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster import retries
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
    return retries._free("", type_, WANTED, RUN)


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


def test_a_release_is_left_to_the_next_up_and_a_patch_is_simply_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helm has a record of an install that failed; the fields of a patch are set, not made."""
    server = Server(NOW)
    assert "next `up`" in str(freed(monkeypatch, server, retries.RELEASE))
    assert freed(monkeypatch, server, "kubernetes:core/v1:ServiceAccountPatch") is None
    assert server.deleted == []


def test_every_object_in_the_cluster_has_the_hook() -> None:
    """It is inherited: whoever adds a component need not think of it."""
    found = platforms.recorded("shipped").resources.values()
    asked = [one for one in found if one.type.startswith("kubernetes:")]
    assert len(asked) > 200
    assert {tuple(one.request.hooks.on_error) for one in asked} == {("cluster-retries",)}
    # By it the hook finds an object: a secret would not be shown to it.
    assert not [one.name for one in asked if graph.SECRET in str(one.inputs.get("metadata"))]
