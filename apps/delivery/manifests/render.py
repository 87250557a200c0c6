"""The manifests of a state, by path."""

from collections.abc import Mapping

from ..releases import State
from .deployment import deployment
from .route import route
from .settings import Environment, Settings
from .text import yaml

DEPLOYMENT = "deployment.yaml"
ROUTE = "route.yaml"
FILES = (DEPLOYMENT, ROUTE)
HEADER = "# Written by the pipeline from release.json beside it; a change by hand is lost with the next release.\n"


def manifest_path(environment: str, file: str) -> str:
    """Where a manifest of an environment is."""
    return f"environments/{environment}/{file}"


def _sharing(settings: Settings, state: State) -> Environment | None:
    """The canary, if it takes part in production's requests.

    It does from its second release on, or once production runs what it runs: then its pods are known to be up. At its
    first one they may be starting, and a share of production's requests would find nobody.
    """
    if len(state.environments) < 3:
        return None
    canary = state.environments[-2]
    runs, promoted = state.current(canary), [tested.release for tested in state.production.passed]
    shares = runs is not None and (len(canary.passed) > 1 or runs in promoted)
    return settings.environments[-2] if shares else None


def rendered(settings: Settings, state: State) -> Mapping[str, str]:
    """What each environment runs, and production's route while it runs anything."""
    texts: dict[str, str] = {}
    for environment, at in zip(settings.environments, state.environments, strict=True):
        release = state.current(at)
        if release is not None:
            text = yaml(deployment(settings, environment, release))
            texts[manifest_path(environment.name, DEPLOYMENT)] = HEADER + text
    if settings.route is not None and state.current(state.production) is not None:
        text = yaml(route(settings, settings.route, _sharing(settings, state)))
        texts[manifest_path(settings.names[-1], ROUTE)] = HEADER + text
    return texts
