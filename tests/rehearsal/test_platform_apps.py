"""A model in its environments: what Git says is what runs, through promotions, reverts and somebody's changes."""

import json
import os
import select
import shlex
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import versions
from apps import package, steps
from apps.delivery import gate
from apps.delivery.releases import Release, written
from apps.environments.spec import APPLICATION
from rehearsal.paths import PROJECT
from tests.environments import dev
from tests.rehearsal import models
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.images import Registry
from tests.rehearsal.models import Client, Model
from tests.rehearsal.services import Platform

SPACE = "workflows"
ENVIRONMENTS = tuple(dev()["apps"]["environments"])
STAGING, CANARY, PRODUCTION = ENVIRONMENTS
ONE, TWO = Model("1", "a" * 40), Model("2", "b" * 40)
PASSED = gate.Decision(tuple(gate.Verdict(test, gate.Outcome.PASSED, "") for test in gate.Test))
SECONDS = 120
TAKES_EFFECT = 30
"""Seconds in which a revert serves, by the project's goal."""


@dataclass(frozen=True)
class Delivery:
    """The environments, and the steps that change what runs in them."""

    platform: Platform
    digests: dict[str, str]

    @property
    def kubectl(self) -> Kubectl:
        return self.platform.kubectl

    def release(self, model: Model, run: str) -> Release:
        return Release(self.digests[model.version], model.version, model.revision, run)

    def url(self, environment: str) -> str:
        return str(self.platform.outputs["environments"][environment])

    def version(self, environment: str) -> str:
        """What it serves, by its host name and with its password; empty where it serves nothing."""
        said = models.served(self.platform.session(environment), self.url(environment))
        return str(said["model_version"]) if said else ""

    def wait(self, environment: str, version: str, seconds: float = SECONDS) -> float:
        """Seconds until it serves a version."""
        began = time.monotonic()
        until(f"{environment} to serve {version}", lambda: self.version(environment) == version, seconds)
        return time.monotonic() - began

    def step(self, step: str, *words: str, **files: Any) -> str:
        """Run a step in a pod, where workflows run, as a workflow would; what it said."""
        name = f"step-{time.time_ns()}"
        env = [{"name": key.upper(), "value": written(value)} for key, value in files.items()]
        lines = [f'printf %s "${key.upper()}" > /work/{key}.json' for key in files]
        given = " ".join([shlex.join(words), *(f"--{key} /work/{key}.json" for key in files)])
        call = f"python3 -m delivery {step} --settings /etc/delivery/settings.json --who test {given}"
        # As a workflow tries again: a new pod's network policy is not in force in its first second.
        lines += [
            f"for pause in 1 2 4 8; do code=0; {call} || code=$?",
            "[ $code = 1 ] || exit $code; sleep $pause; done",
        ]
        lines.append("exit 1")
        [program] = [
            item["metadata"]["name"]
            for item in self.kubectl.get("configmaps", "-n", SPACE)["items"]
            if item["metadata"]["name"].startswith(f"{steps.PACKAGE}-")
        ]
        volumes: dict[str, dict[str, Any]] = {
            "package": {"configMap": {"name": program}},
            "settings": {"configMap": {"name": steps.SETTINGS}},
            "tokens": {"secret": {"secretName": steps.TOKENS, "defaultMode": 0o440}},
            "tmp": {"emptyDir": {}},
        }
        mounts = {"package": "/srv", "settings": "/etc/delivery", "tokens": "/run/tokens", "tmp": "/work"}
        user = {"runAsNonRoot": True, "runAsUser": 65534, "fsGroup": 65534}
        container = {
            "name": "step",
            "image": versions.PYTHON_GIT.tagged,
            "command": ["/bin/sh", "-ec", "\n".join(lines)],
            "env": [{"name": "PYTHONPATH", "value": f"/srv/{package.ARCHIVE}"}, *env],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": key, "mountPath": path} for key, path in mounts.items()],
        }
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [{"name": key, **value} for key, value in volumes.items()],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SPACE}, "spec": spec}
        self.kubectl.apply(json.dumps(pod))

        def ended() -> str:
            phase: str = self.kubectl.get("pod", name, "-n", SPACE)["status"]["phase"]
            return phase if phase in ("Succeeded", "Failed") else ""

        phase = until(f"the step {step}", ended, SECONDS)
        said = self.kubectl.run("logs", name, "-n", SPACE)
        self.kubectl.run("delete", "pod", name, "-n", SPACE, "--wait=false")
        assert phase == "Succeeded", said
        return said

    def tested(self, model: Model, run: str) -> Release:
        """A release that is built, serves in the first environment and has passed its gate."""
        release = self.release(model, run)
        self.step("built", release=release)
        self.step("serving", "--environment", STAGING, release=release)
        self.step("gate-ended", release=release, decision=PASSED)
        return release

    def approve(self, release: Release) -> None:
        self.step("approve", "--digest", release.digest, "--run", release.run, "--why", "a test")


