"""The workflows that take a revision to production, and the account of the one step that looks at pods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import ServiceAccount
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

import config
import versions
from apps.builds import Builds
from apps.builds.spec import REGISTRY
from apps.environments import spec as environments
from apps.steps import Steps
from apps.workflows import templates
from apps.workflows.pods import Images
from apps.workflows.templates import MEASURER, Wanted
from mlops.argo.accounts import SPACE
from mlops.argo.events import API_VERSION
from mlops.argo.workflows import Workflows as ArgoWorkflows
from mlops.base import Base
from mlops.mlflow import Mlflow
from mlops.registry import Registry


@dataclass(frozen=True)
class WorkflowsArgs:
    """What the workflows need."""

    base: Base
    config: config.Apps
    image: str
    """NAME of the model's images, without a registry."""
    steps: Steps
    builds: Builds
    mlflow: Mlflow
    registry: Registry
    argo: ArgoWorkflows


class Workflows(pulumi.ComponentResource):
    """Templates of workflows."""

    def __init__(self, name: str, args: WorkflowsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make them; `opts` gives the provider."""
        super().__init__("leasehold:apps:Workflows", name, None, opts)
        self._args, self._base = args, args.base
        secrets = [args.builds.client, args.mlflow.client(SPACE), args.registry.push_secret(args.base, SPACE)]
        # A template is there when all that its pods mount is: whoever starts it need not wait.
        ready = pulumi.Output.all(args.steps.package, self._account(), *secrets)
        self._templates(ready.apply(lambda known: self._wanted(str(known[0]))))
        self.register_outputs({})

    def _wanted(self, package: str) -> Wanted:
        args, images = self._args, self._base.images
        training = images.reference(versions.MLFLOW)
        builds = (images.reference(image) for image in (versions.BUILDKIT, versions.SBOM_SCANNER))
        chosen = Images(images.reference(versions.PYTHON_GIT), training, *builds)
        return Wanted(args.config, chosen, package, training, f"{REGISTRY}/{args.image}")

    def _metadata(self, name: str, space: str = SPACE) -> dict[str, Any]:
        return {"name": name, "namespace": self._base.spaces[space]}

    def _account(self) -> pulumi.Output[str]:
        """Who looks at pods, in the first environment only."""
        first, under = next(iter(self._args.config.environments)), self._base.under(self)
        account = ServiceAccount(
            MEASURER, metadata=self._metadata(MEASURER), automount_service_account_token=False, opts=under
        )
        called = account.id.apply(lambda _: MEASURER)
        role = Role(
            f"{first}-{MEASURER}", metadata=self._metadata(MEASURER, first), rules=environments.reading(), opts=under
        )
        bound = RoleBinding(
            f"{first}-{MEASURER}",
            metadata=self._metadata(MEASURER, first),
            role_ref={
                "api_group": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": role.id.apply(lambda _: MEASURER),
            },
            subjects=[{"kind": "ServiceAccount", "name": called, "namespace": self._base.spaces[SPACE]}],
            opts=under,
        )
        known: pulumi.Output[str] = bound.id.apply(lambda _: MEASURER)
        return known

    def _templates(self, wanted: pulumi.Output[Wanted]) -> None:
        chosen, branch = self._args.config, self._args.config.source.branch
        made: dict[str, Callable[[Wanted], templates.Tree]] = {
            **{name: templates.alone(name) for name in templates.STEPS if name != templates.DRIFT or chosen.drift},
            templates.PIPELINE: templates.pipeline,
            **({templates.RETRAIN: templates.retrain} if chosen.drift else {}),
        }
        for name, build in made.items():
            self._object("WorkflowTemplate", name, wanted.apply(build))
        if chosen.schedule:
            why = f"trained again by the clock: {chosen.schedule}"
            nightly = templates.clock(templates.PIPELINE, chosen.schedule, branch, why)
            self._object("CronWorkflow", templates.NIGHTLY, nightly)
        if chosen.drift:
            watch = templates.clock(templates.RETRAIN, chosen.drift.schedule, branch, templates.CHANGED)
            self._object("CronWorkflow", templates.DRIFTING, watch)

    def _object(self, kind: str, name: str, spec: Any) -> None:
        CustomResource(
            name,
            api_version=API_VERSION,
            kind=kind,
            metadata=self._metadata(name),
            spec=spec,
            # The release brings the kind.
            opts=self._base.under(self, [self._args.argo.release]),
        )
