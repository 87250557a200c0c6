"""A part of the platform is lost: an alert sees it within a minute, one `up` brings it back, and what it kept is there.

What somebody deletes is an object of ours, or one of a chart's, which Helm would never miss.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.rehearsal.cluster import until
from tests.rehearsal.kept import Kept
from tests.rehearsal.services import Platform

pytestmark = pytest.mark.long  # some two minutes each
DETECTION = 60
"""Seconds until an alert waits for its time, by the project's goal."""


@dataclass(frozen=True)
class Loss:
    """What is deleted, and where that is seen."""

    space: str
    objects: tuple[str, ...]
    """KIND/NAME, or KIND --all."""
    job: str
    """Whose metrics are missed then."""


LOSSES: Mapping[str, Loss] = {
    "the registry": Loss("registry", ("statefulset/registry-push", "statefulset/registry-pull"), "registry"),
    "the object store": Loss("object-store", ("statefulset/object-store",), "object-store"),
    "MLflow": Loss("mlflow", ("deployment/mlflow", "service/mlflow"), "mlflow"),
    "Argo Workflows": Loss("argo-workflows", ("deployment/argo-workflows-workflow-controller",), "argo-workflows"),
    "Argo CD": Loss(
        "argocd", ("statefulset/argocd-application-controller", "deployments --all"), "argocd-application-controller"
    ),
    "a part of Argo CD": Loss("argocd", ("deployment/argocd-server",), "argocd-server"),
}


def lose(platform: Platform, loss: Loss) -> None:
    """Delete it, its pods included."""
    for name in loss.objects:
        platform.kubectl.run("delete", *name.split(), "-n", loss.space, "--wait=true", "--timeout=60s", timeout=90)


def noticed(platform: Platform, job: str) -> bool:
    """Whether an alert about a job waits for its time, or fires."""
    return bool(platform.alerts("TargetDown", job=job))


@pytest.fixture
def kept(platform: Platform, tmp_path: Path) -> Kept:
    with platform.mlflow() as client:
        return Kept.written(client, platform, tmp_path)


@pytest.mark.parametrize("part", LOSSES)
def test_a_part_that_somebody_deletes_is_missed_and_comes_back(
    platform: Platform, kept: Kept, part: str, tmp_path: Path
) -> None:
    """Statement 5 of the drills: seen within a minute, repaired by one `up`, and nothing acknowledged is lost."""
    loss = LOSSES[part]
    until("no alert before", lambda: not noticed(platform, loss.job), 120, 5)
    started = time.monotonic()
    lose(platform, loss)
    until("the alert", lambda: noticed(platform, loss.job), DETECTION + 30, 1)
    detected = time.monotonic() - started
    begun = time.monotonic()
    platform.stack.run("up")
    repaired = time.monotonic() - begun
    print(f"measured: {part} deleted, noticed after {detected:.0f} s; `up` of {repaired:.0f} s")
    assert detected <= DETECTION
    platform.recovered()
    with platform.mlflow() as client:
        kept.check(client, platform, tmp_path)
    until("its metrics", lambda: not noticed(platform, loss.job), 120, 5)


def test_the_operator_of_the_databases_and_their_pod_come_back(platform: Platform, kept: Kept, tmp_path: Path) -> None:
    """Nobody but the operator makes the pod anew; without it, a database that ends stays away."""
    kubectl = platform.kubectl
    kubectl.run("delete", "deployment/cloudnative-pg", "-n", "cnpg-system", "--wait=true", timeout=90)
    started = time.monotonic()
    kubectl.run("delete", "pod/postgres-1", "-n", "postgres", "--wait=true", timeout=90)
    until("the alert", lambda: noticed(platform, "postgres"), DETECTION + 30, 1)
    detected = time.monotonic() - started
    platform.stack.run("up")
    platform.recovered()
    print(f"measured: the databases gone, noticed after {detected:.0f} s")
    assert detected <= DETECTION
    with platform.mlflow() as client:
        kept.check(client, platform, tmp_path)


def test_an_ingress_that_somebody_deletes_comes_back(platform: Platform, kept: Kept, tmp_path: Path) -> None:
    """Everybody outside sees it at once: that is its detection."""

    def silent() -> bool:
        try:
            platform.get("mlflow")
        except requests.ConnectionError:
            return True
        return False

    platform.kubectl.run("delete", "daemonset/traefik", "-n", "ingress", "--wait=true", timeout=90)
    until("no answer", silent, DETECTION, 1)
    platform.stack.run("up")
    platform.recovered()
    with platform.mlflow() as client:
        kept.check(client, platform, tmp_path)
    assert "nothing changed" in platform.stack.run("up", "--expect-no-changes").out
