"""Argo CD: what Git says is what runs, in the namespaces that are not the platform's.

Owns the server, its one account, the two projects and the repositories. Does not own applications: they are objects of
the project `applications`, which whoever deploys makes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource, CustomResourcePatch

import config
from cluster.peers import API_PORTS
from config import Images
from mlops import credentials
from mlops.base import Base
from mlops.flows import API, WORLD, Flow, port_of
from mlops.ingress import Ingress
from mlops.pods import resources
from mlops.scrapes import Scrape
from mlops.services import Login, Service
from mlops.spaces import Space
from versions import ARGO_CD, ARGO_CD_CHART, REDIS, Chart

NAME = "argocd"
API_VERSION = "argoproj.io/v1alpha1"
PROJECT = "applications"
DEFAULT = "default"
"""Project that Argo CD makes by itself, open to everything."""
ADMIN = "admin"
LOGIN, SERVER, CACHE, NOTIFICATIONS = "argocd-admin", "argocd-secret", "argocd-redis", "argocd-notifications-secret"
"""Secrets. The names of all but the first are Argo CD's."""
OF_SERVER = {"app.kubernetes.io/name": SERVER, "app.kubernetes.io/part-of": "argocd"}
"""Labels without which Argo CD does not read the Secret."""
REPOSITORY = {"argocd.argoproj.io/secret-type": "repository"}
SINCE = "2025-01-01T00:00:00Z"
"""When the password was set, as Argo CD is told. Sessions end with the key that signs them, not by this date."""
METRICS = (8082, 8083, 8084)
EVENT = "deployments"
"""What a deployment's end is called where events go."""

FLOWS: tuple[Flow, ...] = (
    Flow("ingress", NAME, (8080,), "people and programs outside; Argo CD has accounts"),
    Flow("monitoring", NAME, METRICS, "metrics"),
    Flow(NAME, API, API_PORTS, "applications, and what they deploy"),
    Flow(NAME, "argo-events", (12000,), "a deployment's end is an event"),
)
SCRAPES: tuple[Scrape, ...] = tuple(
    Scrape(f"{NAME}-{part}", NAME, {"app.kubernetes.io/component": part}, "http-metrics")
    for part in ("application-controller", "server", "repo-server")
)
"""One for each part: while others answer, nobody would miss one that is lost."""


def flows(config: config.Platform) -> tuple[Flow, ...]:
    """Connections to the repositories: their ports are the environment's."""
    ports = sorted({port_of(repository.url) for repository in config.argo.repositories.values()})
    return (Flow(NAME, WORLD, tuple(ports), "Git repositories"),) if config.argo.cd and ports else ()


def spaces(config: config.Platform) -> tuple[Space, ...]:
    """Its namespace: while a version changes, most parts are there twice."""
    return (Space(NAME, cpu="2", memory="4Gi" if config.profile == "small" else "6Gi", pods=16),)


