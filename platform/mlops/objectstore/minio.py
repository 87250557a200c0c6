"""MinIO: one pod on one volume, as pure specs. Its project has ended; the contract is S3, so another can follow."""

import base64
import hashlib
import hmac
import json
from typing import Any

from mlops.objectstore.contract import CLAIM, METRICS_USER, NAME, PORT, SELECTOR
from mlops.pods import hardened

CONSOLE = 9001
USER = 1000
ROOT_SECRET = "object-store-root"  # noqa: S105  the name of a Secret
YEAR_2100 = 4102444800


def resources(*, small: bool) -> dict[str, Any]:
    """Requests and limits: uploads of many parts are what takes memory."""
    return {
        "requests": {"cpu": "50m" if small else "100m", "memory": "192Mi" if small else "384Mi"},
        "limits": {"memory": "640Mi" if small else "1Gi"},
    }


def stateful_set(image: str, console_url: str, generation: int, *, small: bool) -> dict[str, Any]:
    """The spec; a new generation of its root password restarts it, since it reads it once."""
    probe = {"httpGet": {"path": "/minio/health/live", "port": "s3"}, "timeoutSeconds": 5}
    environment = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": ROOT_SECRET, "key": key}}}
        for name, key in (("MINIO_ROOT_USER", "user"), ("MINIO_ROOT_PASSWORD", "password"))
    ]
    # Nothing leaves the cluster; and a browser that opens the S3 address gets S3's refusal, not another site.
    environment += [
        {"name": name, "value": "off"} for name in ("MINIO_UPDATE", "MINIO_CALLHOME_ENABLE", "MINIO_BROWSER_REDIRECT")
    ]
    environment.append({"name": "MINIO_BROWSER_REDIRECT_URL", "value": console_url})
    container = {
        "name": "minio",
        "image": image,
        "args": ["server", "/data", f"--address=:{PORT}", f"--console-address=:{CONSOLE}"],
        "env": environment,
        "ports": [{"name": "s3", "containerPort": PORT}, {"name": "console", "containerPort": CONSOLE}],
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**probe, "periodSeconds": 2},
        "resources": resources(small=small),
        "securityContext": hardened(),
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  its own
    }
    return {
        "replicas": 1,
        "serviceName": NAME,
        "selector": {"matchLabels": SELECTOR},
        "template": {
            "metadata": {"labels": SELECTOR, "annotations": {"leasehold/generation": str(generation)}},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 30,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": USER,
                    "runAsGroup": USER,
                    "fsGroup": USER,
                    "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}},
                    {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                ],
            },
        },
    }


def metrics_token(secret: str) -> str:
    """The bearer token by which MinIO lets its metrics be read: signed by the user's secret, ended by its rotation."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    claims = {"exp": YEAR_2100, "sub": METRICS_USER, "iss": "prometheus"}
    head = part(json.dumps({"alg": "HS512", "typ": "JWT"}).encode())
    text = f"{head}.{part(json.dumps(claims).encode())}"
    return f"{text}.{part(hmac.digest(secret.encode(), text.encode(), hashlib.sha512))}"
