"""From a commit to a model in production: builds, environments, workflows, promotion and revert.

Owns where a model's source comes from, what makes it an image, and where it runs. Does not own what runs where: that is
in Git, and the pipeline (`apps/delivery`) writes it there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pulumi
from pulumi_kubernetes.networking.v1 import NetworkPolicy

import config
from apps import inventory
from apps.builds import Builds, BuildsArgs
from apps.environments import Environments, EnvironmentsArgs
from apps.exploration import Exploration, ExplorationArgs
from apps.git import GitServer, GitServerArgs
from apps.load_test import LoadTest, LoadTestArgs
from apps.ray import Ray, RayArgs
from apps.settings import Facts
from apps.steps import Steps, StepsArgs
from apps.webhook import Webhook, WebhookArgs
from apps.workflows import Workflows, WorkflowsArgs
from cluster import Access, Cluster
from config import Settings
from mlops import Platform, flows, gateway_api
from mlops.argo.cd import Cd
from mlops.argo.workflows import Workflows as ArgoWorkflows
from mlops.base import Base
from mlops.flows import Flow
from mlops.mlflow import Mlflow
from mlops.registry import Registry
from mlops.services import Service
from mlops.spaces import Spaces


@dataclass(frozen=True)
class AppsArgs:
    """The environment's part for this layer, and what of the platform it stands on."""

    config: config.Apps
    access: Access
    platform: Platform
    mlflow: Mlflow
    registry: Registry
    cd: Cd
    argo: ArgoWorkflows
    source_token: pulumi.Output[str] | None = None
    """Of the model's repository, where it names a user."""

    @classmethod
    def of(cls, settings: Settings, cluster: Cluster | None, platform: Platform | None) -> "AppsArgs | None":
        """Take this layer's part of the settings; None where a platform is all that is wanted."""
        wanted = settings.environment.apps
        if wanted is None or cluster is None or platform is None:
            return None
        mlflow, registry, cd, argo = platform.mlflow, platform.registry, platform.cd, platform.workflows
        if mlflow is None or registry is None or cd is None or argo is None:
            raise ValueError("apps: a part of the platform that it needs is off; apps/rules.py says which")
        token = settings.secrets.source_token
        return cls(wanted, cluster.access, platform, mlflow, registry, cd, argo, token)


class Apps(pulumi.ComponentResource):
    """One model's way from a commit to production."""

    services: list[Service]
    environments: Environments
    settings: pulumi.Output[str]
    """What every step of the pipeline is told, as JSON; no secret is in it."""

    def __init__(self, name: str, args: AppsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make it on the platform; done when a commit could go through."""
        super().__init__("leasehold:apps:Apps", name, None, pulumi.ResourceOptions.merge(opts, args.access.inside))
        under, platform, wanted = pulumi.ResourceOptions(parent=self), args.platform, args.config
        permitted = inventory.flows(wanted, platform.base.config, platform.base.images.mirror)
        spaces = Spaces("apps-spaces", inventory.spaces(wanted), permitted, args.access, under)
        base = replace(platform.base, spaces={**platform.base.spaces, **spaces.names})
        self._open(base, permitted, set(platform.base.spaces))
        git = GitServer("git", GitServerArgs.of(base, wanted, platform), under)
        made = EnvironmentsArgs(base, wanted, platform.ingress, args.registry, args.cd, git)
        self.environments = Environments("environments", made, under)
        builds = Builds("builds", BuildsArgs(base, platform.certificate, wanted.cache_gb), under)
        image = f"models/{wanted.model.lower()}"
        told = StepsArgs(base, wanted, self._facts(args, image), git, args.mlflow, args.source_token)
        steps = Steps("steps", told, under)
        self.settings = steps.settings
        self.services = [git.service, *self.environments.services]
        ray = self._extras(args, base)
        joined = WorkflowsArgs(base, wanted, image, steps, builds, args.mlflow, args.registry, args.argo, ray)
        Workflows("workflows", joined, under)
        if wanted.webhook and platform.events is not None:
            Webhook("webhook", WebhookArgs(base, wanted.source, platform.events, platform.ingress), under)
        self.register_outputs({})

    def how(self) -> dict[str, str]:
        """What one wants of the delivery to the command for it, in a checkout of this project (docs/delivery.md)."""
        step = "PYTHONPATH=apps python -m delivery"
        return {
            "status": f"{step} status --settings FILE",
            "promote": f"{step} approve --settings FILE --digest DIGEST --run RUN --why TEXT",
            "revert": f"{step} revert --settings FILE --why TEXT",
        }

    def _extras(self, args: AppsArgs, base: Base) -> pulumi.Output[str] | None:
        """What is off unless it is asked for; the Secret of Ray's clients, where there is Ray."""
        under, wanted, ingress = pulumi.ResourceOptions(parent=self), args.config, args.platform.ingress
        if wanted.load_test:
            tried = LoadTestArgs(base, wanted, wanted.load_test, ingress)
            self.services.append(LoadTest("load-test", tried, under).service)
        if wanted.exploration:
            shown = ExplorationArgs(base, wanted.model, wanted.exploration, ingress, args.mlflow, args.registry)
            self.services.append(Exploration("exploration", shown, under).service)
        if wanted.ray is None:
            return None
        ray = Ray("ray", RayArgs(base, wanted.ray, ingress, args.mlflow, args.registry), under)
        self.services.append(ray.service)
        return ray.client

    def _open(self, base: Base, permitted: Sequence[Flow], closed: set[str]) -> None:
        """What the platform's namespaces let through for this layer, beside their own."""
        for space in sorted(closed):
            spec = flows.added(space, permitted)
            if spec is not None:
                metadata = {"name": "leasehold-apps", "namespace": base.spaces[space]}
                NetworkPolicy(f"{space}-apps-flows", metadata=metadata, spec=spec, opts=base.under(self))

    def _facts(self, args: AppsArgs, image: str) -> pulumi.Output[Facts]:
        """What of the platform follows only from what was made."""
        last = list(args.config.environments)[-1]
        host, guard = args.platform.base.config.host(last), self.environments.guards[last]
        gateway = args.platform.ingress.entrance(last)

        def known(parts: Mapping[str, str]) -> Facts:
            where = (parts["gateway"], gateway_api.SPACE, gateway_api.HTTPS)
            return Facts(f"{args.registry.host}/{image}", *where, host, parts["guard"])

        return pulumi.Output.all(gateway=gateway, guard=guard.middleware).apply(known)
