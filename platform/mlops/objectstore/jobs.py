"""Jobs of ours that talk to an object store: a pod that runs one of the scripts with a plan.

The plan is a Secret, since it has keys in it; the scripts are a ConfigMap. Pure functions.
"""

import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from mlops.pods import hardened

FOLDER = "/srv/mlops/objectstore/scripts"
PLAN = "/run/plan/plan.json"
KEY = "plan.json"
NOBODY = 65534
DEADLINE = 3600
"""Seconds that a Job may take in all: a first copy of buckets is the longest."""
LABELS = {"app.kubernetes.io/part-of": "leasehold"}


def scripts() -> dict[str, str]:
    """File name to text, as in the ConfigMap."""
    folder = resources.files("mlops.objectstore") / "scripts"
    names = ("s3.py", "provision.py", "mirror.py")
    return {name: (folder / name).read_text() for name in names}


def digest(texts: Mapping[str, str]) -> str:
    """Changes with what a Job would do: a Job's pod cannot change in place, so another one is made."""
    return hashlib.sha256("\0".join(f"{key}\0{texts[key]}" for key in sorted(texts)).encode()).hexdigest()[:16]


def pod(image: str, words: Sequence[str], plan: str, made_for: str) -> dict[str, Any]:
    """The template of a pod that runs a script; `plan` is the Secret's name, `made_for` what it depends on."""
    return {
        "metadata": {"labels": LABELS, "annotations": {"leasehold/made-for": made_for}},
        "spec": {
            "restartPolicy": "OnFailure",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "fsGroup": NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "script",
                    "image": image,
                    "command": ["python3", "-m", *words, PLAN],
                    "workingDir": "/srv",
                    "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
                    # A part of an object is held twice: as it came, and as it goes.
                    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                    "securityContext": hardened(),
                    "volumeMounts": [
                        {"name": "scripts", "mountPath": FOLDER, "readOnly": True},
                        {"name": "plan", "mountPath": "/run/plan", "readOnly": True},
                    ],
                }
            ],
            "volumes": [
                {"name": "scripts", "configMap": {"name": "object-store-scripts"}},
                {"name": "plan", "secret": {"secretName": plan, "defaultMode": 0o440}},
            ],
        },
    }


def provision(image: str, plan: str, made_for: str) -> dict[str, Any]:
    """The Job that makes buckets and users."""
    words = ["mlops.objectstore.scripts.provision"]
    return {
        "backoffLimit": 4,
        "activeDeadlineSeconds": DEADLINE // 6,
        "template": pod(image, words, plan, made_for),
    }


def restore(image: str, plan: str, made_for: str) -> dict[str, Any]:
    """The Job that brings the buckets' content back."""
    words = ["mlops.objectstore.scripts.mirror", "restore"]
    return {"backoffLimit": 4, "activeDeadlineSeconds": DEADLINE, "template": pod(image, words, plan, made_for)}


def mirror(image: str, plan: str, made_for: str, schedule: str) -> dict[str, Any]:
    """The CronJob that copies the buckets out."""
    words = ["mlops.objectstore.scripts.mirror", "copy"]
    return {
        "schedule": schedule,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        # A cluster that was down at the time makes its copy when it is back.
        "startingDeadlineSeconds": DEADLINE,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 4,
                "activeDeadlineSeconds": DEADLINE * 6,
                "template": pod(image, words, plan, made_for),
            }
        },
    }
