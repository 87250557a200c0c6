"""Which namespaces and flows an environment's applications have, beside those of the platform. Pure."""

import config
from apps import ports
from mlops.argo.accounts import SPACE as WORKFLOWS
from mlops.flows import Flow
from mlops.spaces import Space

DELIVERY = "delivery"
"""Namespace of the stack's own Git server."""
ARGO_CD, INGRESS, MONITORING = "argocd", "ingress", "monitoring"


def spaces(apps: config.Apps) -> tuple[Space, ...]:
    """The namespaces: each environment's quota holds all its pods twice, as while one release follows another."""
    environments = (
        Space(name, cpu=f"{2 * pods(target)}", memory=f"{2 * pods(target)}Gi", pods=2 * pods(target) + 2)
        for name, target in apps.environments.items()
    )
    return (
        Space(DELIVERY, cpu="500m", memory="1Gi", pods=4, storage=f"{apps.git_storage_gb}Gi"),
        *environments,
    )


def pods(target: config.Target) -> int:
    """Pods of an environment at most."""
    return max(target.replicas, target.most or 0)


def flows(apps: config.Apps) -> tuple[Flow, ...]:
    """The permitted flows."""
    found = [
        Flow(INGRESS, DELIVERY, (ports.GIT,), "people look at releases, and revert"),
        Flow(ARGO_CD, DELIVERY, (ports.GIT,), "what Git says is what runs"),
        Flow(WORKFLOWS, DELIVERY, (ports.GIT,), "steps write down what may run"),
    ]
    for name in apps.environments:
        found += [
            Flow(INGRESS, name, (ports.SERVER,), "people and programs ask the model"),
            Flow(WORKFLOWS, name, (ports.SERVER,), "steps ask what is served, and test it"),
            Flow(MONITORING, name, (ports.SERVER,), "metrics"),
        ]
    return tuple(found)
