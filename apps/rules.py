"""What must hold between the applications and the rest, checked before anything is created.

Each rule is a pure function from the environment to problems; none of them raises.
"""

from collections.abc import Iterator

import config
from apps import extras, inventory, settings
from apps.load_test import spec as load_test
from config import Environment, Problem
from mlops import inventory as platform_inventory
from versions import Image

OWNED = ("kube-", "leasehold-", "default")
"""Beginnings of namespaces in which nobody else makes anything."""
BODIES = 900_000
"""Bytes of a load test's bodies."""


def check(environment: Environment) -> Iterator[Problem]:
    """Every rule of this layer."""
    apps, platform = environment.apps, environment.platform
    if apps is None:
        return
    if platform is None:
        yield Problem("platform", "(missing)", "applications need it", "add it, or leave apps out")
        return
    yield from _needs(platform)
    yield from _names(apps, platform)
    yield from _numbers(apps)
    yield from _webhook(apps, platform)
    yield from _drift(apps, platform)
    yield from _load_test(apps)
    yield from _named_images(environment)


def _needs(platform: config.Platform) -> Iterator[Problem]:
    """What a release goes through."""
    wanted = {
        "mlflow.enabled": platform.mlflow.enabled,
        "registry.enabled": platform.registry.enabled,
        "argo.cd": platform.argo.cd,
        "argo.workflows": platform.argo.workflows,
    }
    for key, on in wanted.items():
        if not on:
            yield Problem(f"platform.{key}", "false", "applications need it", "turn it on, or leave apps out")


def _names(apps: config.Apps, platform: config.Platform) -> Iterator[Problem]:
    taken = {space.name for space in platform_inventory.spaces(platform)} | {inventory.DELIVERY, inventory.BUILDS}
    taken |= {space.name for space in extras.spaces(apps)}
    for name, target in apps.environments.items():
        key = f"apps.environments.{name}"
        if name in taken or name.startswith(OWNED):
            yield Problem(key, name, "is another's namespace", "give it another name")
        if target.most is not None and target.most < target.replicas:
            yield Problem(f"{key}.most", str(target.most), f"is less than replicas, {target.replicas}", "raise it")
    ports = [t.node_port for t in apps.environments.values() if t.node_port] + [platform.registry.node_port]
    for name, target in apps.environments.items():
        if target.node_port and ports.count(target.node_port) > 1:
            key = f"apps.environments.{name}.node_port"
            yield Problem(key, str(target.node_port), "is another's port", "give it a port of its own")


def _numbers(apps: config.Apps) -> Iterator[Problem]:
    """Thresholds that no number of requests could decide by."""
    try:
        settings.thresholds(apps.gate)
    except ValueError as problem:
        yield Problem("apps.gate", "(its values)", str(problem), "see docs/delivery.md, The gate")


def _webhook(apps: config.Apps, platform: config.Platform) -> Iterator[Problem]:
    """GitHub tells of repositories at GitHub."""
    if not apps.webhook:
        return
    if not platform.argo.events:
        yield Problem("platform.argo.events", "false", "apps.webhook needs it", "turn it on, or apps.webhook off")
    if settings.github(apps.source) is None:
        rule = "GitHub tells of a repository of its own, https://HOST/OWNER/NAME"
        yield Problem("apps.source.url", apps.source.url or "(missing)", rule, "give that, or turn apps.webhook off")


def _drift(apps: config.Apps, platform: config.Platform) -> Iterator[Problem]:
    """What production answered is counted by Prometheus."""
    if apps.drift is not None and not platform.monitoring.enabled:
        rule = "apps.drift needs the predictions that Prometheus counts"
        yield Problem("platform.monitoring.enabled", "false", rule, "turn it on, or leave apps.drift out")


def _load_test(apps: config.Apps) -> Iterator[Problem]:
    """It asks an environment that there is."""
    asked = apps.load_test.environment if apps.load_test else None
    if asked is not None and asked not in apps.environments:
        remedy = f"name one of: {', '.join(apps.environments)}"
        yield Problem("apps.load_test.environment", asked, "is no environment of apps", remedy)
    if apps.load_test is not None:
        size = len(load_test.files(apps.load_test)["bodies.json"])
        if size > BODIES:
            said = f"a ConfigMap holds what they are, {BODIES} bytes at most"
            yield Problem("apps.load_test.bodies", f"({size} bytes)", said, "give fewer of them")


def _named_images(environment: Environment) -> Iterator[Problem]:
    """Of an image that nobody here looked at, the file says which one it is."""
    for key, name in environment.named_images.items():
        if environment.images.digest(Image.of(name)) is None:
            yield Problem(key, name, "has no digest", f'add images.digests: {{"{name}": "sha256:..."}}')
