"""The watch over the platform: Prometheus, its alerts, Alertmanager and Grafana."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from cluster import gpu, peers
from config import ExternalTarget, Images, Platform
from mlops import credentials
from mlops.base import Base
from mlops.flows import API, NODES, PODS, Flow
from mlops.ingress import Ingress
from mlops.monitoring import alerts, dashboards, routing, stack
from mlops.monitoring.stack import ADMIN, DASHBOARDS, EXPORTERS, PASSWORD, Names
from mlops.scrapes import INTERVAL, Scrape, spec
from mlops.services import Login, Service
from mlops.spaces import Space
from versions import PROMETHEUS_STACK_CHART, Chart

SPACE = "monitoring"
API_VERSION = "monitoring.coreos.com/v1"
ADMINISTRATOR = "admin"
GRAFANA_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT = 3000, 9090, 9093
GPUS = Scrape("gpus", gpu.NAMESPACE, {"app.kubernetes.io/name": "dcgm-exporter"}, "metrics")
"""Of the cluster layer; where no node has a GPU there is nothing to ask, and no alert."""
MODEL = {"leasehold/scrape": "model"}
"""Label of the Services of models, in any namespace: their port `http` serves /metrics."""

FLOWS: tuple[Flow, ...] = (
    Flow(SPACE, API, peers.API_PORTS, "finding targets; the operator; states of the cluster's objects"),
    Flow(SPACE, NODES, (9100, 10250), "metrics of nodes and kubelets"),
    Flow(SPACE, PODS, (8080, gpu.METRICS), "metrics of models and GPUs"),
    Flow(SPACE, "argo-events", (12000,), "alerts start the log analysis"),
    Flow("ingress", SPACE, (GRAFANA_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT), "user interfaces"),
)


def spaces(config: Platform) -> tuple[Space, ...]:
    """Its namespaces. The quota of the exporters' is that of a large cluster: one pod a node."""
    memory = "3Gi" if config.profile == "small" else "5Gi"
    storage = f"{config.monitoring.storage_gb + 1}Gi"
    return (
        Space(SPACE, cpu="2", memory=memory, pods=16, storage=storage),
        Space(
            EXPORTERS,
            cpu="4",
            memory="25Gi",
            pods=400,
            level="privileged",
            why="the exporters see their host: its network, /proc, /sys and its file systems, read-only",
        ),
    )


def example_values(config: Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """The chart, and what it is given in an environment without digests."""
    names = Names("grafana-admin", "http://webhook.example:12000/alerts")
    return [(PROMETHEUS_STACK_CHART, stack.values(config, Images(), names))]


@dataclass(frozen=True)
class Webhook:
    """Where alerts go."""

    url: str
    token: pulumi.Output[str]
    """A secret."""


@dataclass(frozen=True)
class MonitoringArgs:
    """What the monitoring needs."""

    base: Base
    ingress: Ingress
    scrapes: Sequence[Scrape] = ()
    """Of all parts of the platform."""
    webhook: Webhook | None = None
    """None: alerts are seen, and go nowhere."""
    lease_ends: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)
    """Lease to its end: UTC, "YYYY-MM-DD HH:MM"."""


def models() -> dict[str, Any]:
    """The spec of the ServiceMonitor of all models. What others deploy does not say whose its metrics are."""
    relabelings = [{"targetLabel": "job", "replacement": "models"}]
    return {
        "selector": {"matchLabels": MODEL},
        "namespaceSelector": {"any": True},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": INTERVAL, "relabelings": relabelings}],
    }


def targets(wanted: Mapping[str, ExternalTarget]) -> dict[str, Any]:
    """The spec of the policy that lets Prometheus reach what is outside: these ports, never the metadata service."""
    ports = sorted({int(target.address.rpartition(":")[2]) for target in wanted.values()})
    return {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
        "policyTypes": ["Egress"],
        "egress": [{"to": [peers.address()], "ports": peers.ports(ports)}],
    }


