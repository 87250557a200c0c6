"""The Git server's pod, accounts and rights. Pure functions."""

from importlib import resources
from typing import Any

from apps import ports
from apps.inventory import DELIVERY
from mlops.pods import hardened, mount

NAME = "git"
RELEASES, MODEL = "releases", "model"
"""Its repositories: what runs where, and the model's source."""
PEOPLE, STEPS, ARGO_CD, BACKUP = "people", "steps", "argocd", "backup"
"""Its accounts."""
READ, WRITE = "read", "write"
DATA, ACCOUNTS, PROGRAM = "/var/lib/git", "/run/accounts", "/srv/git"
USER = 1000


SERVER = f"http://{NAME}.{DELIVERY}.svc:{ports.GIT}"


def url(repository: str) -> str:
    """Where pods reach a repository."""
    return f"{SERVER}/{repository}.git"


def rights() -> dict[str, Any]:
    """Who may do what. People revert by writing releases; Argo CD, which runs what is written, writes nothing."""
    return {
        RELEASES: {"linear": True, "rights": {PEOPLE: WRITE, STEPS: WRITE, ARGO_CD: READ, BACKUP: READ}},
        MODEL: {"linear": False, "rights": {PEOPLE: WRITE, STEPS: READ, BACKUP: READ}},
    }


def program() -> str:
    """What runs in the pod."""
    return (resources.files("apps.git") / "scripts" / "serve.py").read_text()


def labels() -> dict[str, str]:
    """Of the pod."""
    return {"app.kubernetes.io/name": NAME}


def service() -> dict[str, Any]:
    """The spec of its Service."""
    return {"selector": labels(), "ports": [{"name": "http", "port": ports.GIT, "targetPort": "http"}]}


def security() -> dict[str, Any]:
    """The security context of its pods."""
    return {
        "runAsNonRoot": True,
        **{"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _probe(**more: Any) -> dict[str, Any]:
    return {"httpGet": {"path": "/healthz", "port": "http"}, **more}


def server(image: str, mounted: Any, accounts: Any, claim: Any, generation: str) -> dict[str, Any]:
    """The spec of the StatefulSet: one pod, since a repository has one writer."""
    container = {
        "name": "server",
        "image": image,
        "command": ["python3", f"{PROGRAM}/serve.py", f"{PROGRAM}/rights.json", ACCOUNTS, DATA],
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "ports": [{"name": "http", "containerPort": ports.GIT, "protocol": "TCP"}],
        "readinessProbe": _probe(periodSeconds=5, timeoutSeconds=5),
        "livenessProbe": _probe(periodSeconds=20, timeoutSeconds=10, failureThreshold=6),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": hardened(),
        "volumeMounts": [
            mount("program", PROGRAM),
            mount("accounts", ACCOUNTS),
            mount("data", DATA, writable=True),
            # Git keeps the body of a large push there while it looks at it.
            mount("work", "/tmp", writable=True),  # noqa: S108  a volume of the pod's own
        ],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": security(),
        "containers": [container],
        "volumes": [
            {"name": "program", "configMap": {"name": mounted}},
            {"name": "accounts", "secret": {"secretName": accounts, "defaultMode": 0o440}},
            {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "work", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    return {
        "replicas": 1,
        "serviceName": NAME,
        "selector": {"matchLabels": labels()},
        "template": {
            # The server reads passwords at each request, but a Secret reaches a pod only after a minute.
            "metadata": {"labels": labels(), "annotations": {"leasehold/rotation": generation}},
            "spec": pod,
        },
    }
