"""What the parts that are off by default have in common: pods and a Service."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Service

from mlops.base import Base

HOME = "/tmp"  # noqa: S108  a volume of the pod's own
SKIP = {"pulumi.com/skipAwait": "true"}
"""A Service is there before its pod is: nobody waits for it."""


def labels(name: str) -> dict[str, str]:
    """Of the pods of a part."""
    return {"app.kubernetes.io/name": name}


def service(name: str, ports: Mapping[str, int]) -> dict[str, Any]:
    """The spec of a Service: name of a port of the pod to its number, there and here."""
    return {
        "selector": labels(name),
        "ports": [{"name": port, "port": number, "targetPort": port} for port, number in ports.items()],
    }


def template(
    name: str,
    containers: Sequence[Mapping[str, Any]],
    volumes: Sequence[Mapping[str, Any]],
    user: tuple[int, int],
    generation: str,
    **more: Any,
) -> dict[str, Any]:
    """The template of pods, which run as a user and a group without rights; `generation` is their passwords'."""
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            **{"runAsUser": user[0], "runAsGroup": user[1], "fsGroup": user[1]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [dict(container) for container in containers],
        "volumes": [dict(volume) for volume in volumes],
        **more,
    }
    return {"metadata": {"labels": labels(name), "annotations": {"leasehold/rotation": generation}}, "spec": pod}


def one(name: str, pod: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a Deployment of one pod, which goes before its successor comes."""
    return {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels(name)},
        "template": dict(pod),
    }


def probes(path: str, port: str, *, start_seconds: int = 120) -> dict[str, Any]:
    """A container is started when it answers, ready while it does, and started again when it does not for a minute."""
    asked = {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5}
    return {
        "startupProbe": {**asked, "periodSeconds": 5, "failureThreshold": start_seconds // 5},
        "readinessProbe": {**asked, "periodSeconds": 10},
        "livenessProbe": {**asked, "periodSeconds": 20},
    }


def metadata(base: Base, space: str, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Of an object in a namespace."""
    marked = {"annotations": dict(annotations)} if annotations else {}
    return {"name": name, "namespace": base.spaces[space], **marked}


def front(base: Base, space: str, name: str, spec: Mapping[str, Any], parent: pulumi.Resource) -> pulumi.Output[str]:
    """A Service; its name, known when it is there."""
    made = Service(
        f"{name}-service", metadata=metadata(base, space, name, SKIP), spec=dict(spec), opts=base.under(parent)
    )
    known: pulumi.Output[str] = made.id.apply(lambda _: name)
    return known