class Monitoring(pulumi.ComponentResource):
    """Prometheus, Alertmanager and Grafana, with what they watch and show."""

    services: Sequence[Service]

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install them; `opts` gives the provider."""
        super().__init__("leasehold:platform:Monitoring", name, None, opts)
        self._args, self._base = args, args.base
        base, config = args.base, args.base.config
        # A new password comes with a new Secret, and so with a new pod: Grafana reads it only when it starts.
        password = credentials.password(base, "grafana-admin", self)
        login: dict[str, pulumi.Input[str]] = {ADMIN: ADMINISTRATOR, PASSWORD: password}
        admin = credentials.secret(base, f"grafana-admin-{config.rotation}", SPACE, login, self)
        boards = self._boards()
        self._release = base.release(
            SPACE,
            PROMETHEUS_STACK_CHART,
            SPACE,
            self._values(admin),
            self,
            # Grafana's pod waits for the files that it mounts.
            after=[boards],
        )
        self._watch()
        self._rules()
        if config.monitoring.targets:
            metadata = {"name": "targets-outside", "namespace": base.spaces[SPACE]}
            policy = targets(config.monitoring.targets)
            NetworkPolicy("monitoring-targets", metadata=metadata, spec=policy, opts=base.under(self))
        self.services = self._routes(f"{SPACE}/grafana-admin-{config.rotation}")
        self.register_outputs({})

    def _values(self, admin: pulumi.Output[str]) -> Mapping[str, pulumi.Input[Any]]:
        base, webhook = self._base, self._args.webhook
        url = webhook.url if webhook else None
        chosen = stack.values(base.config, base.images, Names("", url))
        chosen["grafana"]["admin"]["existingSecret"] = admin
        if webhook:
            token = credentials.secret(base, routing.TOKEN, SPACE, {"token": webhook.token}, self)
            chosen["alertmanager"]["alertmanagerSpec"]["secrets"] = [token]
        return chosen

    def _boards(self) -> pulumi.Resource:
        metadata = {"name": DASHBOARDS, "namespace": self._base.spaces[SPACE]}
        files = dashboards.files()
        made: pulumi.Resource = ConfigMap(
            "monitoring-dashboards", metadata=metadata, data=files, opts=self._base.under(self)
        )
        return made

    def _object(self, name: str, kind: str, metadata: Mapping[str, Any], spec: pulumi.Input[Mapping[str, Any]]) -> None:
        CustomResource(
            name,
            api_version=API_VERSION,
            kind=kind,
            metadata=dict(metadata),
            spec=spec,
            # The release brings the kinds.
            opts=self._base.under(self, [self._release]),
        )

    def _watch(self) -> None:
        """One object for each target; in the target's namespace, where the Secret is that it may need."""
        spaces = self._base.spaces
        for scrape in (*self._args.scrapes, GPUS):
            metadata = {"name": scrape.name, "namespace": spaces.get(scrape.space, spaces[SPACE])}
            self._object(f"scrape-{scrape.name}", scrape.kind, metadata, spec(scrape))
        self._object("scrape-models", "ServiceMonitor", {"name": "models", "namespace": spaces[SPACE]}, models())

    def _rules(self) -> None:
        config, scrapes = self._base.config, self._args.scrapes
        names = sorted(self._args.lease_ends)
        ends = pulumi.Output.all(*(self._args.lease_ends[name] for name in names))
        rules = ends.apply(
            lambda known: {"groups": alerts.groups(config, scrapes, dict(zip(names, known, strict=True)))}
        )
        metadata = {"name": "leasehold", "namespace": self._base.spaces[SPACE]}
        self._object("alerts", "PrometheusRule", metadata, rules)

    def _routes(self, admin: str) -> list[Service]:
        """The three user interfaces; Prometheus and Alertmanager have no accounts, so something stands before them."""
        ingress = self._args.ingress
        grafana = ingress.route("grafana", SPACE, self._service("monitoring-grafana"), 80, self)
        guard = ingress.protect(SPACE, SPACE, self)
        found = [Service("grafana", grafana, Login(grafana, ADMINISTRATOR, admin, PASSWORD), "/api/health")]
        for label, port in (("prometheus", PROMETHEUS_PORT), ("alertmanager", ALERTMANAGER_PORT)):
            url = ingress.route(label, SPACE, self._service(f"monitoring-{label}"), port, self, guard=guard)
            found.append(Service(label, url, guard.login(url), "/-/ready"))
        return found

    def _service(self, name: str) -> pulumi.Output[str]:
        """Name of a Service of the release, known when the release is there."""
        known: pulumi.Output[str] = self._release.status.apply(lambda _: name)
        return known
