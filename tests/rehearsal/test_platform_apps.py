"""A model in its environments: what Git says is what runs, through promotions, reverts and somebody's changes."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from apps.environments.spec import APPLICATION
from rehearsal.outside.kubectl import KubectlError
from rehearsal.outside.names import names_lead_to
from rehearsal.paths import PROJECT
from tests.rehearsal import models
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.delivery import CANARY, ENVIRONMENTS, PRODUCTION, Delivery, outside
from tests.rehearsal.images import Registry
from tests.rehearsal.models import Client, Model
from tests.rehearsal.services import Platform

ONE, TWO = Model("1", "a" * 40), Model("2", "b" * 40)
TAKES_EFFECT = 30
"""Seconds in which a revert serves, by the project's goal."""
SURVIVES = 15
"""Seconds in which the loss of a node may cost requests, by the project's goal."""
GONE = 45
"""Seconds in which the cluster has noticed that, and taken its pods from the Services."""


@pytest.fixture(scope="module")
def delivery(platform: Platform) -> Delivery:
    """Two versions of the model in the registry."""
    session = platform.session()
    where = "registry/registry-push-login"
    session.auth = (platform.secret(where, "username"), platform.secret(where, "password"))
    registry = Registry(session, platform.url("registry"))
    digests = {}
    register(platform, ONE, TWO)
    for model in (ONE, TWO):
        digests[model.version] = model.digest()
        models.push(registry, f"models/{model.name.lower()}", digests[model.version])
    return Delivery(platform, digests)


def register(platform: Platform, *wanted: Model) -> None:
    """Make versions in MLflow as the pipeline's trainer does, with its account: the model is whose who makes it."""
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    user, password = (platform.secret("workflows/mlflow-client", name) for name in names)
    with platform.mlflow((user, password)) as client:
        name = wanted[0].name
        client.create_registered_model(name)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        for model in wanted:
            run = client.create_run(experiment)
            made = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
            assert made.version == model.version


def test_an_environment_is_empty_before_its_first_release(delivery: Delivery) -> None:
    """Nothing is asked to run an image that is not there; Argo CD says that Git has nothing yet."""
    for name in ENVIRONMENTS:
        assert delivery.kubectl.get("deployments", "-n", name)["items"] == []

    def said(name: str) -> bool:
        status = delivery.kubectl.get("application.argoproj.io", name, "-n", "argocd").get("status") or {}
        return any("unable to resolve" in entry["message"] for entry in status.get("conditions") or [])

    for name in ENVIRONMENTS:
        until(f"{name} to be looked at", partial(said, name), 60)


def test_a_release_goes_through_the_environments_and_each_says_what_it_serves(delivery: Delivery) -> None:
    """First where it is tested, then to the canary by itself, and to production when a person says so."""
    release = delivery.tested(ONE, "first")
    delivery.wait(CANARY, "1")
    assert delivery.answers(PRODUCTION) == ""
    delivery.approve(release)
    delivery.wait(PRODUCTION, "1")
    image = f"{delivery.platform.outputs['registry']}/models/{ONE.name.lower()}@{release.digest}"
    for name in ENVIRONMENTS:
        assert delivery.answers(name) == "1"
        found = delivery.kubectl.get("deployment", APPLICATION, "-n", name)
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_strangers_get_no_prediction(delivery: Delivery) -> None:
    """Every environment asks who it is, production's route from Git too."""
    for name in ENVIRONMENTS:
        reply = delivery.platform.session().get(f"{delivery.url(name)}/version", timeout=10)
        assert reply.status_code == 401, name


NOT_NEEDED = (("argo-workflows", "argo-workflows-workflow-controller"), ("builds", "buildkitd"), ("mlflow", "mlflow"))
"""Namespace and Deployment of what a revert does without."""


@contextmanager
def stopped(kubectl: Kubectl, *deployments: tuple[str, str]) -> Iterator[None]:
    """Without a pod of these while it lasts; afterwards they are ready again."""
    before = {each: kubectl.get("deployment", each[1], "-n", each[0])["spec"]["replicas"] for each in deployments}
    try:
        for space, name in deployments:
            kubectl.run("scale", "deployment", name, "-n", space, "--replicas=0")
        for each in deployments:
            until(f"{each} to be gone", partial(gone, kubectl, *each), 60)
        yield
    finally:
        for (space, name), replicas in before.items():
            kubectl.run("scale", "deployment", name, "-n", space, f"--replicas={replicas}")
        for space, name in before:
            kubectl.run("rollout", "status", f"deployment/{name}", "-n", space, "--timeout=120s", timeout=130)


def gone(kubectl: Kubectl, space: str, name: str) -> bool:
    """Whether a Deployment has no pod."""
    return not kubectl.get("deployment", name, "-n", space)["status"].get("replicas")


def test_promotion_and_revert_lose_no_request_and_a_revert_takes_effect_within_half_a_minute(
    delivery: Delivery, tmp_path: Path
) -> None:
    """The revert is made from outside, by Git alone: the workflow engine, the builder and MLflow are stopped."""
    platform, kubectl = delivery.platform, delivery.kubectl
    settings = outside(delivery, tmp_path)
    with Client(platform.session(PRODUCTION), delivery.url(PRODUCTION)).asking() as client:
        delivery.approve(delivery.tested(TWO, "second"))
        delivery.wait(PRODUCTION, "2")
        with stopped(kubectl, *NOT_NEEDED), names_lead_to(platform.address) as proxy:
            command = [sys.executable, "-m", "delivery", "revert", "--settings", str(settings), "--why", "a test"]
            env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / "apps"), "https_proxy": proxy}
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            began = time.monotonic()
            until("the revert", lambda: delivery.answers(PRODUCTION) == "1", TAKES_EFFECT)
            seconds = time.monotonic() - began
            rolled = ("rollout", "status", f"deployment/{APPLICATION}", "-n", PRODUCTION, "--timeout=90s")
            kubectl.run(*rolled, timeout=100)
        time.sleep(8)  # the pods of the withdrawn version answer while they leave
    print(f"revert: {seconds:.1f} s; {client.answers} answers")
    assert client.failures == {}
    assert client.answers.keys() == {"1", "2"}


