"""A cluster of the edge: what it hands the hub, and what it does not."""

import base64
import json
from typing import Any

import pytest

import config
from cluster import edge
from tests.environments import changed, cluster_only, complete, existing
from tests.unit import graph

SECRET, ROLE = "kubernetes:core/v1:Secret", "kubernetes:rbac.authorization.k8s.io/v1:Role"
PROVIDER = "pulumi:providers:kubernetes"
ASKED = {"hub": "organization/leasehold/dev", "namespaces": ["models", "cameras"]}
ADMIN = json.dumps(
    {
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": "https://e:6443", "certificate-authority-data": "Y2E="}}],
        "users": [{"name": "u", "user": {"client-key-data": "canary-admin"}}],
    }
)


@pytest.fixture(scope="module")
def recorded() -> graph.Graph:
    return graph.record(changed(existing(), {"edge": ASKED}), kubeconfig=graph.KUBECONFIG)


def test_the_hub_gets_a_token_and_nothing_of_the_administrators() -> None:
    """Argo CD finds the cluster, trusts its certificate, and stays in the named namespaces."""
    token = base64.b64encode(b"canary-token").decode()
    data = edge.registration("shop", [ADMIN, {"token": token}, "cameras", "models"])
    assert json.loads(data.pop("config")) == {"bearerToken": "canary-token", "tlsClientConfig": {"caData": "Y2E="}}
    assert data == {
        "name": "shop",
        "server": "https://e:6443",
        "project": "applications",
        "namespaces": "cameras,models",
        "clusterResources": "false",
    }


def test_the_entry_is_a_secret_in_the_hubs_argo_cd(recorded: graph.Graph) -> None:
    """By the hub's own kubeconfig, which stays a secret too."""
    entry = recorded.one(SECRET, "edge-cluster")
    metadata = graph.unwrapped(entry.inputs)["metadata"]
    assert metadata["namespace"] == "argocd"
    assert metadata["labels"] == {"argocd.argoproj.io/secret-type": "cluster"}
    assert graph.is_secret(entry.inputs["stringData"])
    hub = recorded.one(PROVIDER, "edge-hub")
    assert graph.is_secret(hub.inputs["kubeconfig"])
    assert "edge-hub" in entry.request.provider


def test_the_end_of_an_edge_needs_no_hub(recorded: graph.Graph) -> None:
    """A hub that is gone must not keep a cluster from being destroyed."""
    assert graph.unwrapped(recorded.one(PROVIDER, "edge-hub").inputs)["deleteUnreachable"] == "true"


def test_it_may_do_what_applications_need_and_nothing_by_a_wildcard(recorded: graph.Graph) -> None:
    """Not what bounds a namespace, nor what gives rights."""
    roles = [graph.unwrapped(recorded.one(ROLE, f"{space}-edge-role").inputs) for space in ASKED["namespaces"]]
    assert {role["metadata"]["namespace"] for role in roles} == set(ASKED["namespaces"])
    words: set[str] = set()
    for role in roles:
        for rule in role["rules"]:
            words |= {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
    assert "*" not in words
    assert not words & {"roles", "rolebindings", "resourcequotas", "limitranges", "networkpolicies", "namespaces"}
    assert not words & {"pods/exec", "impersonate", "escalate", "bind"}


@pytest.mark.parametrize(
    ("changes", "key", "rule"),
    [
        ({"edge.namespaces": ["kube-system"]}, "edge.namespaces", "of Kubernetes or of this project"),
        ({"edge.hub": "dev"}, "edge.hub", "pattern"),
        ({"cluster.api": "bastion"}, "cluster.api", "at a public address only"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(changes: dict[str, Any], key: str, rule: str) -> None:
    """Each with what to do."""
    tree = changed({**cluster_only(), "edge": ASKED}, changes)
    _, problems = config.validate(complete(tree), graph.RULES)
    assert [key] == [problem.key for problem in problems]
    assert rule in str(problems[0])
