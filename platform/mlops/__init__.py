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

    @classmethod
    def of(cls, settings: Settings, infra: Infra | None, cluster: Cluster | None) -> "PlatformArgs | None":
        """Take this layer's part of the settings; None where a cluster is all that is wanted."""
        environment = settings.environment
        if environment.platform is None or cluster is None:
            return None
        given = (environment.charts, environment.images, settings.secrets)
        ends = {name: lease.end_date for name, lease in infra.leases.items()} if infra else {}
        return cls(environment.platform, settings.stack, cluster.access, *given, lease_ends=ends)


class Platform(pulumi.ComponentResource):
    """Every part of the platform that the environment does not leave out."""

    services: list[Service]
    store: ObjectStore | None
    postgres: Postgres | None
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

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it on the cluster; done when every part is ready."""
        wanted, access = args.config, args.access
        given = pulumi.ResourceOptions(providers={"kubernetes": access.provider})
        super().__init__("leasehold:platform:Platform", name, None, pulumi.ResourceOptions.merge(opts, given))
        under = pulumi.ResourceOptions(parent=self)
        self.certificate = access.authority.certificate
        spaces = Spaces("spaces", inventory.spaces(wanted), inventory.flows(wanted), access, under)
        # Releases are in namespaces of ours: in those of others, nothing is touched.
        alive = pulumi.ResourceOptions(parent=self, deleted_with=access.anchor)
        held = HeldReleases("held-releases", access.kubeconfig, list(spaces.names), alive)
        base = Base(args.stack, wanted, args.charts, args.images, spaces.names, access.anchor, held, args.secrets)
        certificates = Certificates("certificates", CertificatesArgs(base, access.authority), under)
        self.ingress = Ingress("ingress", IngressArgs(base, certificates), under)
        self.services = []
        self.store = (
            ObjectStore("object-store", ObjectStoreArgs(base, self.ingress), under)
            if wanted.object_store.enabled
            else None
        )
        if self.store:
            self.s3 = self.store.s3
            self.services += self.store.services
        self.postgres = (
            Postgres("postgres", PostgresArgs.of(base, self.store, certificates.release), under)
            if wanted.postgres.enabled
            else None
        )
        if wanted.mlflow.enabled and self.postgres and self.store:
            runs, users = (self.postgres.database(app, "mlflow") for app in ("mlflow", "mlflow-auth"))
            tracked = MlflowArgs(base, runs, users, self.store.s3, self.store.keys("mlflow"), self.ingress)
            self.mlflow = Mlflow("mlflow", tracked, under)
            self.services.append(self.mlflow.service)
        if wanted.registry.enabled:
            keys = self.store.keys("registry") if self.store else None
            asked = RegistryArgs(base, certificates, self.certificate, self.ingress, self.s3, keys)
            self.registry = Registry("registry", asked, under)
            self.services.append(self.registry.service)
        self._argo(base, certificates, under)
        if wanted.monitoring.enabled:
            alerts = self._analysis(base, under)
            watched = MonitoringArgs(base, self.ingress, inventory.scrapes(wanted), alerts, args.lease_ends)
            self.services += Monitoring("monitoring", watched, under).services
        self.register_outputs({})

    def _argo(self, base: Base, certificates: Certificates, under: pulumi.ResourceOptions) -> None:
        """Pipelines, what starts them, and deployments from Git."""
        wanted = base.config.argo
        if wanted.workflows and self.postgres and self.store:
            archive = self.postgres.database("argo-workflows", "argo-workflows")
            keys = self.store.keys("workflows")
            asked = WorkflowsArgs(base, archive, self.store.s3, keys, self.ingress)
            self.workflows = Workflows("argo-workflows", asked, under)
            self.services.append(self.workflows.service)
        if wanted.events and self.workflows:
            started = EventsArgs(base, certificates, self.workflows.release)
            self.events = Events("argo-events", started, under)
        if wanted.cd:
            told = self.events.webhook(events.DEPLOYMENTS) if self.events else None
            self.cd = Cd("argocd", CdArgs(base, self.ingress, told), under)
            self.services.append(self.cd.service)

    def _analysis(self, base: Base, under: pulumi.ResourceOptions) -> Webhook | None:
        """Where alerts go: to a workflow that finds out what is behind them."""
        if self.events is None or self.workflows is None:
            return None
        analysis.LogAnalysis("log-analysis", analysis.LogAnalysisArgs(base, self.workflows.release), under)
        self.events.sensor(events.ALERTS, analysis.NAME, analysis.PARAMETER)
        return Webhook(*self.events.webhook(events.ALERTS))
