"""The pods of a Ray cluster. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import config
from apps import extras, pages, ports
from mlops.pods import hardened, mount

SPACE = extras.RAY
HEAD, WORKER = "ray-head", "ray-worker"
TOKEN, CLIENT = "ray-token", "ray-client"
"""Secrets: the token, in the cluster's namespace; what a training is told of it, in that of workflows."""
FOLDER, PROGRAM = "/run/ray", "/srv/ray"
USER = (1000, 100)
"""`ray` of upstream's image, whose Python is in the user's home."""
HEALTH = "/api/gcs_healthz"
AGENT = 52365
"""Port at which each node says how it is."""
START_SECONDS = 600
PATIENCE = 60
"""Looks for the head, each of which takes Ray some seconds."""
DRAIN_SECONDS = 60
MEBIBYTES = 1024
"""Of a gigabyte."""
OBJECTS = 4
"""One part in so many of a node's memory is for objects that tasks share."""


@dataclass(frozen=True)
class Cluster:
    """What the pods have of others."""

    image: str
    wanted: config.Ray
    token: Any
    """Secret with the token."""
    program: Any
    """ConfigMap with the door."""
    login: Any
    """Secret with the settings of MLflow's client."""
    pull: Any
    """Secret by which the stack's own registry is asked for the image."""
    generation: str


def address(port: int) -> str:
    """host:port of the head inside the cluster."""
    return f"{HEAD}.{SPACE}.svc:{port}"


def client(token: Any) -> dict[str, Any]:
    """Variables of a training: those that Ray's own clients read."""
    return {
        "RAY_ADDRESS": f"ray://{address(ports.RAY_CLIENT)}",
        "RAY_API_SERVER_ADDRESS": f"http://{address(ports.RAY_DASHBOARD)}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
    }


def files() -> dict[str, str]:
    """What is mounted."""
    return {"door.py": (resources.files("apps.ray") / "scripts" / "door.py").read_text()}


def _environment() -> list[dict[str, Any]]:
    """Of every container of Ray's. Without the first two, whoever reaches it runs what he likes."""
    texts = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": f"{FOLDER}/token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HOME": pages.HOME,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return [{"name": name, "value": value} for name, value in texts.items()]


def _node(cluster: Cluster, name: str, words: Sequence[str], memory_gb: int, **more: Any) -> dict[str, Any]:
    """The container of one of Ray's nodes."""
    objects = memory_gb * MEBIBYTES // OBJECTS
    started = ["ray", "start", "--block", "--disable-usage-stats", *words]
    started += [f"--dashboard-agent-listen-port={AGENT}", f"--object-store-memory={objects << 20}"]
    # What tasks share is memory of the pod: with all else it fits the limit.
    started.append(f"--memory={(memory_gb * MEBIBYTES - objects) << 20}")
    lines = [*more.pop("before", ()), f"exec {' '.join(started)}"]
    quantities = more.pop("requests")
    return {
        "name": name,
        "image": cluster.image,
        "command": ["/bin/sh", "-ec", "\n".join(lines)],
        "env": _environment(),
        "envFrom": [{"secretRef": {"name": cluster.login}}],
        "securityContext": hardened(),
        "resources": {"requests": quantities, "limits": {"memory": f"{memory_gb}Gi", **more.pop("limits", {})}},
        "volumeMounts": [
            mount("token", FOLDER),
            mount("tmp", pages.HOME, writable=True),
            mount("shared", "/dev/shm", writable=True),  # noqa: S108  a volume of the pod's own
        ],
        **more,
    }


def _volumes(cluster: Cluster, memory_gb: int) -> list[dict[str, Any]]:
    # A little more than the objects': semaphores are there too.
    shared = memory_gb * MEBIBYTES // OBJECTS + 64
    return [
        {"name": "token", "secret": {"secretName": cluster.token, "defaultMode": 0o440}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}},
        {"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared}Mi"}},
    ]


