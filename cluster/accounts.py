"""Service accounts for whoever is outside the cluster, with a token that stays until its Secret goes.

Import this where it is needed: Kubernetes' part of the SDK takes half a second to load.
"""

import base64
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Secret, ServiceAccount


def account(
    resources: tuple[str, str], name: str, home: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> tuple[pulumi.Output[str], Secret]:
    """An account of a namespace and its token, as the resources of two names; its name, known when it is there."""
    made = ServiceAccount(
        resources[0],
        metadata={"name": name, "namespace": home},
        automount_service_account_token=False,  # it is for people and programs outside: no pod runs with it
        opts=opts,
    )
    known: pulumi.Output[str] = made.metadata.apply(lambda metadata: metadata.name or name)
    annotations = {"kubernetes.io/service-account.name": known}
    kept = Secret(
        resources[1],
        metadata={"name": f"{name}-token", "namespace": home, "annotations": annotations},
        type="kubernetes.io/service-account-token",
        opts=opts,
    )
    return known, kept


def token(data: Mapping[str, Any] | None) -> str:
    """The token in the Secret's data. A preview knows the Secret without it; a real run has waited for it."""
    return base64.b64decode((data or {}).get("token", "")).decode()
