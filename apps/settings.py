"""What the steps of `apps/delivery` are told, from the configuration. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import config
from apps import ports
from apps.delivery import drift, gate, manifests, measure
from apps.delivery.releases import Policy
from apps.delivery.repository import Login, Remote
from apps.delivery.steps import Address, Drift, Mlflow, Settings, Waiting
from apps.environments.spec import APPLICATION
from apps.git import spec as git
from mlops.mlflow import ADDRESS
from mlops.mlflow.values import CLIENT
from mlops.monitoring.stack import PROMETHEUS

TOKENS = "/run/tokens"
"""Folder of the steps' passwords, each a file."""
GIT_TOKEN, SOURCE_TOKEN, MLFLOW_TOKEN = "git", "source", "mlflow"
START_SECONDS = 120
"""So long may a pod take until it serves."""
ROLLOUT_SECONDS = 600
PULL = "registry-pull"
"""Secret with the login by which pods pull."""


@dataclass(frozen=True)
class Facts:
    """What the configuration does not say."""

    image: str
    """REGISTRY/NAME of the model's images, as nodes pull them."""
    gateway: str
    """The Gateway of production's host name."""
    gateway_space: str
    listener: str
    hostname: str
    guard: str
    """Name of what production's requests must pass."""


def source(wanted: config.Source) -> Remote:
    """Where the model's source is."""
    if wanted.url is None:
        return Remote(git.url(git.MODEL), wanted.branch, login=_login(git.STEPS, GIT_TOKEN), unencrypted=True)
    login = _login(wanted.user, SOURCE_TOKEN) if wanted.user else None
    return Remote(wanted.url, wanted.branch, login=login, unencrypted=wanted.url.startswith("http://"))


def _login(user: str, file: str) -> Login:
    return Login(user, f"{TOKENS}/{file}")


def github(wanted: config.Source) -> str | None:
    """OWNER/NAME of a repository at GitHub, which may be a company's own; None for a URL that has no such path."""
    path = urlsplit(wanted.url or "").path.strip("/").removesuffix(".git")
    return path if re.fullmatch(r"[^/]+/[^/]+", path) else None


def thresholds(wanted: config.Gate) -> gate.Settings:
    """The gate's."""
    return gate.Settings(
        gate.Contract(frozenset(wanted.classes)),
        gate.Resources(memory_share=wanted.memory_share),
        gate.Load(wanted.requests, wanted.concurrency, success=wanted.success, p95_ms=wanted.p95_ms),
        gate.Comparison(accuracy_margin=wanted.accuracy_margin),
    )


def _drift(wanted: config.Drift | None) -> Drift | None:
    if wanted is None:
        return None
    return Drift(PROMETHEUS, drift.Limits(wanted.index, wanted.predictions, wanted.hours))


def _environment(name: str, target: config.Target) -> manifests.Environment:
    quantities = manifests.Quantities(target.cpu, target.memory)
    limits = manifests.Quantities(str(LIMIT_CPU), target.memory)
    return manifests.Environment(name, name, None if target.most else target.replicas, quantities, limits)


LIMIT_CPU = 2
"""Cores that a pod of a model may use while nobody else needs them."""


def of(apps: config.Apps, facts: Facts) -> Settings:
    """All of them; ValueError where they contradict each other."""
    names = list(apps.environments)
    return Settings(
        repository=Remote(git.url(git.RELEASES), login=_login(git.STEPS, GIT_TOKEN), unencrypted=True),
        policy=Policy(apps.releases.promotion),
        manifests=manifests.Settings(
            application=APPLICATION,
            image=facts.image,
            pull_secrets=(PULL,),
            service_port=ports.SERVICE,
            start_seconds=START_SECONDS,
            environments=tuple(_environment(name, target) for name, target in apps.environments.items()),
            route=manifests.Route(
                facts.gateway,
                facts.gateway_space,
                facts.listener,
                (facts.hostname,),
                apps.releases.canary_weight,
                facts.guard,
            ),
        ),
        addresses=tuple(Address(name, f"http://{APPLICATION}.{name}.svc:{ports.SERVICE}") for name in names),
        waiting=Waiting(seconds=ROLLOUT_SECONDS, interval=1, answers=10),
        mlflow=Mlflow(ADDRESS, apps.model, _login(CLIENT, MLFLOW_TOKEN), None),
        work=None,
        source=source(apps.source),
        gate=thresholds(apps.gate),
        limits=measure.Limits(),
        drift=_drift(apps.drift),
    )
