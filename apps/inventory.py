"""Which namespaces and flows an environment's applications have, beside those of the platform. Pure."""

import config
from apps import extras, ports
from mlops.argo import events
from mlops.argo.accounts import SPACE as WORKFLOWS
from mlops.flows import WORLD, Flow, port_of
from mlops.monitoring import PROMETHEUS_PORT
from mlops.objectstore import contract as objects
from mlops.registry import spec as registry
from mlops.spaces import Space

DELIVERY = "delivery"
"""Namespace of the stack's own Git server."""
BUILDS = "builds"
"""Namespace of what builds images."""
ARGO_CD, EVENTS, INGRESS, MONITORING, REGISTRY = "argocd", "argo-events", "ingress", "monitoring", "registry"


def spaces(apps: config.Apps) -> tuple[Space, ...]:
    """The namespaces: each environment's quota holds all its pods twice, as while one release follows another."""
    reason = "BuildKit without root needs user namespaces, which no other level allows"
    environments = (
        Space(name, cpu=f"{2 * pods(target)}", memory=f"{2 * pods(target)}Gi", pods=2 * pods(target) + 2)
        for name, target in apps.environments.items()
    )
    return (
        Space(DELIVERY, cpu="500m", memory="1536Mi", pods=4, storage=f"{apps.git_storage_gb}Gi"),
        Space(BUILDS, cpu="4", memory="8Gi", pods=4, level="privileged", why=reason),
        *environments,
        *extras.spaces(apps),
    )


def pods(target: config.Target) -> int:
    """Pods of an environment at most."""
    return max(target.replicas, target.most or 0)


def copies(platform: config.Platform) -> Flow:
    """The way of repositories to the place of their copies, and back."""
    store, inside, why = platform.backups.store, platform.object_store, "copies of repositories, and their return"
    if store is not None:
        return Flow(DELIVERY, WORLD, (port_of(store.endpoint),), why)
    if isinstance(inside, config.ExternalStore):
        return Flow(DELIVERY, WORLD, (port_of(inside.endpoint),), why)
    return Flow(DELIVERY, objects.NAME, (objects.PORT,), why)


def flows(apps: config.Apps, platform: config.Platform, mirror: str | None = None) -> tuple[Flow, ...]:
    """The permitted flows; `mirror` is the URL where images come from, if not from upstream."""
    source = apps.source.url
    found = [
        Flow(INGRESS, DELIVERY, (ports.GIT,), "people push a model's source and look at releases"),
        Flow(ARGO_CD, DELIVERY, (ports.GIT,), "what Git says is what runs"),
        Flow(WORKFLOWS, DELIVERY, (ports.GIT,), "steps read a model's source and write down what may run"),
        copies(platform),
        Flow(WORKFLOWS, BUILDS, (ports.BUILDS,), "steps have images built"),
        Flow(BUILDS, REGISTRY, (registry.PORT,), "images are pushed"),
        Flow(
            BUILDS, WORLD, tuple(sorted({443, port_of(mirror)} if mirror else {443})), "images that others begin with"
        ),
    ]
    if apps.webhook:
        found.append(Flow(INGRESS, EVENTS, (events.PORT,), "GitHub tells of new commits, signed"))
    if apps.drift is not None:
        found.append(Flow(WORKFLOWS, MONITORING, (PROMETHEUS_PORT,), "a step asks what production answered"))
    if source:
        found.append(Flow(WORKFLOWS, WORLD, (port_of(source),), "the model's source"))
    for name in apps.environments:
        found += [
            Flow(INGRESS, name, (ports.SERVER,), "people and programs ask the model"),
            Flow(WORKFLOWS, name, (ports.SERVER,), "steps ask what is served, and test it"),
            Flow(MONITORING, name, (ports.SERVER,), "metrics"),
        ]
    return (*found, *extras.flows(apps))
