"""The pods of an environment, as the contract of an image has it (`examples/model/README.md`)."""

from typing import Any

from ..releases import Release
from .settings import Environment, Quantities, Settings

CONTAINER = "server"
PORT = 8000
USER = 65534
GRACE = 30
"""Seconds that a pod has to leave: the contract's."""
NAME = "app.kubernetes.io/name"
LOST = 30
"""Seconds after which the pods of a node that cannot be reached are started on another; the cluster's own is 300."""


def selector(settings: Settings) -> str:
    """What finds the pods of a release in an environment's namespace."""
    return f"{NAME}={settings.application}"


def _probe(**bounds: int) -> dict[str, Any]:
    return {"httpGet": {"path": "/healthz", "port": "http"}, **bounds}


def _resources(quantities: Quantities) -> dict[str, str]:
    return {"cpu": quantities.cpu, "memory": quantities.memory}


def _container(settings: Settings, environment: Environment, release: Release) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": f"{settings.image}@{release.digest}",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        # Every second, so that a revert does not wait for a probe.
        "startupProbe": _probe(periodSeconds=1, timeoutSeconds=1, failureThreshold=settings.start_seconds),
        "readinessProbe": _probe(periodSeconds=2, timeoutSeconds=2, failureThreshold=2),
        "livenessProbe": _probe(periodSeconds=10, timeoutSeconds=5, failureThreshold=3),
        "resources": {"requests": _resources(environment.requests), "limits": _resources(environment.limits)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _elsewhere(taint: str) -> dict[str, Any]:
    return {
        "key": f"node.kubernetes.io/{taint}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": LOST,
    }


def _pod(settings: Settings, environment: Environment, release: Release) -> dict[str, Any]:
    labels = {NAME: settings.application}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
        "matchLabelKeys": ["pod-template-hash"],  # else the pods that leave push the new ones together
    }
    secrets = [{"name": name} for name in settings.pull_secrets]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"imagePullSecrets": secrets} if secrets else {}),
        "topologySpreadConstraints": [spread],
        "tolerations": [_elsewhere(taint) for taint in ("not-ready", "unreachable")],
        "containers": [_container(settings, environment, release)],
    }


def deployment(settings: Settings, environment: Environment, release: Release) -> dict[str, Any]:
    """The Deployment. The run is not in its pods: the same image of another run need not restart them."""
    select = {NAME: settings.application}
    labels = {**select, "app.kubernetes.io/version": release.version, "leasehold/environment": environment.name}
    made = {"leasehold/model-version": release.version, "leasehold/revision": release.revision}
    replicas = {} if environment.replicas is None else {"replicas": environment.replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": settings.application,
            "namespace": environment.namespace,
            "labels": labels,
            "annotations": {**made, "leasehold/run": release.run},
        },
        "spec": {
            **replicas,
            "revisionHistoryLimit": 2,
            # The old release serves until the new one does, or for ever if that never happens.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "progressDeadlineSeconds": settings.start_seconds + 60,
            "selector": {"matchLabels": select},
            "template": {
                "metadata": {"labels": labels, "annotations": made},
                "spec": _pod(settings, environment, release),
            },
        },
    }