def _pods(
    cluster: Cluster, name: str, containers: Sequence[Any], volumes: Sequence[Any], **more: Any
) -> dict[str, Any]:
    given = {
        "imagePullSecrets": [{"name": cluster.pull}],
        "terminationGracePeriodSeconds": DRAIN_SECONDS,
        **more,
    }
    return pages.template(name, containers, volumes, USER, cluster.generation, **given)


def head(cluster: Cluster) -> dict[str, Any]:
    """The spec of the head's StatefulSet: it knows the nodes, and runs no task itself."""
    memory = cluster.wanted.head_memory_gb
    named = {"gcs": ports.RAY_HEAD, "dashboard": ports.RAY_DASHBOARD, "client": ports.RAY_CLIENT, "agent": AGENT}
    words = ["--head", f"--port={ports.RAY_HEAD}", "--num-cpus=0", "--num-gpus=0", "--dashboard-host=0.0.0.0"]
    words += [f"--dashboard-port={ports.RAY_DASHBOARD}", f"--ray-client-server-port={ports.RAY_CLIENT}"]
    node = _node(
        cluster,
        HEAD,
        words,
        memory,
        requests={"cpu": "500m", "memory": f"{memory}Gi"},
        ports=[{"name": key, "containerPort": number, "protocol": "TCP"} for key, number in named.items()],
        **pages.probes(HEALTH, "dashboard", start_seconds=START_SECONDS),
    )
    pod = _pods(
        cluster,
        HEAD,
        [node, _door(cluster.image)],
        [*_volumes(cluster, memory), {"name": "program", "configMap": {"name": cluster.program}}],
    )
    return {"replicas": 1, "serviceName": HEAD, "selector": {"matchLabels": pages.labels(HEAD)}, "template": pod}


def _door(image: str) -> dict[str, Any]:
    """The container that tells the ingress the token."""
    return {
        "name": "door",
        "image": image,
        "command": ["python3", f"{PROGRAM}/door.py"],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [{"name": "door", "containerPort": ports.RAY_DOOR, "protocol": "TCP"}],
        **pages.probes("/healthz", "door"),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": f"{extras.DOOR_MB}Mi"}},
        "securityContext": hardened(),
        "volumeMounts": [mount("token", FOLDER), mount("program", PROGRAM)],
    }


def workers(cluster: Cluster) -> dict[str, Any]:
    """The spec of the workers' StatefulSet. One that loses the head ends, and begins again at the next."""
    wanted, gcs = cluster.wanted, address(ports.RAY_HEAD)
    asked = f"ray health-check --address {gcs} >/dev/null 2>&1"
    before = [f"for look in $(seq {PATIENCE}); do {asked} && break; sleep 2; done"]
    gpu = {"nvidia.com/gpu": "1"} if wanted.gpu else {}
    node = _node(
        cluster,
        WORKER,
        [f"--address={gcs}", f"--num-cpus={wanted.cpu}", f"--num-gpus={len(gpu)}"],
        wanted.memory_gb,
        before=before,
        requests={"cpu": str(wanted.cpu), "memory": f"{wanted.memory_gb}Gi", **gpu},
        limits=gpu,
        ports=[{"name": "agent", "containerPort": AGENT, "protocol": "TCP"}],
        **pages.probes("/api/local_raylet_healthz", "agent", start_seconds=START_SECONDS),
    )
    more = {"runtimeClassName": "nvidia"} if wanted.gpu else {}
    pod = _pods(cluster, WORKER, [node], _volumes(cluster, wanted.memory_gb), **more)
    return {
        "replicas": wanted.workers,
        # All at once: none waits for another.
        "podManagementPolicy": "Parallel",
        "serviceName": HEAD,
        "selector": {"matchLabels": pages.labels(WORKER)},
        "template": pod,
    }


def budget() -> dict[str, Any]:
    """The spec of the workers' PodDisruptionBudget: a drain takes one at a time, and what ran there runs elsewhere."""
    return {"maxUnavailable": 1, "selector": {"matchLabels": pages.labels(WORKER)}}
