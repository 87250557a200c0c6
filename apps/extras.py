"""The parts that are off until they are asked for: their namespaces, and who talks to them. Pure.

`apps/inventory.py` has them beside the others. Each is alone in its namespace: none of them is needed by anything.
"""

import config
from apps import ports
from mlops import mlflow
from mlops.argo.accounts import SPACE as WORKFLOWS
from mlops.flows import Flow
from mlops.quantities import gigabytes, mebibytes, written
from mlops.spaces import Space

LOAD_TEST, EXPLORATION, RAY = "load-test", "exploration", "ray"
"""Namespaces, and first labels of host names."""
INGRESS = "ingress"
DOOR_MB = 128
"""At which the door of Ray's dashboard ends."""


def spaces(apps: config.Apps) -> tuple[Space, ...]:
    """Their namespaces. A pod goes before its successor comes: what people look at may be away for a moment."""
    found = []
    if apps.load_test:
        found.append(Space(LOAD_TEST, cpu="500m", memory=written(apps.load_test.memory), pods=2))
    if apps.exploration:
        found.append(Space(EXPLORATION, cpu="500m", memory=written(apps.exploration.memory), pods=2))
    if apps.ray:
        memory = apps.ray.workers * apps.ray.memory_gb + apps.ray.head_memory_gb
        found.append(
            Space(
                RAY,
                cpu=str(apps.ray.workers * apps.ray.cpu + 1),
                memory=written(f"{mebibytes(gigabytes(memory)) + DOOR_MB}Mi"),
                pods=apps.ray.workers + 2,
            )
        )
    return tuple(found)


def asked(apps: config.Apps) -> str:
    """The environment that a load test asks."""
    named = apps.load_test.environment if apps.load_test else None
    return named or next(iter(apps.environments))


def flows(apps: config.Apps) -> tuple[Flow, ...]:
    """Who reaches them, and whom they reach."""
    found = []
    if apps.load_test:
        found += [
            Flow(INGRESS, LOAD_TEST, (ports.LOAD_TEST,), "people start load tests and look at them"),
            Flow(LOAD_TEST, asked(apps), (ports.SERVER,), "clients of a load test ask the model"),
        ]
    if apps.exploration:
        found += [
            Flow(INGRESS, EXPLORATION, (ports.EXPLORATION,), "people look at runs and versions"),
            Flow(EXPLORATION, mlflow.values.NAME, (mlflow.values.PORT,), "what is shown is read there"),
        ]
    if apps.ray:
        found += [
            Flow(INGRESS, RAY, (ports.RAY_DASHBOARD, ports.RAY_DOOR), "people look at the cluster and its jobs"),
            Flow(WORKFLOWS, RAY, (ports.RAY_DASHBOARD, ports.RAY_CLIENT), "trainings send their work there"),
            Flow(RAY, mlflow.values.NAME, (mlflow.values.PORT,), "trainings log runs and register models"),
        ]
    return tuple(found)
