"""What must hold between the parts of the platform, checked before anything is created.

Each rule is a pure function from the environment to problems; none of them raises.
"""

from collections.abc import Iterator

from config import Environment, ExternalStore, K3sCluster, Platform, Problem

BRINGS_GATEWAY_API = (1, 37)
"""The first k3s that installs the Gateway API's definitions itself."""


def check(environment: Environment) -> Iterator[Problem]:
    """Every rule of this layer."""
    platform = environment.platform
    if platform is None:
        return
    if environment.cluster is None:
        yield Problem("cluster", "(missing)", "the platform has nothing to run on", "add it, or leave platform out")
    yield from _needs(platform)
    yield from _backups(platform)
    if isinstance(environment.cluster, K3sCluster):
        yield from _gateway_api(platform, environment.cluster.version)


def _needs(platform: Platform) -> Iterator[Problem]:
    """Who cannot work without whom."""
    postgres, store = platform.postgres.enabled, platform.object_store.enabled
    wanted = (
        ("mlflow.enabled", platform.mlflow.enabled, "postgres.enabled", postgres),
        ("mlflow.enabled", platform.mlflow.enabled, "object_store.enabled", store),
        ("argo.workflows", platform.argo.workflows, "postgres.enabled", postgres),
        ("argo.workflows", platform.argo.workflows, "object_store.enabled", store),
        ("argo.events", platform.argo.events, "argo.workflows", platform.argo.workflows),
    )
    for key, on, needed, there in wanted:
        if on and not there:
            yield Problem(f"platform.{key}", "true", f"needs platform.{needed}", f"turn {needed} on, or this off")


def _backups(platform: Platform) -> Iterator[Problem]:
    store = platform.backups.store
    if store is None and platform.postgres.enabled and not platform.object_store.enabled:
        remedy = "name a bucket outside, or turn the object store on"
        yield Problem("platform.backups.store", "(missing)", "there is no place for the databases' backups", remedy)
    archive, restore = platform.backups.archive, platform.backups.restore
    if restore is not None and restore >= archive:
        remedy = f"set platform.backups.archive to {restore + 1} or more"
        yield Problem("platform.backups.restore", str(restore), "an archive is not written to and restored", remedy)
    external = platform.object_store
    if store and isinstance(external, ExternalStore) and store.endpoint == external.endpoint:
        remedy = "name a store elsewhere, or leave it out"
        yield Problem("platform.backups.store", store.endpoint, "is the store that it would protect", remedy)


def _gateway_api(platform: Platform, k3s: str) -> Iterator[Problem]:
    major, minor = k3s.removeprefix("v").split(".")[:2]
    if platform.ingress.gateway_api and (int(major), int(minor)) >= BRINGS_GATEWAY_API:
        said = f"k3s {k3s} brings these definitions itself"
        yield Problem("platform.ingress.gateway_api", "true", said, "set it to false")
