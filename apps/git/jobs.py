"""Pods that copy repositories away, and that bring them back before the server starts. Pure functions."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

from apps.git import spec
from mlops.backups import REPOSITORIES_SCHEDULE
from mlops.pods import hardened, mount

PROGRAM, PLAN, WORK = "/srv", "/run/plan", "/work"
KEY = "plan.json"
MODULE = "apps.git.scripts.bundles"
PLACES = {"bundles.py": "apps/git/scripts/bundles.py", "s3.py": "mlops/objectstore/scripts/s3.py"}
"""Key in the ConfigMap to the place in the pod, where modules have the names by which they import each other."""
DEADLINE = 3600
"""Seconds of one run; the next begins at its time only when it has ended."""
LATE = 600
"""Seconds after its time in which a run may still begin."""
BUCKET = "git-backups"
"""Purpose of the bucket that copies go to where there is no store outside: nobody else has its keys."""
COPIES = "git-copies"
LABELS = {"app.kubernetes.io/name": COPIES}
"""Not the server's: its Service would lead to pods that copy."""


def scripts() -> dict[str, str]:
    """File name to text, as in the ConfigMap."""
    folders = {"bundles.py": resources.files("apps.git"), "s3.py": resources.files("mlops.objectstore")}
    return {name: (folder / "scripts" / name).read_text() for name, folder in folders.items()}


def container(image: str, name: str, command: str) -> dict[str, Any]:
    """What runs the script."""
    return {
        "name": name,
        "image": image,
        "command": ["python3", "-m", MODULE, command, f"{PLAN}/{KEY}", WORK],
        "workingDir": PROGRAM,
        "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        # A part of a bundle is held twice, and git holds what it packs.
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": hardened(),
        "volumeMounts": [mount("copies", PROGRAM), mount("plan", PLAN), mount("bundles", WORK, writable=True)],
    }


def volumes(mounted: Any, plan: Any, gigabytes: int) -> list[dict[str, Any]]:
    """What it needs beside the server's: `mounted` and `plan` name a ConfigMap and a Secret."""
    items = [{"key": key, "path": path} for key, path in PLACES.items()]
    return [
        {"name": "copies", "configMap": {"name": mounted, "items": items}},
        {"name": "plan", "secret": {"secretName": plan, "defaultMode": 0o440}},
        # A clone of a repository and its bundle, each as large as the server's volume at most.
        {"name": "bundles", "emptyDir": {"sizeLimit": f"{2 * gigabytes}Gi"}},
    ]


def copies(image: str, mounted: Any, plan: Any, gigabytes: int) -> dict[str, Any]:
    """The spec of the CronJob."""
    pod = {
        "restartPolicy": "OnFailure",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": spec.security(),
        "containers": [container(image, "copy", "copy")],
        "volumes": volumes(mounted, plan, gigabytes),
    }
    job = {
        "backoffLimit": 4,
        "activeDeadlineSeconds": DEADLINE,
        "template": {"metadata": {"labels": LABELS}, "spec": pod},
    }
    return {
        "schedule": REPOSITORIES_SCHEDULE,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": LATE,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {"spec": job},
    }


def begun_with(server: Mapping[str, Any], archive: str, image: str, added: list[dict[str, Any]]) -> dict[str, Any]:
    """The server's spec, where repositories without commits are filled first; another archive starts it again."""
    template = server["template"]
    first = container(image, "restore", "restore")
    first["volumeMounts"].append(mount("data", spec.DATA, writable=True))
    annotations = {**template["metadata"]["annotations"], "leasehold/begun-with": archive}
    pod = {
        **template["spec"],
        "initContainers": [first],
        "volumes": [*template["spec"]["volumes"], *added],
    }
    metadata = {**template["metadata"], "annotations": annotations}
    return {**server, "template": {**template, "metadata": metadata, "spec": pod}}
