"""The places where releases run: each a namespace with a Service, a host name, and Argo CD that follows Git.

Nothing runs in them before Git says so, which it does only of images that are in the registry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.autoscaling.v2 import HorizontalPodAutoscaler
from pulumi_kubernetes.core.v1 import Service
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget

import config
from apps import ports
from apps.environments import spec
from apps.environments.spec import APPLICATION, PROJECT
from apps.git import GitServer
from apps.git import spec as git
from mlops import credentials, monitoring, services
from mlops.argo import cd
from mlops.base import Base
from mlops.ingress import Ingress
from mlops.ingress.guards import Guard
from mlops.registry import Registry


@dataclass(frozen=True)
class EnvironmentsArgs:
    """What the environments need."""

    base: Base
    config: config.Apps
    ingress: Ingress
    registry: Registry
    cd: cd.Cd
    git: GitServer


class Environments(pulumi.ComponentResource):
    """All environments of the model."""

    services: list[services.Service]
    guards: Mapping[str, Guard]
    """Environment to what its requests must pass."""

    def __init__(self, name: str, args: EnvironmentsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make them; `opts` gives the provider."""
        super().__init__("leasehold:apps:Environments", name, None, opts)
        self._args, self._base = args, args.base
        self.services = []
        names = list(args.config.environments)
        self.guards = {each: self._guard(each) for each in names}
        ready = {each: self._place(each, target) for each, target in args.config.environments.items()}
        if len(names) > 2:
            self._grant(names[-2], names[-1])
        project = self._project(names)
        for each in names:
            self._application(each, project, ready[each])
        self.register_outputs({})

    def describe(self) -> dict[str, dict[str, str]]:
        """Environment to where it is, and where one reads what it serves: that changes with Git, not with the stack."""
        model = self._args.config.model
        return {
            service.name: {
                "url": service.url,
                "version": f"{service.url}/version",
                "model": f"models:/{model}@{service.name}",
                "state": f"{git.RELEASES}.git: environments/{service.name}/release.json",
            }
            for service in self.services
        }

    def _metadata(self, name: str, space: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        marked = {"annotations": dict(annotations)} if annotations else {}
        return {"name": name, "namespace": self._base.spaces[space], **marked}

    def _guard(self, name: str) -> Guard:
        """Who asks must be known, and is answered while there is a pod that can."""
        base, ingress = self._base, self._args.ingress
        guard = ingress.protect(APPLICATION, name, self, base=base)
        return ingress.lasting(guard, APPLICATION, name, self, base=base)

    def _place(self, name: str, target: config.Target) -> pulumi.Output[str]:
        """What an environment has; its name, known when a release could run there."""
        base, args = self._base, self._args
        under = base.under(self)
        secret = args.registry.pull_secret(base, name)
        front = Service(
            f"{name}-service",
            # Nobody waits for pods: there are none before the first release.
            metadata={
                **self._metadata(APPLICATION, name, {"pulumi.com/skipAwait": "true"}),
                "labels": monitoring.MODEL,
            },
            spec=spec.service(target),
            opts=under,
        )
        PodDisruptionBudget(
            f"{name}-budget", metadata=self._metadata(APPLICATION, name), spec=spec.budget(), opts=under
        )
        if target.most is not None:
            HorizontalPodAutoscaler(
                f"{name}-autoscaler",
                metadata=self._metadata(APPLICATION, name, {"pulumi.com/skipAwait": "true"}),
                spec=spec.autoscaler(target, target.most),
                opts=under,
            )
        guard = self.guards[name]
        if name == list(args.config.environments)[-1]:
            url = f"https://{base.config.host(name)}"  # its route is in Git, with the canary's share
        else:
            service = front.id.apply(lambda _: APPLICATION)
            url = args.ingress.route(name, name, service, ports.SERVICE, self, base=base, guard=guard)
        self.services.append(services.Service(name, url, guard.login(url), health="/healthz"))
        return pulumi.Output.all(secret, front.id, guard.middleware).apply(lambda _: name)

    def _project(self, names: list[str]) -> pulumi.Output[str]:
        """Argo CD's project, known when it may read the repository too."""
        base, args = self._base, self._args
        data: dict[str, pulumi.Input[str]] = {
            **{"type": "git", "url": args.git.releases, "project": PROJECT, "username": git.ARGO_CD},
            "password": args.git.passwords[git.ARGO_CD],
        }
        secret = credentials.secret(base, "repository-releases", cd.NAME, data, self, labels=cd.REPOSITORY)
        made = CustomResource(
            f"{PROJECT}-project",
            api_version=cd.API_VERSION,
            kind="AppProject",
            metadata=self._metadata(PROJECT, cd.NAME),
            spec=spec.project(git.url(git.RELEASES), names),
            # The release brings the kind.
            opts=base.under(self, [args.cd.release]),
        )
        return pulumi.Output.all(secret, made.id).apply(lambda _: PROJECT)

    def _application(self, name: str, project: pulumi.Output[str], ready: pulumi.Output[str]) -> None:
        known = pulumi.Output.all(self._args.git.releases, ready, project)
        CustomResource(
            f"{name}-application",
            api_version=cd.API_VERSION,
            kind="Application",
            metadata=self._metadata(name, cd.NAME),
            spec=known.apply(lambda parts: spec.application(*map(str, parts))),
            opts=self._base.under(self, [self._args.cd.release]),
        )

    def _grant(self, canary: str, production: str) -> None:
        CustomResource(
            f"{canary}-grant",
            api_version="gateway.networking.k8s.io/v1beta1",
            kind="ReferenceGrant",
            metadata=self._metadata(APPLICATION, canary),
            spec=spec.grant(production),
            opts=self._base.under(self, self._args.ingress.definitions),
        )
