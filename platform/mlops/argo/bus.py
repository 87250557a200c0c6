"""What events wait in between their source and those who act on them: NATS with a stream on a volume. Pure specs.

Argo Events would make three pods of three containers each. One is enough here: while it starts again, the source
answers with an error, and senders such as Alertmanager try again.
"""

from typing import Any

import pulumi

from mlops.pods import hardened

NAME = "bus"
PORT, HEALTH = 4222, 8222
USER = "argo-events"
UID = 1000
CONFIG, CLIENT = "nats.conf", "auth.yaml"
"""Keys of its Secret: for the server, and for its clients."""
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "argo-events"}
TLS = "/tls"
MEGABYTES = 256
"""Room for events that nobody has taken yet; the oldest go first."""
SELECTED = "leasehold/generation"


def settings(password: str) -> str:
    """The server's configuration. Argo Events' clients always ask for TLS, and believe any certificate."""
    return f"""port: {PORT}
http: {HEALTH}
server_name: {NAME}
max_payload: 4MB
jetstream {{ store_dir: "/data", max_mem: 16MB, max_file: {2 * MEGABYTES}MB }}
authorization {{ user: "{USER}", password: "{password}", timeout: 5 }}
tls {{ cert_file: "{TLS}/tls.crt", key_file: "{TLS}/tls.key", timeout: 5 }}
"""


def access(password: str) -> str:
    """The same for its clients."""
    return f"username: {USER}\npassword: {password}\n"


def service() -> dict[str, Any]:
    """The spec of its Service."""
    return {"selector": LABELS, "ports": [{"name": "nats", "port": PORT, "targetPort": PORT}]}


def stateful_set(
    image: str, secret: pulumi.Input[str], certificate: pulumi.Input[str], generation: int, storage: str | None
) -> dict[str, Any]:
    """The spec; a new generation of its password restarts it, since it reads it once."""
    probe = {"httpGet": {"path": "/healthz", "port": "health"}, "timeoutSeconds": 5}
    mounts = {"data": "/data", "config": "/etc/nats", "tls": TLS}
    container = {
        "name": "nats",
        "image": image,
        "args": ["--config", f"/etc/nats/{CONFIG}"],
        "ports": [{"name": "nats", "containerPort": PORT}, {"name": "health", "containerPort": HEALTH}],
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**probe, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "192Mi"}},
        "securityContext": hardened(),
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
    }
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        **({"storageClassName": storage} if storage else {}),
    }
    return {
        "replicas": 1,
        "serviceName": NAME,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS, "annotations": {SELECTED: str(generation)}},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": UID,
                    "runAsGroup": UID,
                    "fsGroup": UID,
                    "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": [
                    {
                        "name": "config",
                        "secret": {"secretName": secret, "items": [{"key": CONFIG, "path": CONFIG}]},
                    },
                    {"name": "tls", "secret": {"secretName": certificate}},
                ],
            },
        },
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }


def event_bus(url: pulumi.Input[str], secret: pulumi.Input[str]) -> dict[str, Any]:
    """The spec of Argo Events' EventBus: a server that exists."""
    # Sizes are numbers: a unit would be read as none at all, and nothing would bound the stream.
    stream = f"maxMsgs: 100000\nmaxAge: 24h\nmaxBytes: {MEGABYTES << 20}\nreplicas: 1\nduplicates: 300s\n"
    return {
        "jetstreamExotic": {
            "url": url,
            "accessSecret": {"name": secret, "key": CLIENT},
            "streamConfig": stream,
        }
    }
