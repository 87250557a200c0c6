"""A Ray cluster: trainings spread their work over its pods.

Owns the head, the workers, their token, and who sees the dashboard. Does not own what runs there: whoever has the token
runs what he likes, so only steps of trainings have it. Ray's own token is asked for everywhere; before the dashboard is
the platform's guard too (docs/decisions/0030-rays-dashboard-has-a-door.md).
"""

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

import config
import versions
from apps import pages, ports
from apps.ray import spec
from apps.ray.spec import HEAD, SPACE, WORKER
from mlops import credentials, services, texts
from mlops.argo.accounts import SPACE as WORKFLOWS
from mlops.base import Base
from mlops.ingress import Ingress
from mlops.mlflow import Mlflow
from mlops.registry import Registry
from versions import Image

PULLED = pulumi.CustomTimeouts(create="20m", update="20m")
"""An image of some gigabytes comes first, and each node takes its time."""


@dataclass(frozen=True)
class RayArgs:
    """What it needs."""

    base: Base
    wanted: config.Ray
    ingress: Ingress
    mlflow: Mlflow
    registry: Registry


class Ray(pulumi.ComponentResource):
    """A cluster for trainings."""

    service: services.Service
    client: pulumi.Output[str]
    """Secret in the namespace of workflows with what a training is told, known when the cluster answers."""

    def __init__(self, name: str, args: RayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Start it; `opts` gives the provider."""
        super().__init__("leasehold:apps:Ray", name, None, opts)
        base, under = args.base, args.base.under(self)
        token = credentials.password(base, spec.TOKEN, self)
        image = Image.of(args.wanted.image) if args.wanted.image else versions.RAY
        cluster = spec.Cluster(
            base.images.reference(image),
            args.wanted,
            credentials.secret(base, spec.TOKEN, SPACE, {"token": token}, self),
            texts.kept(base, SPACE, f"{SPACE}-program", spec.files(), self, called="program"),
            args.mlflow.client(SPACE, base=base),
            args.registry.pull_secret(base, SPACE),
            str(base.config.rotation),
        )
        named = {"gcs": ports.RAY_HEAD, "dashboard": ports.RAY_DASHBOARD}
        named |= {"client": ports.RAY_CLIENT, "door": ports.RAY_DOOR}
        front = pages.front(base, SPACE, HEAD, pages.service(HEAD, named), self)
        slow = pulumi.ResourceOptions.merge(under, pulumi.ResourceOptions(custom_timeouts=PULLED))
        head = StatefulSet(HEAD, metadata=pages.metadata(base, SPACE, HEAD), spec=spec.head(cluster), opts=slow)
        # They join by the head's name; no value of it says that it is there.
        joining = pulumi.ResourceOptions.merge(slow, pulumi.ResourceOptions(depends_on=[head]))
        StatefulSet(WORKER, metadata=pages.metadata(base, SPACE, WORKER), spec=spec.workers(cluster), opts=joining)
        PodDisruptionBudget(
            f"{WORKER}-budget", metadata=pages.metadata(base, SPACE, WORKER), spec=spec.budget(), opts=under
        )
        self.service = self._show(args, pulumi.Output.all(front, head.id).apply(lambda known: str(known[0])))
        given = credentials.secret(base, spec.CLIENT, WORKFLOWS, spec.client(token), self)
        self.client = pulumi.Output.all(given, head.id).apply(lambda known: str(known[0]))
        self.register_outputs({})

    def _show(self, args: RayArgs, front: pulumi.Output[str]) -> services.Service:
        """The dashboard's host name, for whoever passes the guard."""
        base, ingress = args.base, args.ingress
        guard = ingress.protect(SPACE, SPACE, self, base=base)
        door = f"http://{spec.address(ports.RAY_DOOR)}/token"
        known = ingress.lending(guard, SPACE, SPACE, door, parent=self, base=base)
        url = ingress.route(SPACE, SPACE, front, ports.RAY_DASHBOARD, self, base=base, guard=known)
        return services.Service(SPACE, url, known.login(url), health=spec.HEALTH)
