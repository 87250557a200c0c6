"""What an environment has whatever runs in it. Pure functions.

The Deployment, and production's route, are not here: they follow from a release, so Git says them
(`apps/delivery/manifests`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import config
from apps import ports

APPLICATION = "application"
"""Name of the Deployment, the Service and all that belongs to them, in every environment."""
LABELS: Mapping[str, str] = {"app.kubernetes.io/name": APPLICATION}
PROJECT = "environments"
"""Argo CD's project of them."""
BRANCH = "main"
FILES = "{deployment,route}.yaml"
BUSY = 70
"""Percent of the CPU that pods ask for: beyond it there are more of them."""


def service(target: config.Target) -> dict[str, Any]:
    """The spec of the Service."""
    port = {"name": "http", "port": ports.SERVICE, "targetPort": "http", "protocol": "TCP"}
    if target.node_port is None:
        return {"selector": dict(LABELS), "ports": [port]}
    return {"type": "NodePort", "selector": dict(LABELS), "ports": [{**port, "nodePort": target.node_port}]}


def budget() -> dict[str, Any]:
    """The spec of the PodDisruptionBudget: a drained node takes one pod at a time."""
    return {"maxUnavailable": 1, "selector": {"matchLabels": dict(LABELS)}}


def autoscaler(target: config.Target, most: int) -> dict[str, Any]:
    """The spec of the HorizontalPodAutoscaler."""
    usage = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": BUSY}},
    }
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APPLICATION},
        "minReplicas": target.replicas,
        "maxReplicas": most,
        "metrics": [usage],
    }


def grant(production: str) -> dict[str, Any]:
    """The spec of the ReferenceGrant by which production's route leads a share of its requests to the canary."""
    return {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": production}],
        "to": [{"group": "", "kind": "Service", "name": APPLICATION}],
    }


def project(repository: str, environments: Sequence[str]) -> dict[str, Any]:
    """The spec of Argo CD's project: two kinds of objects, from one repository, into these namespaces."""
    return {
        "description": "Releases of the model, as the releases repository has them",
        "sourceRepos": [repository],
        "destinations": [{"server": SERVER, "namespace": name} for name in environments],
        "clusterResourceWhitelist": [],
        "namespaceResourceWhitelist": [
            {"group": "apps", "kind": "Deployment"},
            {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"},
        ],
    }


SERVER = "https://kubernetes.default.svc"


def application(repository: str, environment: str, project: str) -> dict[str, Any]:
    """The spec of Argo CD's Application: what Git says is what runs, and nothing else does."""
    return {
        "project": project,
        "source": {
            "repoURL": repository,
            "targetRevision": BRANCH,
            "path": f"environments/{environment}",
            "directory": {"include": FILES},
        },
        "destination": {"server": SERVER, "namespace": environment},
        # Before its first release, and after its last one was withdrawn, an environment is empty.
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True, "allowEmpty": True}},
    }


def reading() -> list[dict[str, Any]]:
    """What whoever measures a release may do where it runs."""
    return [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
