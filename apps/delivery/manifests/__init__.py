"""What Argo CD applies: an environment's deployment, and production's route. The same state gives the same text.

Owns: how a release runs. Does not own: what runs where (`releases`), and what does not change with a release: the
namespace, quota, Service, network policies, disruption budget, autoscaler, the grant for the way into the canary.
"""

from .deployment import CONTAINER, PORT, selector
from .render import DEPLOYMENT, FILES, ROUTE, manifest_path, rendered
from .settings import Environment, Quantities, Route, Settings

__all__ = [
    "CONTAINER",
    "DEPLOYMENT",
    "FILES",
    "PORT",
    "ROUTE",
    "Environment",
    "Quantities",
    "Route",
    "Settings",
    "manifest_path",
    "rendered",
    "selector",
]
