"""The platform: databases, objects, models, images, pipelines and their watch, on any cluster.

Owns what many applications share. Does not own applications: those are the apps layer's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

import config
from cluster import Access, Cluster
from cluster.held import HeldReleases
from config import Charts, Images, Secrets, Settings
from infra import Infra
from mlops import inventory
from mlops.argo import events
from mlops.argo.cd import Cd, CdArgs
from mlops.argo.events import Events, EventsArgs
from mlops.argo.workflows import Workflows, WorkflowsArgs
from mlops.base import Base
from mlops.certificates import Certificates, CertificatesArgs
from mlops.ingress import Ingress, IngressArgs
from mlops.mlflow import Mlflow, MlflowArgs
from mlops.monitoring import Monitoring, MonitoringArgs, Webhook, analysis
from mlops.objectstore import ObjectStore, ObjectStoreArgs
from mlops.postgres import Postgres, PostgresArgs
from mlops.registry import Registry, RegistryArgs
from mlops.services import S3, Service
from mlops.spaces import Spaces


@dataclass(frozen=True)
class PlatformArgs:
    """The environment's part for this layer, and the cluster."""

    config: config.Platform
    stack: str
    access: Access
    charts: Charts = field(default_factory=Charts)
    images: Images = field(default_factory=Images)
    secrets: Secrets = Secrets()
    lease_ends: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)
    """Lease to its end: UTC, "YYYY-MM-DD HH:MM"."""
    reader: bool = False
    """Whether the next layer reads all of MLflow."""

    @classmethod
    def of(cls, settings: Settings, infra: Infra | None, cluster: Cluster | None) -> "PlatformArgs | None":
        """Take this layer's part of the settings; None where a cluster is all that is wanted."""
        environment = settings.environment
        if environment.platform is None or cluster is None:
            return None
        given = (environment.charts, environment.images, settings.secrets)
        ends = {name: lease.end_date for name, lease in infra.leases.items()} if infra else {}
        reader = environment.apps is not None and environment.apps.exploration is not None
        return cls(environment.platform, settings.stack, cluster.access, *given, lease_ends=ends, reader=reader)


class Platform(pulumi.ComponentResource):
    """Every part of the platform that the environment does not leave out."""

    services: list[Service]
    store: ObjectStore | None = None
    postgres: Postgres | None = None
    mlflow: Mlflow | None = None
    registry: Registry | None = None
    workflows: Workflows | None = None
    events: Events | None = None
    cd: Cd | None = None
    s3: S3 | None = None
    certificate: pulumi.Output[str]
    """Of the authority that certifies the services, PEM."""
    ingress: Ingress
    """Takes the routes of the next layer too."""
    base: Base
    """The ground that the next layer stands on too."""

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it on the cluster; done when every part is ready."""
        wanted, access = args.config, args.access
        super().__init__("leasehold:platform:Platform", name, None, pulumi.ResourceOptions.merge(opts, access.inside))
        self._under = pulumi.ResourceOptions(parent=self)
        self.services = []
        self.certificate = access.authority.certificate
        spaces = Spaces("spaces", inventory.spaces(wanted), inventory.flows(wanted), access, self._under)
        # Releases are in namespaces of ours: in those of others, nothing is touched.
        alive = pulumi.ResourceOptions(parent=self, deleted_with=access.anchor)
        held = HeldReleases("held-releases", access.kubeconfig, list(spaces.names), alive)
        base = Base(args.stack, wanted, args.charts, args.images, spaces.names, access.anchor, held, args.secrets)
        self.base = base
        certificates = Certificates("certificates", CertificatesArgs(base, access.authority), self._under)
        self.ingress = Ingress("ingress", IngressArgs(base, certificates), self._under)
        self._data(base, certificates)
        self._models(base, args.reader)
        self._images(base, certificates)
        self._pipelines(base, certificates)
        self._watch(base, args.lease_ends)
        self.register_outputs({})

    def _data(self, base: Base, certificates: Certificates) -> None:
        """Objects, and the databases whose archive is among them."""
        if base.config.object_store.enabled:
            self.store = ObjectStore("object-store", ObjectStoreArgs(base, self.ingress), self._under)
            self.s3 = self.store.s3
            self.services += self.store.services
        if base.config.postgres.enabled:
            kept = PostgresArgs.of(base, self.store, certificates.release)
            self.postgres = Postgres("postgres", kept, self._under)

    def _models(self, base: Base, reader: bool) -> None:
        """Runs and models."""
        if base.config.mlflow.enabled and self.postgres and self.store:
            runs, users = (self.postgres.database(app, "mlflow") for app in ("mlflow", "mlflow-auth"))
            tracked = MlflowArgs(base, runs, users, self.store.s3, self.store.keys("mlflow"), self.ingress, reader)
            self.mlflow = Mlflow("mlflow", tracked, self._under)
            self.services.append(self.mlflow.service)

    def _images(self, base: Base, certificates: Certificates) -> None:
        """Images for builds, nodes and people."""
        if base.config.registry.enabled:
            keys = self.store.keys("registry") if self.store else None
            asked = RegistryArgs(base, certificates, self.certificate, self.ingress, self.s3, keys)
            self.registry = Registry("registry", asked, self._under)
            self.services.append(self.registry.service)

    def _pipelines(self, base: Base, certificates: Certificates) -> None:
        """Pipelines, what starts them, and deployments from Git."""
        wanted = base.config.argo
        if wanted.workflows and self.postgres and self.store:
            archive = self.postgres.database("argo-workflows", "argo-workflows")
            keys = self.store.keys("workflows")
            asked = WorkflowsArgs(base, archive, self.store.s3, keys, self.ingress)
            self.workflows = Workflows("argo-workflows", asked, self._under)
            self.services.append(self.workflows.service)
        if wanted.events and self.workflows:
            started = EventsArgs(base, certificates, self.workflows.release)
            self.events = Events("argo-events", started, self._under)
        if wanted.cd:
            told = self.events.webhook(events.DEPLOYMENTS) if self.events else None
            self.cd = Cd("argocd", CdArgs(base, self.ingress, told), self._under)
            self.services.append(self.cd.service)

    def _watch(self, base: Base, lease_ends: Mapping[str, pulumi.Output[str]]) -> None:
        """Metrics and alerts of all the others."""
        if base.config.monitoring.enabled:
            scrapes = inventory.scrapes(base.config)
            watched = MonitoringArgs(base, self.ingress, scrapes, self._analysis(base), lease_ends)
            self.services += Monitoring("monitoring", watched, self._under).services

    def _analysis(self, base: Base) -> Webhook | None:
        """Where alerts go: to a workflow that finds out what is behind them."""
        if self.events is None or self.workflows is None:
            return None
        analysis.LogAnalysis("log-analysis", analysis.LogAnalysisArgs(base, self.workflows.release), self._under)
        self.events.sensor(events.ALERTS, analysis.NAME, analysis.PARAMETER)
        return Webhook(*self.events.webhook(events.ALERTS))