@pytest.fixture(scope="module")
def delivery(platform: Platform) -> Delivery:
    """Two versions of the model in the registry."""
    session = platform.session()
    where = "registry/registry-push-login"
    session.auth = (platform.secret(where, "username"), platform.secret(where, "password"))
    registry = Registry(session, platform.url("registry"))
    digests = {}
    for model in (ONE, TWO):
        digests[model.version] = model.digest()
        models.push(registry, f"models/{model.name.lower()}", digests[model.version])
    return Delivery(platform, digests)


class _Tunnel(socketserver.BaseRequestHandler):
    """CONNECT to any name, at the address that all names of the domain lead to."""

    address = ""

    def handle(self) -> None:
        asked = self.request.recv(4096).decode().split()[1]
        with socket.create_connection((self.address, int(asked.partition(":")[2])), 10) as upstream:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            pair = {self.request: upstream, upstream: self.request}
            while True:
                for ready in select.select(list(pair), [], [], 60)[0]:
                    content = ready.recv(65536)
                    if not content:
                        return
                    pair[ready].sendall(content)


@contextmanager
def names_lead_to(address: str) -> Iterator[str]:
    """A proxy that stands in for the DNS record of the domain, for programs that are not this process."""
    handler = type("Bound", (_Tunnel,), {"address": address})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def outside(delivery: Delivery, folder: Path) -> Path:
    """The settings of an operator's computer: those of the pods, with the address and login of a person."""
    platform = delivery.platform
    user, password = platform.password("git")
    (folder / "token").write_text(password)
    settings = json.loads(platform.outputs["delivery"])
    settings["repository"] |= {
        "url": f"{platform.url('git')}/releases.git",
        "unencrypted": False,
        "authority": str(platform.authority),
        "login": {"user": user, "token": str(folder / "token")},
    }
    file = folder / "settings.json"
    file.write_text(json.dumps(settings))
    return file


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
    assert delivery.version(PRODUCTION) == ""
    delivery.approve(release)
    delivery.wait(PRODUCTION, "1")
    image = f"{delivery.platform.outputs['registry']}/models/{ONE.name.lower()}@{release.digest}"
    for name in ENVIRONMENTS:
        assert delivery.version(name) == "1"
        found = delivery.kubectl.get("deployment", APPLICATION, "-n", name)
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_strangers_get_no_prediction(delivery: Delivery) -> None:
    """Every environment asks who it is, production's route from Git too."""
    for name in ENVIRONMENTS:
        reply = delivery.platform.session().get(f"{delivery.url(name)}/version", timeout=10)
        assert reply.status_code == 401, name


def test_promotion_and_revert_lose_no_request_and_a_revert_takes_effect_within_half_a_minute(
    delivery: Delivery, tmp_path: Path
) -> None:
    """The revert is made from outside, by Git alone: the workflow engine is stopped, and no pod of ours helps."""
    platform, kubectl = delivery.platform, delivery.kubectl
    settings = outside(delivery, tmp_path)
    engine = ("deployment/argo-workflows-workflow-controller", "-n", "argo-workflows")
    with Client(platform.session(PRODUCTION), delivery.url(PRODUCTION)).asking() as client:
        delivery.approve(delivery.tested(TWO, "second"))
        delivery.wait(PRODUCTION, "2")
        kubectl.run("scale", *engine, "--replicas=0")
        try:
            with names_lead_to(platform.address) as proxy:
                command = [sys.executable, "-m", "delivery", "revert", "--settings", str(settings), "--why", "a test"]
                env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT / "apps"), "https_proxy": proxy}
                done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
            seconds = delivery.wait(PRODUCTION, "1", TAKES_EFFECT)
            rolled = ("rollout", "status", f"deployment/{APPLICATION}", "-n", PRODUCTION, "--timeout=90s")
            kubectl.run(*rolled, timeout=100)
        finally:
            kubectl.run("scale", *engine, "--replicas=1")
        time.sleep(8)  # the pods of the withdrawn version answer while they leave
    print(f"revert: {seconds:.1f} s; {client.answers} answers")
    assert client.failures == []
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
    assert client.failures == []
    assert sum(client.answers.values()) > 50


def evict(kubectl: Kubectl, pod: str, space: str) -> None:
    """As a drain does, of some namespaces, again until the budget permits it: other tests' pods stay."""
    metadata = {"name": pod, "namespace": space}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})

    def permitted() -> bool:
        try:
            kubectl.run("create", "--raw", f"/api/v1/namespaces/{space}/pods/{pod}/eviction", "-f", "-", stdin=body)
        except AssertionError as refused:
            if "disruption budget" not in str(refused):
                raise
            return False
        return True

    until(f"{space} to spare {pod}", permitted, 60)


def test_what_runs_belongs_to_git_and_a_second_up_changes_nothing(delivery: Delivery) -> None:
    """After promotions and reverts, too."""
    again = delivery.platform.stack.run("preview")
    assert again.count("create") == again.count("update") == again.count("delete") == again.count("replace") == 0
