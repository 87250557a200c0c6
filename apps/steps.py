"""What the steps of a delivery need where they run: the program, its settings and its passwords."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap

import config
from apps import package, settings
from apps.delivery.releases import written
from apps.git import GitServer
from apps.git import spec as git
from apps.settings import Facts
from mlops import credentials
from mlops.argo.accounts import SPACE
from mlops.base import Base
from mlops.mlflow import Mlflow

PACKAGE, SETTINGS, TOKENS = "delivery-package", "delivery-settings", "delivery-tokens"


@dataclass(frozen=True)
class StepsArgs:
    """What the steps need."""

    base: Base
    config: config.Apps
    facts: pulumi.Output[Facts]
    git: GitServer
    mlflow: Mlflow
    source_token: pulumi.Output[str] | None
    """Of the model's repository, where it names a user."""


class Steps(pulumi.ComponentResource):
    """ConfigMaps and a Secret in the namespace of workflows, which pods of steps mount."""

    settings: pulumi.Output[str]
    """What every step is told, as JSON; no secret is in it."""
    package: pulumi.Output[str]
    """Name of the ConfigMap of the program, known when all that steps mount is there."""

    def __init__(self, name: str, args: StepsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make them; `opts` gives the provider."""
        super().__init__("leasehold:apps:Steps", name, None, opts)
        self._base = args.base
        self.settings = args.facts.apply(lambda facts: written(settings.of(args.config, facts)))
        tokens = {settings.GIT_TOKEN: args.git.passwords[git.STEPS], settings.MLFLOW_TOKEN: args.mlflow.password}
        if args.source_token is not None:
            tokens[settings.SOURCE_TOKEN] = args.source_token
        secret = credentials.secret(args.base, TOKENS, SPACE, tokens, self)
        program = self._map(PACKAGE, binary_data={package.ARCHIVE: base64.b64encode(package.archive()).decode()})
        told = self._map(SETTINGS, data={"settings.json": self.settings})
        self.package = pulumi.Output.all(program, told, secret).apply(lambda names: str(names[0]))
        self.register_outputs({})

    def _map(self, name: str, **content: Any) -> pulumi.Output[str]:
        # A program that changes is another ConfigMap: a step ends with the one that it began with.
        fixed = content.get("binary_data")
        called = f"{name}-{hashlib.sha256(str(fixed).encode()).hexdigest()[:10]}" if fixed else name
        made = ConfigMap(
            name,
            metadata={"name": called, "namespace": self._base.spaces[SPACE]},
            immutable=True if fixed else None,
            opts=self._base.under(self),
            **content,
        )
        known: pulumi.Output[str] = made.id.apply(lambda _: called)
        return known
