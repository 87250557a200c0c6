"""Which namespaces and which flows an environment has: those of the components that it does not leave out."""

from collections.abc import Iterator
from types import ModuleType

from config import Platform
from mlops.flows import API, NODES, PODS, WORLD, Flow
from mlops.scrapes import Scrape
from mlops.spaces import Space


def _parts(config: Platform) -> Iterator[ModuleType]:
    """The modules that say SPACES and FLOWS, of components that are there."""
    yield from ()


def spaces(config: Platform) -> tuple[Space, ...]:
    """The namespaces of this environment."""
    return tuple(space for part in _parts(config) for space in part.spaces(config))


def flows(config: Platform) -> tuple[Flow, ...]:
    """The permitted flows between them."""
    known = {space.name for space in spaces(config)} | {WORLD, API, NODES, PODS}
    found = (flow for part in _parts(config) for flow in part.FLOWS)
    return tuple(flow for flow in found if {flow.source, flow.target} <= known)


def scrapes(config: Platform) -> tuple[Scrape, ...]:
    """Where metrics are; a part without any says nothing of them."""
    return tuple(scrape for part in _parts(config) for scrape in getattr(part, "SCRAPES", ()))
