"""What every component of the platform is given, and how each of them installs a chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes.helm.v3 import Release

from cluster.held import HeldReleases
from config import Charts, Images, Platform, Secrets
from versions import Chart

MINUTES = 10
"""Bound of a release: images of some hundred megabytes are pulled first."""


@dataclass(frozen=True)
class Base:
    """The ground that components stand on. A component reads no configuration but this."""

    stack: str
    config: Platform
    charts: Charts
    images: Images
    spaces: Mapping[str, pulumi.Output[str]]
    """Namespace to its name, known when all that guards it is there."""
    anchor: pulumi.Resource | None
    """Lives as long as the cluster: its end needs no working API."""
    held: HeldReleases
    """Frees releases whose last operation was cut off, before any of them is touched."""
    secrets: Secrets = field(default_factory=Secrets)

    @property
    def small(self) -> bool:
        """Whether all must fit one node of 4 GiB."""
        return self.config.profile == "small"

    def under(self, parent: pulumi.Resource, after: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        """Options of an object in the cluster: it goes with the cluster. `after` hand no value on: say why there."""
        return pulumi.ResourceOptions(parent=parent, deleted_with=self.anchor, depends_on=list(after))

    def release(
        self,
        name: str,
        chart: Chart,
        space: str,
        values: Mapping[str, pulumi.Input[Any]],
        parent: pulumi.Resource,
        *,
        after: Sequence[pulumi.Resource] = (),
        minutes: int = MINUTES,
    ) -> Release:
        """Install a chart as the release `name` of a namespace, and wait until its pods are ready."""
        source, repository = self.charts.source(chart)
        return Release(
            name,
            name=name,
            chart=source,
            version=chart.version,
            repository_opts=repository,
            namespace=self.spaces[space],
            values=dict(values),
            timeout=minutes * 60,
            skip_await=False,
            description=self.held.description(space, name),
            # Of a failed install that the state does not know; helm takes no other name again.
            replace=True,
            # A revision holds all manifests: the last few are enough to look back.
            max_history=5,
            opts=self.under(parent, after),
        )
