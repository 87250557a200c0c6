"""Which namespaces and which flows an environment has: those of the components that it does not leave out."""

from collections.abc import Iterator
from types import ModuleType

from config import Acme, Platform
from mlops import acme, backups, certificates, ingress, mlflow, monitoring, objectstore, postgres, registry
from mlops.argo import cd, events, workflows
from mlops.flows import API, NODES, PODS, WORLD, Flow
from mlops.ingress import sso
from mlops.scrapes import Scrape
from mlops.spaces import Space


def _parts(config: Platform) -> Iterator[ModuleType]:
    """The modules that say SPACES and FLOWS, of components that are there."""
    yield from (certificates, ingress)
    if isinstance(config.ingress.tls, Acme):
        yield acme
    if config.ingress.sso:
        yield sso
    if config.object_store.enabled:
        yield objectstore
    if config.postgres.enabled:
        yield postgres
    if config.mlflow.enabled:
        yield mlflow
    if config.registry.enabled:
        yield registry
    if config.argo.workflows:
        yield workflows
    if config.argo.events:
        yield events
    if config.argo.cd:
        yield cd
    if config.monitoring.enabled:
        yield monitoring


def spaces(config: Platform) -> tuple[Space, ...]:
    """The namespaces of this environment."""
    return tuple(space for part in _parts(config) for space in part.spaces(config))


def flows(config: Platform) -> tuple[Flow, ...]:
    """The permitted flows between them."""
    known = {space.name for space in spaces(config)} | {WORLD, API, NODES, PODS}
    found = [flow for part in _parts(config) for flow in part.FLOWS]
    found += [*backups.flows(config), *cd.flows(config)]
    return tuple(flow for flow in found if {flow.source, flow.target} <= known)


def scrapes(config: Platform) -> tuple[Scrape, ...]:
    """Where metrics are; a part without any says nothing of them."""
    found = [scrape for part in _parts(config) for scrape in getattr(part, "SCRAPES", ())]
    return (*found, *(objectstore.scrapes(config) if config.object_store.enabled else ()))
