"""Argo Events: what happens outside starts a workflow, if it says who it is.

Owns the bus, the one webhook for what brings a token, and its sensors. Does not own the workflows that they start:
those are templates of others, who ask for a sensor. What GitHub tells is in `github`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.core.v1 import Service, ServiceAccount

import config
from cluster.peers import API_PORTS
from config import Images
from mlops import credentials
from mlops.argo import accounts, bus
from mlops.argo.accounts import TRIGGER
from mlops.base import Base
from mlops.certificates import Certificates
from mlops.flows import API, Flow
from mlops.pods import hardened
from mlops.scrapes import Scrape
from mlops.spaces import Space
from versions import ARGO_EVENTS, ARGO_EVENTS_CHART, NATS, Chart

NAME = "argo-events"
API_VERSION = "argoproj.io/v1alpha1"
SOURCE = "webhook"
PORT, METRICS_PORT = 12000, 7777
ADDRESS = f"http://{SOURCE}-eventsource-svc.{NAME}.svc:{PORT}"
"""Inside the cluster; Argo Events chooses the Service's name."""
TOKENS = "webhook-tokens"
ALERTS, DEPLOYMENTS = "alerts", "deployments"
EVENTS = (ALERTS, DEPLOYMENTS)
"""What the webhook takes: each has a path of its name, and a token of its own."""
BUS = "default"
UID = 9731

FLOWS: tuple[Flow, ...] = (
    Flow(NAME, API, API_PORTS, "the controller makes pods; sensors start workflows"),
    Flow("monitoring", NAME, (METRICS_PORT,), "metrics"),
)
SCRAPES: tuple[Scrape, ...] = (Scrape(NAME, NAME, {"leasehold/metrics": "argo-events"}, "metrics", of="pods"),)


def spaces(config: config.Platform) -> tuple[Space, ...]:  # noqa: ARG001  the same in every profile
    """Its namespace: the controller, the bus, the webhook, and a pod for each sensor."""
    return (Space(NAME, cpu="1", memory="4Gi", pods=24, storage="1Gi"),)


def example_values(config: config.Platform) -> list[tuple[Chart, dict[str, Any]]]:  # noqa: ARG001  the same in every profile
    """The chart, and what it is given in an environment without digests."""
    return [(ARGO_EVENTS_CHART, values(Images()))]


DEPLOYED = {"pulumi.com/waitFor": "condition=Deployed"}

RESTRICTED: Mapping[str, Any] = hardened()
POD: Mapping[str, Any] = {"runAsNonRoot": True, "runAsUser": UID, "seccompProfile": {"type": "RuntimeDefault"}}
MEASURED: Mapping[str, str] = {"leasehold/metrics": "argo-events"}


def _resources(request: str, limit: str) -> dict[str, Any]:
    return {"requests": {"cpu": "10m", "memory": request}, "limits": {"memory": limit}}


def values(images: Images) -> dict[str, Any]:
    """Values of the chart."""
    return {
        "crds": {"install": True, "keep": True},
        "global": {
            "image": {"repository": ARGO_EVENTS.name, "tag": images.tag(ARGO_EVENTS)},
            "securityContext": dict(POD),
        },
        # The bus is ours: the controller makes none of these.
        "configs": {"nats": {"versions": []}, "jetstream": {"versions": []}},
        "controller": {
            # It sees its own namespace only.
            "rbac": {"enabled": True, "namespaced": True},
            "podLabels": dict(MEASURED),
            "containerSecurityContext": dict(RESTRICTED),
            "resources": _resources("48Mi", "256Mi"),
        },
    }


def template(account: str) -> dict[str, Any]:
    """The pods of a source or of a sensor."""
    return {
        "serviceAccountName": account,
        "metadata": {"labels": dict(MEASURED)},
        "securityContext": dict(POD),
        "container": {"resources": _resources("32Mi", "128Mi"), "securityContext": dict(RESTRICTED)},
    }


def source(secret: pulumi.Input[str]) -> dict[str, Any]:
    """The spec of the webhook: whoever posts an event brings its token."""

    def event(name: str) -> dict[str, Any]:
        return {
            "endpoint": f"/{name}",
            "method": "POST",
            "port": str(PORT),
            "maxPayloadSize": 1 << 20,
            "authSecret": {"name": secret, "key": name},
        }

    return {
        "eventBusName": BUS,
        "template": template(SOURCE),
        "service": {"ports": [{"name": SOURCE, "port": PORT, "targetPort": PORT}]},
        "webhook": {name: event(name) for name in EVENTS},
    }