def test_what_somebody_changes_in_the_cluster_is_put_back(delivery: Delivery) -> None:
    """An override outside Git would be what nobody tested."""
    kubectl, where = delivery.kubectl, ("deployment", APPLICATION, "-n", PRODUCTION)
    wanted = kubectl.get(*where)["spec"]["replicas"]
    kubectl.run("scale", *where, "--replicas=1")
    until("the replicas", lambda: kubectl.get(*where)["spec"]["replicas"] == wanted, 60)
    kubectl.run("delete", "deployment", APPLICATION, "-n", CANARY, "--cascade=foreground", timeout=90)
    delivery.wait(CANARY, "1")


def test_a_drained_node_costs_no_request(delivery: Delivery) -> None:
    """The disruption budgets and the server's way of leaving, together; the canary has a share of what is asked."""
    kubectl = delivery.kubectl
    pods = [pod for name in (PRODUCTION, CANARY) for pod in kubectl.get("pods", "-n", name)["items"]]
    node = next(pod["spec"]["nodeName"] for pod in pods if not pod["metadata"].get("deletionTimestamp"))
    with Client(delivery.platform.session(PRODUCTION), delivery.url(PRODUCTION)).asking() as client:
        kubectl.run("cordon", node)
        try:
            for pod in pods:
                if pod["spec"]["nodeName"] == node:
                    evict(kubectl, pod["metadata"]["name"], pod["metadata"]["namespace"])
            for name in (PRODUCTION, CANARY):
                rolled = ("rollout", "status", f"deployment/{APPLICATION}", "-n", name, "--timeout=90s")
                kubectl.run(*rolled, timeout=100)
            time.sleep(8)
        finally:
            kubectl.run("uncordon", node)
    assert client.failures == {}
    assert sum(client.answers.values()) > 50


@pytest.mark.long
def test_a_node_without_power_is_asked_by_nobody_after_some_seconds(delivery: Delivery) -> None:
    """Its pods are behind their Services for most of a minute more; the ingress asks another where one is lost."""
    kubectl, machines = delivery.kubectl, delivery.platform.machines
    hosts = delivery.platform.outputs["hosts"]
    [entrance] = [host["name"] for host in hosts if host["ssh_host"] == delivery.platform.address]
    pods = kubectl.get("pods", "-n", PRODUCTION, "--field-selector", "status.phase=Running")["items"]
    names = {pod["spec"]["nodeName"].removeprefix(f"{delivery.platform.stack.name}-") for pod in pods}
    lost = min(names - {entrance})
    with Client(delivery.platform.session(PRODUCTION), delivery.url(PRODUCTION)).asking() as client:
        until("answers", lambda: client.answers, 10)
        began = time.monotonic()
        machines.kill(lost)
        time.sleep(GONE)
    try:
        failures = {f"{at - began:.1f}": said for at, said in client.failures.items()}
        print(f"{lost} lost: {client.answers} answers, failures after {failures}")
        assert all(float(at) <= SURVIVES for at in failures)
        assert sum(client.answers.values()) > 50
    finally:
        machines.reboot(lost)
        until("every node to be Ready", lambda: all(kubectl.ready().values()), 180, 2)
        delivery.platform.recovered()


@pytest.mark.long
def test_a_gpu_lease_that_the_site_ends_costs_no_request_and_one_up_replaces_only_it(delivery: Delivery) -> None:
    """Production is on the nodes of another lease, without a GPU: the fall back is that nothing has to fall."""
    platform = delivery.platform
    stack, machines = platform.stack, platform.machines
    admin = machines.cloud.admin()
    base = admin.session.get_endpoint(service_type="reservation", interface="public")
    with Client(platform.session(PRODUCTION), delivery.url(PRODUCTION)).asking() as client:
        until("answers", lambda: client.answers, 10)
        admin.session.delete(f"{base}/leases/{platform.outputs['leases']['gpu']['id']}")
        until("its machine to be gone", lambda: "gpu1" not in machines.ids(), 120)
        done = stack.run("up")
    made = done.names("create") | done.names("replace") | done.names("delete")
    print(f"measured: {client.answers} answers and {len(client.failures)} failures; {sorted(made)}")
    assert {"Lease gpu", "Instance gpu1"} <= made
    assert {name for name in made if not re.search(r"(Lease gpu|\w+ gpu1(-[\w-]+)?)$", name)} == set()
    assert sum(client.answers.values()) > 100
    assert not client.failures
    assert all(delivery.kubectl.ready().values())
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out


def evict(kubectl: Kubectl, pod: str, space: str) -> None:
    """As a drain does, of some namespaces, again until the budget permits it: other tests' pods stay."""
    metadata = {"name": pod, "namespace": space}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})

    def permitted() -> bool:
        try:
            kubectl.run("create", "--raw", f"/api/v1/namespaces/{space}/pods/{pod}/eviction", "-f", "-", stdin=body)
        except KubectlError as refused:
            if "disruption budget" not in str(refused):
                raise
            return False
        return True

    until(f"{space} to spare {pod}", permitted, 60)
