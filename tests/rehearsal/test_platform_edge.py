"""A second stack registers its cluster with the hub's Argo CD: here the platform's own, as one that exists already."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal.cluster import Kubectl
from tests.rehearsal.services import Platform
from tests.rehearsal.stack import Run, Stack

NAME, SPACE = "edge", "edge-models"
ENVIRONMENT = {
    "cluster": {"kind": "existing"},
    "edge": {"hub": "organization/leasehold/dev", "namespaces": [SPACE]},
}


@dataclass(frozen=True)
class Registered:
    """The edge's stack, and what it told the hub."""

    stack: Stack
    first: Run
    data: dict[str, str]
    """Of the hub's Secret."""


@pytest.fixture(scope="module")
def registered(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registered]:
    """The deployed edge; its end is a test of its own."""
    stack = Stack(platform.stack.root, NAME, tmp_path_factory.mktemp("edge") / f"Pulumi.{NAME}.yaml")
    stack.state.unlink(missing_ok=True)
    stack.write(ENVIRONMENT, kubeconfig=platform.kubectl.kubeconfig.read_text())
    first = stack.run("up")
    data = platform.kubectl.get("secret", f"cluster-{NAME}", "-n", "argocd")["data"]
    yield Registered(stack, first, {key: base64.b64decode(value).decode() for key, value in data.items()})
    stack.run("destroy", code=None)


@pytest.fixture(scope="module")
def as_argo_cd(registered: Registered, platform: Platform) -> Kubectl:
    """kubectl with nothing but what the hub was told."""
    told: dict[str, Any] = json.loads(registered.data["config"])
    cluster = {
        "server": registered.data["server"],
        "certificate-authority-data": told["tlsClientConfig"]["caData"],
    }
    kubeconfig = {
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": told["bearerToken"]}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    }
    return Kubectl.of(platform.stack, json.dumps(kubeconfig))


def test_argo_cd_may_deploy_to_the_named_namespace_and_nowhere_else(as_argo_cd: Kubectl) -> None:
    """By the very token that the hub has."""

    def may(*words: str) -> bool:
        return as_argo_cd.run("auth", "can-i", *words, check=False).splitlines()[-1] == "yes"

    as_argo_cd.run("create", "configmap", "made", "-n", SPACE, "--from-literal=a=b")
    assert may("create", "deployments.apps", "-n", SPACE)
    assert not may("create", "rolebindings.rbac.authorization.k8s.io", "-n", SPACE)
    assert not may("create", "networkpolicies.networking.k8s.io", "-n", SPACE)
    for words in (("create", "deployments.apps"), ("get", "secrets")):
        assert not may(*words, "-n", "mlflow")
        assert not may(*words, "-n", "leasehold-edge")
    assert not may("create", "namespaces")


def test_the_entry_is_for_applications_only(registered: Registered) -> None:
    """Argo CD's default project is shut; what is of the whole cluster is not this entry's."""
    data = {key: value for key, value in registered.data.items() if key not in ("config", "server")}
    expected = {"name": NAME, "project": "applications", "namespaces": SPACE, "clusterResources": "false"}
    assert data == expected


def test_its_token_is_in_no_text(registered: Registered) -> None:
    """Nor is the hub's kubeconfig, of which the state has a copy."""
    token = json.loads(registered.data["config"])["bearerToken"]
    said = registered.first.out + registered.first.err + Path(registered.stack.state).read_text()
    assert token not in said
    assert "client-key-data" not in said


def test_a_second_up_changes_nothing(registered: Registered) -> None:
    """The hub's outputs are read again, and say the same."""
    registered.stack.run("up", "--expect-no-changes")


def test_its_end_takes_its_entry_along(registered: Registered, platform: Platform) -> None:
    """A cluster that is gone would be asked for ever."""
    registered.stack.run("destroy")
    found = platform.kubectl.run("get", "secrets", "-n", "argocd", "-o", "name")
    assert f"cluster-{NAME}" not in found
    assert SPACE not in platform.kubectl.run("get", "namespaces", "-o", "name")