def example_values(config: config.Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """The chart, and what it is given in an environment without digests."""
    webhook = "http://webhook-eventsource-svc.argo-events.svc:12000/deployments" if config.argo.events else None
    return [(ARGO_CD_CHART, values(config, Images(), webhook))]


def notifications(webhook: str | None) -> dict[str, Any]:
    """Values of the part that says how deployments end; without a webhook there is nobody to tell."""
    if webhook is None:
        return {"enabled": False}
    # What Argo CD reads as YAML is JSON here.
    body = (
        '{"application": "{{.app.metadata.name}}", "namespace": "{{.app.spec.destination.namespace}}", '
        '"revision": "{{.app.status.sync.revision}}", "health": "{{.app.status.health.status}}", '
        '"phase": "{{.app.status.operationState.phase}}"}'
    )
    headers = [
        {"name": "Authorization", "value": "Bearer $token"},
        {"name": "Content-Type", "value": "application/json"},
    ]
    triggers = {
        "deployed": "app.status.operationState.phase in ['Succeeded'] and app.status.health.status == 'Healthy'",
        "failed": "app.status.operationState.phase in ['Error', 'Failed']",
        "degraded": "app.status.health.status == 'Degraded'",
    }
    return {
        "enabled": True,
        "secret": {"create": False, "name": NOTIFICATIONS},
        "notifiers": {"service.webhook.events": json.dumps({"url": webhook, "headers": headers})},
        "templates": {"template.event": json.dumps({"webhook": {"events": {"method": "POST", "body": body}}})},
        "triggers": {
            f"trigger.{name}": json.dumps([{"when": when, "oncePer": "app.status.sync.revision", "send": ["event"]}])
            for name, when in triggers.items()
        },
        "subscriptions": [{"recipients": ["events"], "triggers": list(triggers)}],
        "resources": resources("10m", "48Mi", "256Mi"),
    }


def values(config: config.Platform, images: Images, webhook: str | None) -> dict[str, Any]:
    """Values of the chart; no secret is among them."""
    small = config.profile == "small"
    return {
        "global": {
            "domain": config.host(NAME),
            "image": {"repository": ARGO_CD.name, "tag": images.tag(ARGO_CD)},
            # Ours close the namespace, both ways.
            "networkPolicy": {"create": False},
        },
        "crds": {"install": True, "keep": True},
        "configs": {
            "params": {"server.insecure": "true"},
            "cm": {
                "admin.enabled": "true",
                "exec.enabled": "false",
                "users.anonymous.enabled": "false",
                "application.resourceTrackingMethod": "annotation",
                # An edge cluster shows Argo CD some kinds in some namespaces: what it refuses is not there.
                "resource.respectRBAC": "normal",
                # A revert is a commit: it takes effect when Git is asked the next time.
                "timeout.reconciliation": "10s",
                "timeout.reconciliation.jitter": "0s",
            },
            "rbac": {"policy.default": ""},
            "secret": {"createSecret": False},
        },
        "controller": {
            "metrics": {"enabled": True},
            "resources": resources("50m", "128Mi" if small else "256Mi", "768Mi" if small else "1536Mi"),
        },
        "server": {"metrics": {"enabled": True}, "resources": resources("10m", "48Mi" if small else "64Mi", "256Mi")},
        "repoServer": {
            "metrics": {"enabled": True},
            # It runs what repositories say, and needs nothing of the cluster.
            "automountServiceAccountToken": False,
            "copyutil": {"resources": resources("10m", "16Mi", "128Mi")},
            "resources": resources("20m", "80Mi" if small else "128Mi", "512Mi" if small else "1Gi"),
        },
        "applicationSet": {"replicas": 0 if small else 1, "resources": resources("10m", "48Mi", "256Mi")},
        "notifications": notifications(webhook),
        "dex": {"enabled": False},
        "redis": {
            "image": {"repository": REDIS.name, "tag": images.tag(REDIS)},
            "resources": resources("10m", "16Mi", "128Mi"),
        },
        # Its password is ours: a Job that makes one would need to write Secrets.
        "redisSecretInit": {"enabled": False},
    }


def project(repositories: Sequence[str], closed: Sequence[str]) -> dict[str, Any]:
    """The spec of the project of applications: from these repositories, into every namespace that is not closed.

    An application makes neither objects of the whole cluster nor those that bound it or give rights.
    """
    refused = {
        "": ("ResourceQuota", "LimitRange"),
        "networking.k8s.io": ("NetworkPolicy",),
        "rbac.authorization.k8s.io": ("Role", "RoleBinding"),
    }
    return {
        "description": "What Git says, in the namespaces that are not the platform's",
        "sourceRepos": list(repositories),
        "destinations": [
            *({"server": "*", "namespace": f"!{space}"} for space in closed),
            {"server": "*", "namespace": "*"},
        ],
        "clusterResourceWhitelist": [],
        "namespaceResourceBlacklist": [
            {"group": group, "kind": kind} for group, kinds in refused.items() for kind in kinds
        ],
    }


def shut() -> dict[str, Any]:
    """The spec of the project that Argo CD makes by itself: nothing may be in it."""
    return {"sourceRepos": [], "destinations": [], "clusterResourceWhitelist": []}


@dataclass(frozen=True)
class CdArgs:
    """What Argo CD needs."""

    base: Base
    ingress: Ingress
    webhook: tuple[str, pulumi.Output[str]] | None = None
    """Where the ends of deployments are told: a URL, and the token that it wants."""


class Cd(pulumi.ComponentResource):
    """Argo CD with its projects."""

    service: Service
    release: pulumi.Resource
    """Brings the kinds of applications and projects."""
    project: pulumi.Output[str]
    """Project of applications, known when it is there."""

    def __init__(self, name: str, args: CdArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; `opts` gives the provider."""
        super().__init__("leasehold:platform:Cd", name, None, opts)
        self._base, base = args.base, args.base
        secrets = self._secrets(args)
        chosen = values(base.config, base.images, args.webhook[0] if args.webhook else None)
        # Argo CD makes what it does not find, such as a password of its own: its values come after the Secrets.
        host = pulumi.Output.all(base.config.host(NAME), *secrets).apply(lambda known: str(known[0]))
        chosen["global"]["domain"] = host
        self.release = base.release(NAME, ARGO_CD_CHART, NAME, chosen, self)
        self.project = self._projects()
        url = args.ingress.route(NAME, NAME, f"{NAME}-server", 80, self)
        self.service = Service(NAME, url, Login(url, ADMIN, f"{NAME}/{LOGIN}", "password"), health="/healthz")
        self.register_outputs({})

    def _secrets(self, args: CdArgs) -> list[pulumi.Output[str]]:
        base = self._base
        password, digest = credentials.hashed(base, f"{NAME}-admin", self)
        server: dict[str, pulumi.Input[str]] = {
            "admin.password": digest,
            "admin.passwordMtime": SINCE,
            "server.secretkey": credentials.password(base, f"{NAME}-signing", self),
        }
        cache = credentials.password(base, f"{NAME}-redis", self)
        made = [
            credentials.secret(base, LOGIN, NAME, {"password": password}, self),
            credentials.secret(base, SERVER, NAME, server, self, labels=OF_SERVER),
            credentials.secret(base, CACHE, NAME, {"auth": cache}, self),
        ]
        if args.webhook:
            made.append(credentials.secret(base, NOTIFICATIONS, NAME, {"token": args.webhook[1]}, self))
        return [*made, *self._repositories()]

    def _repositories(self) -> list[pulumi.Output[str]]:
        base, token = self._base, self._base.secrets.git_token
        made = []
        for name, repository in base.config.argo.repositories.items():
            data: dict[str, pulumi.Input[str]] = {"type": "git", "url": repository.url, "project": PROJECT}
            if repository.user and token is not None:
                data |= {"username": repository.user, "password": token}
            made.append(credentials.secret(base, f"repository-{name}", NAME, data, self, labels=REPOSITORY))
        return made

    def _projects(self) -> pulumi.Output[str]:
        base = self._base
        closed = sorted({*base.spaces, "kube-*", DEFAULT, "leasehold-*"})
        urls = [repository.url for repository in base.config.argo.repositories.values()]
        # The release brings the kind.
        under = base.under(self, [self.release])
        CustomResourcePatch(
            f"{NAME}-{DEFAULT}-project",
            api_version=API_VERSION,
            kind="AppProject",
            metadata=self._metadata(DEFAULT, {"pulumi.com/patchForce": "true"}),
            spec=shut(),
            opts=under,
        )
        made = CustomResource(
            f"{NAME}-{PROJECT}-project",
            api_version=API_VERSION,
            kind="AppProject",
            metadata=self._metadata(PROJECT),
            spec=project(urls, closed),
            opts=under,
        )
        known: pulumi.Output[str] = made.id.apply(lambda _: PROJECT)
        return known

    def _metadata(self, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        marked = {"annotations": dict(annotations)} if annotations else {}
        return {"name": name, "namespace": self._base.spaces[NAME], **marked}
