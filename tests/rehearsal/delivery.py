"""The environments of a model as tests use them: steps in pods, what is served, and a person's computer outside."""

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import versions
from apps import package, steps
from apps.delivery import gate
from apps.delivery.releases import Release, written
from rehearsal.outside.workflows import SPACE
from tests.environments import dev
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.models import Model
from tests.rehearsal.services import Platform

ENVIRONMENTS = tuple(dev()["apps"]["environments"])
STAGING, CANARY, PRODUCTION = ENVIRONMENTS
PASSED = gate.Decision(tuple(gate.Verdict(test, gate.Outcome.PASSED, "") for test in gate.Test))
SECONDS = 120
ROLLED_OUT = ("replicas", "updatedReplicas", "availableReplicas")
"""Counts of a Deployment's status that are those of its spec when all of its pods are of its newest template."""


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
        return str(self.platform.outputs["environments"][environment]["url"])

    def answers(self, environment: str) -> str:
        """The version that answers at its host name, which for production is the canary's now and then."""
        return self.platform.version(environment)

    def version(self, environment: str) -> str:
        """The version of its own pods; empty where it has none, or while they are being replaced."""
        for found in self.kubectl.get("deployments", "-n", environment)["items"]:
            status, wanted = found["status"], found["spec"]["replicas"]
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            if current and all(status.get(key) == wanted for key in ROLLED_OUT):
                return str(found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"])
        return ""

    def wait(self, environment: str, version: str) -> None:
        """Until all of its pods serve a version, and it answers at the environment's host name."""
        until(
            f"{environment} to serve {version}",
            lambda: self.version(environment) == self.answers(environment) == version,
            SECONDS,
        )

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
