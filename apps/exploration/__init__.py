"""A page on which people look through runs and versions without an account of MLflow.

Owns its pod, its page and who may see it. Its image is the environment's: Streamlit has none of its own
(docs/decisions/0029-pages-image-is-named.md). It reads as MLflow's user `reader`.
"""

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment

import config
from apps import pages, ports
from apps.exploration import spec
from apps.exploration.spec import NAME, SPACE
from mlops import quantities, services, texts
from mlops.base import Base
from mlops.ingress import Ingress
from mlops.mlflow import Mlflow
from mlops.mlflow.values import READER
from mlops.registry import Registry
from versions import Image


@dataclass(frozen=True)
class ExplorationArgs:
    """What it needs."""

    base: Base
    model: str
    wanted: config.Exploration
    ingress: Ingress
    mlflow: Mlflow
    registry: Registry


class Exploration(pulumi.ComponentResource):
    """A page of runs and versions."""

    service: services.Service

    def __init__(self, name: str, args: ExplorationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Start it; `opts` gives the provider."""
        super().__init__("leasehold:apps:Exploration", name, None, opts)
        base, host = args.base, args.base.config.host(NAME)
        wanted = spec.Wanted(
            base.images.reference(Image.of(args.wanted.image)),
            texts.kept(base, SPACE, f"{SPACE}-program", spec.files(), self, called="program"),
            args.mlflow.client(SPACE, base=base, user=READER),
            # The image may be in the stack's own registry.
            args.registry.pull_secret(base, SPACE),
            spec.environment(args.model, host),
            quantities.written(args.wanted.memory),
            str(base.config.rotation),
        )
        Deployment(NAME, metadata=pages.metadata(base, SPACE, NAME), spec=spec.server(wanted), opts=base.under(self))
        front = pages.front(base, SPACE, NAME, pages.service(NAME, {"http": ports.EXPLORATION}), self)
        guard = args.ingress.protect(NAME, SPACE, self, base=base)
        url = args.ingress.route(NAME, SPACE, front, ports.EXPLORATION, self, base=base, guard=guard)
        self.service = services.Service(NAME, url, guard.login(url), health=spec.HEALTH)
        self.register_outputs({})
