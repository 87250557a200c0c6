"""The registry's settings and pods. Pure functions.

One writer, and readers beside it. The registry's accounts know no rights: whoever may pull may push. So those who
may only pull have an account with the readers alone, which refuse every change.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from mlops.pods import hardened
from mlops.services import S3

NAME = "registry"
PUSH, PULL = "push", "pull"
"""Accounts; and the two kinds of pods: the writer, and those that are read from."""
PORT, METRICS_PORT, SERVICE_PORT = 5000, 5001, 443
ETC, ACCOUNTS, TLS, DATA = "/etc/registry", "/run/accounts", "/run/tls", "/var/lib/registry"
USER = 1000
READERS = 2
HTTPS = "HTTPS"
COLLECT = f"""
for pause in 1 2 4 8; do
  said=$(registry garbage-collect --quiet {ETC}/config.yml 2>&1) && exit 0
  case $said in *"Path not found"*) break ;; esac
  sleep $pause
done
echo "nothing was collected: $said"
"""
"""Of an empty registry nothing can be collected, and asking again does not help."""

Tree = dict[str, Any]


def workload(kind: str) -> str:
    """Name of a kind's StatefulSet."""
    return f"{NAME}-{kind}"


def front(kind: str) -> str:
    """Name of the Service in front of a kind: the writer's is the registry to whoever pushes."""
    return NAME if kind == PUSH else workload(kind)


def pods(readers: int) -> list[str]:
    """Names of all pods: the writer first."""
    return [f"{workload(PUSH)}-0", *(f"{workload(PULL)}-{number}" for number in range(readers))]


def hosts(public: str) -> list[str]:
    """Host names under which it is reached."""
    inside = [f"{name}.{NAME}.svc" for name in map(front, (PUSH, PULL))]
    return [public, *inside, *(f"{name}.cluster.local" for name in inside)]


def labels(kind: str) -> dict[str, str]:
    """Of a kind's pods and Service."""
    return {"app.kubernetes.io/name": NAME, "leasehold/registry": kind}


def storage(s3: S3 | None) -> Tree:
    """Where images are: in the object store, whose backup has them then, or in a volume. Keys come by environment."""
    if s3 is None:
        return {"filesystem": {"rootdirectory": DATA}}
    return {
        "s3": {
            "regionendpoint": s3.endpoint,
            "region": s3.region,
            "bucket": s3.buckets[NAME],
            "forcepathstyle": s3.path_style,
            "secure": urlsplit(s3.endpoint).scheme == "https",
        }
    }


def settings(kind: str, s3: S3 | None) -> str:
    """The configuration file of the writer or of a reader."""
    changes: Tree = {"delete": {"enabled": True}}
    if kind == PULL:
        changes = {"maintenance": {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}}
    tree = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json"},
        # Clients do not reach the store itself, so nobody is sent there.
        "storage": {**storage(s3), "redirect": {"disable": True}, **changes},
        "http": {
            "addr": f":{PORT}",
            # The same registry has several names.
            "relativeurls": True,
            "tls": {"certificate": f"{TLS}/tls.crt", "key": f"{TLS}/tls.key", "minimumtls": "tls1.2"},
            "debug": {"addr": f":{METRICS_PORT}", "prometheus": {"enabled": True, "path": "/metrics"}},
        },
        "auth": {"htpasswd": {"realm": "leasehold", "path": f"{ACCOUNTS}/htpasswd"}},
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }
    return yaml.safe_dump(tree, sort_keys=False)


def accounts(kind: str, hashes: Mapping[str, str]) -> str:
    """Who may log in: with the writer who pushes, with a reader everybody."""
    users = [PUSH] if kind == PUSH else [PUSH, PULL]
    return "".join(f"{user}:{hashes[user]}\n" for user in users)


def docker_config(hosts: Sequence[str], user: str, password: str) -> str:
    """What image tools read logins from."""
    both = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"username": user, "password": password, "auth": both} for host in hosts}})


def _container(name: str, image: str, words: Sequence[str], *, stored: bool, writes: bool) -> Tree:
    mounts: list[Tree] = [{"name": "settings", "mountPath": ETC, "readOnly": True}]
    mounts += [{"name": "accounts", "mountPath": ACCOUNTS, "readOnly": True}]
    mounts += [{"name": "tls", "mountPath": TLS, "readOnly": True}]
    if stored:
        mounts.append({"name": "data", "mountPath": DATA, "readOnly": not writes})
    return {
        "name": name,
        "image": image,
        "command": list(words),
        # It would send traces to a collector of its own machine, and complain that there is none.
        "env": [{"name": "OTEL_TRACES_EXPORTER", "value": "none"}],
        "envFrom": [{"secretRef": {"name": f"{NAME}-server"}}],
        # What arrives is held in parts of 10 MB, several at a time.
        "resources": {
            "requests": {"cpu": "20m", "memory": "48Mi"},
            "limits": {"memory": "512Mi" if writes else "256Mi"},
        },
        "securityContext": hardened(),
        "volumeMounts": mounts,
    }


