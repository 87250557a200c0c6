"""SeaweedFS: all its parts in one pod, by its chart. Values and identities are pure functions."""

import json
from collections.abc import Mapping
from typing import Any

from mlops.objectstore.contract import CLAIM, PORT, ROOT

CONFIG_SECRET = "seaweedfs-s3"  # noqa: S105  the name of a Secret
CONFIG_KEY = "seaweedfs_s3_config"
USER = 1000
SELECTOR = {
    "app.kubernetes.io/name": "seaweedfs",
    "app.kubernetes.io/component": "seaweedfs-all-in-one",
}
"""Of the chart's pods."""


def values(image: str, generation: int, *, small: bool) -> dict[str, Any]:
    """Values of the chart. New keys restart the pod: it reads the identities once."""
    return {
        "global": {"seaweedfs": {"createClusterRole": False, "automountServiceAccountToken": False}},
        "master": {"enabled": False},
        "volume": {"enabled": False},
        "filer": {"enabled": False},
        "allInOne": {
            "enabled": True,
            "imageOverride": image,
            "s3": {"enabled": True, "port": PORT, "enableAuth": True, "existingConfigSecret": CONFIG_SECRET},
            "data": {"type": "existingClaim", "claimName": CLAIM},
            "podAnnotations": {"leasehold/generation": str(generation)},
            "resources": {
                "requests": {"cpu": "50m" if small else "100m", "memory": "192Mi" if small else "384Mi"},
                "limits": {"memory": "640Mi" if small else "1Gi"},
            },
            "podSecurityContext": {
                "enabled": True,
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containerSecurityContext": {
                "enabled": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        },
    }


def identities(root: str, secrets: Mapping[str, str], buckets: Mapping[str, str]) -> str:
    """The file of who may do what, JSON: the administrator, and each application on its own bucket."""

    def identity(name: str, secret: str, actions: list[str]) -> dict[str, Any]:
        return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": actions}

    actions = ("Read", "Write", "List", "Tagging")
    found = [identity(ROOT, root, ["Admin", *actions])]
    found += [
        identity(name, secret, [f"{verb}:{buckets[name]}" for verb in actions]) for name, secret in secrets.items()
    ]
    return json.dumps({"identities": found})