def sensor(event: str, workflow: str, parameter: str, space: pulumi.Input[str]) -> dict[str, Any]:
    """The spec of a sensor: an event's body is the parameter of a workflow by a template."""
    made = {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {"generateName": f"{workflow}-", "namespace": space, "labels": {"leasehold/event": event}},
        "spec": {
            "workflowTemplateRef": {"name": workflow},
            "arguments": {"parameters": [{"name": parameter, "value": ""}]},
        },
    }
    body = {"src": {"dependencyName": event, "dataKey": "body"}, "dest": "spec.arguments.parameters.0.value"}
    return {
        "eventBusName": BUS,
        "template": template(TRIGGER),
        "dependencies": [{"name": event, "eventSourceName": SOURCE, "eventName": event}],
        "triggers": [
            {
                "template": {
                    "name": workflow,
                    "k8s": {"operation": "create", "source": {"resource": made}, "parameters": [body]},
                },
                # A storm of events is no storm of workflows.
                "rateLimit": {"unit": "Minute", "requestsPerUnit": 30},
                # Argo Events tries again only what happens at least once, and reads no factor but a plain number.
                "atLeastOnce": True,
                "retryStrategy": {"steps": 5, "duration": "2s", "factor": 2},
            }
        ],
    }


@dataclass(frozen=True)
class EventsArgs:
    """What Argo Events needs."""

    base: Base
    certificates: Certificates
    workflows: pulumi.Resource
    """Argo Workflows: it brings the kind of what sensors make."""


class Events(pulumi.ComponentResource):
    """The bus, the webhook, and the sensors that others ask for."""

    def __init__(self, name: str, args: EventsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; `opts` gives the provider."""
        super().__init__("leasehold:platform:Events", name, None, opts)
        self._base, self._args, base = args.base, args, args.base
        self._tokens = {event: credentials.password(base, f"{NAME}-{event}", self) for event in EVENTS}
        self._release = base.release(NAME, ARGO_EVENTS_CHART, NAME, values(base.images), self)
        server = self._server()
        url = server.id.apply(lambda _: f"nats://{bus.NAME}.{NAME}.svc:{bus.PORT}")
        self._bus = self.add("EventBus", BUS, bus.event_bus(url, self._access))
        self._account(SOURCE, token=False)
        self._account(TRIGGER, token=True)
        accounts.bind(base, TRIGGER, NAME, accounts.starting(), self)
        secret = credentials.secret(base, f"{TOKENS}-{base.config.rotation}", NAME, self._tokens, self)
        self._source = self.add("EventSource", SOURCE, source(secret))
        self.register_outputs({})

    def webhook(self, event: str) -> tuple[str, pulumi.Output[str]]:
        """Where an event is posted: a URL inside the cluster, and the bearer token that it wants."""
        return f"{ADDRESS}/{event}", self._tokens[event]

    def sensor(self, event: str, workflow: str, parameter: str) -> None:
        """Start a workflow by a template of the namespace of workflows for each event; the body is its parameter."""
        self.add("Sensor", workflow, sensor(event, workflow, parameter, self._base.spaces[accounts.SPACE]))

    def _account(self, name: str, *, token: bool) -> None:
        metadata = {"name": name, "namespace": self._base.spaces[NAME]}
        ServiceAccount(
            f"{NAME}-{name}", metadata=metadata, automount_service_account_token=token, opts=self._base.under(self)
        )

    def _server(self) -> pulumi.CustomResource:
        base = self._base
        password = credentials.password(base, f"{NAME}-bus", self)
        texts = {key: password.apply(make) for key, make in ((bus.CONFIG, bus.settings), (bus.CLIENT, bus.access))}
        self._access = credentials.secret(base, f"{bus.NAME}-{base.config.rotation}", NAME, texts, self)
        names = [f"{bus.NAME}.{NAME}.svc"]
        certificate = self._args.certificates.certify(bus.NAME, NAME, names, self)
        metadata = {"name": bus.NAME, "namespace": base.spaces[NAME], "labels": bus.LABELS}
        Service(f"{NAME}-{bus.NAME}", metadata=metadata, spec=bus.service(), opts=base.under(self))
        image, storage = base.images.reference(NATS), base.config.storage_class
        made: pulumi.CustomResource = StatefulSet(
            f"{NAME}-{bus.NAME}",
            metadata=metadata,
            spec=bus.stateful_set(image, self._access, certificate, base.config.rotation, storage),
            opts=base.under(self),
        )
        return made

    def add(self, kind: str, name: str, spec: Mapping[str, Any]) -> CustomResource:
        """An object of Argo Events, made when what it needs is there."""
        # The release brings the kind; a source or a sensor needs the bus, and a sensor what it starts.
        after = [self._release] if kind == "EventBus" else [self._release, self._bus, self._args.workflows]
        return CustomResource(
            f"{NAME}-{kind.lower()}-{name}",
            api_version=API_VERSION,
            kind=kind,
            metadata={"name": name, "namespace": self._base.spaces[NAME], "annotations": DEPLOYED},
            spec=dict(spec),
            opts=self._base.under(self, after),
        )