def _server(image: str, *, stored: bool, writes: bool) -> Tree:
    """The container that serves."""
    asked = {"path": "/", "port": "https", "scheme": HTTPS}
    words = ["registry", "serve", f"{ETC}/config.yml"]
    return {
        **_container(NAME, image, words, stored=stored, writes=writes),
        "ports": [{"name": "https", "containerPort": PORT}, {"name": "metrics", "containerPort": METRICS_PORT}],
        "readinessProbe": {"httpGet": asked, "periodSeconds": 5, "timeoutSeconds": 3},
        "livenessProbe": {"httpGet": asked, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def _collection(image: str, *, stored: bool) -> Tree:
    """The container that frees space before the writer serves: nothing is pushed meanwhile.

    An empty registry cannot be collected, and one that cannot be collected can still be used. The object store may not
    answer at once: where policies are enforced, a new pod waits for its own a moment.
    """
    return _container("collect", image, ["sh", "-c", COLLECT], stored=stored, writes=True)


@dataclass(frozen=True)
class Servers:
    """The writer, or the readers."""

    kind: str
    image: str
    replicas: int
    generation: str
    """Of passwords: pods start again with another one."""


def server(servers: Servers, settings_map: Any, claim: Any | None) -> Tree:
    """The spec of a StatefulSet: its pods have names that can be restarted, and there is never a second writer."""
    kind, image = servers.kind, servers.image
    writes, stored = kind == PUSH, claim is not None
    secrets = {"accounts": (f"{NAME}-htpasswd", {kind: "htpasswd"}), "tls": (f"{NAME}-tls", {})}
    volumes: list[Tree] = [
        {"name": "settings", "configMap": {"name": settings_map, "items": [{"key": kind, "path": "config.yml"}]}}
    ]
    for name, (secret, items) in secrets.items():
        chosen = [{"key": key, "path": path} for key, path in items.items()]
        given: Tree = {"secretName": secret, "defaultMode": 0o440}
        volumes.append({"name": name, "secret": {**given, "items": chosen} if chosen else given})
    if stored:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
    pod: Tree = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": _affinity(kind, stored=stored),
        "containers": [_server(image, stored=stored, writes=writes)],
        "volumes": volumes,
    }
    if writes:
        pod["initContainers"] = [_collection(image, stored=stored)]
    return {
        "serviceName": front(kind),
        "replicas": servers.replicas,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels(kind)},
        "template": {
            "metadata": {
                "labels": labels(kind),
                "annotations": {"leasehold/generation": servers.generation},
            },
            "spec": pod,
        },
    }


def _affinity(kind: str, *, stored: bool) -> Tree:
    """Readers are on different nodes; with a volume, which one node has, they are where the writer is."""
    if stored:
        same = {"labelSelector": {"matchLabels": labels(PUSH)}, "topologyKey": "kubernetes.io/hostname"}
        return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [same]}} if kind == PULL else {}
    other = {"labelSelector": {"matchLabels": labels(kind)}, "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": other}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def budget(kind: str) -> Tree:
    """The spec of a PodDisruptionBudget: a drain takes one at a time."""
    return {"maxUnavailable": 1, "selector": {"matchLabels": labels(kind)}}


def service(kind: str, node_port: int | None = None) -> Tree:
    """The spec of a Service."""
    port: Tree = {"name": "https", "port": SERVICE_PORT, "targetPort": "https"}
    if node_port is None:
        return {"selector": labels(kind), "ports": [port]}
    return {"type": "NodePort", "selector": labels(kind), "ports": [{**port, "nodePort": node_port}]}


VERSION_2: Tree = {"path": {"type": "PathPrefix", "value": "/v2/"}}
"""What is reached from outside; other paths answer whoever asks."""


def changes() -> list[Tree]:
    """Requests from outside that only the writer can answer: changes, and how far an upload is."""
    uploads = {"path": {"type": "RegularExpression", "value": "/v2/.+/blobs/uploads/.*"}}
    return [uploads, *({**VERSION_2, "method": method} for method in ("POST", "PUT", "PATCH", "DELETE"))]


def backend_tls(kind: str, authority: Any) -> Tree:
    """The spec of the policy by which the ingress speaks TLS to a Service.

    Traefik 3.6 takes the second Service of one policy for a conflict with the first, and writes a new status for ever.
    """
    reference = {"group": "", "kind": "ConfigMap", "name": authority}
    return {
        "targetRefs": [{"group": "", "kind": "Service", "name": front(kind)}],
        "validation": {"hostname": f"{NAME}.{NAME}.svc", "caCertificateRefs": [reference]},
    }


def role(names: Sequence[str]) -> list[Tree]:
    """What the restarting Job may do: with these pods only."""
    return [{"apiGroups": [""], "resources": ["pods"], "resourceNames": list(names), "verbs": ["get", "delete"]}]


def restarts(image: str, schedule: str, script: str, names: Sequence[str], account: Any) -> Tree:
    """The spec of the CronJob that restarts pods."""
    container = {
        "name": "restart",
        "image": image,
        "command": ["python3", "-c", script, *names],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": hardened(),
    }
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": account,
        "automountServiceAccountToken": True,
        "enableServiceLinks": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    return {
        "schedule": schedule,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 0,
                # Each restart has half an hour in the script.
                "activeDeadlineSeconds": 1800 * (len(names) + 1),
                "template": {"metadata": {"labels": {"app.kubernetes.io/name": "registry-restart"}}, "spec": pod},
            }
        },
    }
