"""Argo Workflows: pipelines, run in a namespace of their own by accounts that may do next to nothing.

Owns the controller, the user interface, the namespace `workflows` and the accounts in it. Artifacts and logs go to
the object store, ended workflows to PostgreSQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any
from urllib.parse import urlsplit

import pulumi
from pulumi_kubernetes.networking.v1 import NetworkPolicy

import config
from cluster.peers import API_PORTS, METADATA
from config import Images
from mlops import credentials
from mlops.argo import accounts
from mlops.argo.accounts import EXECUTOR, OPERATOR, SPACE
from mlops.base import Base
from mlops.flows import API, Flow
from mlops.ingress import Ingress
from mlops.pods import resources
from mlops.scrapes import Scrape
from mlops.services import S3, Database, Keys, Login, Service
from mlops.spaces import Space
from versions import ARGO_WORKFLOWS_CHART, ARGO_WORKFLOWS_IMAGES, Chart, Image

NAME = "argo-workflows"
"""Of the release and of the namespace of controller and user interface."""
LABEL = "workflows"
"""Of the host name."""
ARTIFACTS = "artifacts"
"""Secret in the namespace of workflows with the keys of their bucket."""
DATABASE = "argo-workflows-database"
PORT, METRICS_PORT = 2746, 9090
USER = 8737
"""The executor's user: workflows run as it, unless they name another one that is not root."""
DAY = 24 * 3600
KEPT_DAYS = 90
"""How long an ended workflow is found in the archive."""

FLOWS: tuple[Flow, ...] = (
    Flow("ingress", NAME, (PORT,), "user interface and API of pipelines; callers have an account of the cluster"),
    Flow("monitoring", NAME, (METRICS_PORT,), "metrics"),
    Flow(NAME, API, API_PORTS, "workflows and their pods are objects of the cluster"),
    Flow(NAME, "postgres", (5432,), "archive of ended workflows"),
    Flow(NAME, "object-store", (9000,), "the user interface shows artifacts and logs"),
    Flow(SPACE, "object-store", (9000,), "artifacts and logs"),
    Flow(SPACE, API, API_PORTS, "the executor says how a step ended"),
)
SCRAPES: tuple[Scrape, ...] = (
    Scrape(NAME, NAME, {"app.kubernetes.io/name": "argo-workflows-workflow-controller"}, "metrics"),
)


def spaces(config: config.Platform) -> tuple[Space, ...]:
    """The namespace of Argo Workflows, and that of the workflows."""
    small = config.profile == "small"
    return (
        Space(NAME, cpu="1", memory="2Gi", pods=8),
        Space(SPACE, cpu="2" if small else "8", memory="4Gi" if small else "32Gi", pods=100, storage="100Gi"),
    )


def example_values(config: config.Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """The chart, and what it is given in an environment without digests."""
    s3 = S3("http://object-store.object-store.svc:9000", "us-east-1", path_style=True, buckets={LABEL: LABEL})
    names = Names(DATABASE, ARTIFACTS, "argo_workflows", "postgres-rw.postgres.svc")
    return [(ARGO_WORKFLOWS_CHART, values(config, Images(), s3, names))]


@dataclass(frozen=True)
class Names:
    """What the chart's values name."""

    database_secret: pulumi.Input[str]
    artifact_secret: pulumi.Input[str]
    database: str
    host: str


def _image(images: Images, image: Image) -> dict[str, str]:
    return {"registry": image.registry, "repository": image.repository, "tag": images.tag(image)}


RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
}
"""Of every container, as the level of the namespace demands."""
POD: Mapping[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def persistence(names: Names) -> dict[str, Any]:
    """Where ended workflows are kept. The running ones are objects of the cluster only."""

    def key(name: str) -> dict[str, Any]:
        return {"name": names.database_secret, "key": name}

    return {
        "connectionPool": {"maxIdleConns": 2, "maxOpenConns": 10},
        "nodeStatusOffLoad": False,
        "archive": True,
        "archiveTTL": f"{KEPT_DAYS}d",
        "postgresql": {
            "host": names.host,
            "port": 5432,
            "database": names.database,
            "tableName": "argo_workflows",
            "userNameSecret": key("username"),
            "passwordSecret": key("password"),
            "ssl": True,
            "sslMode": "require",
        },
    }


def defaults() -> dict[str, Any]:
    """What holds for every workflow that does not say otherwise."""
    return {
        "spec": {
            "serviceAccountName": EXECUTOR,
            # What runs in a step gets no token: only the executor beside it has one, and may report with it.
            "automountServiceAccountToken": False,
            "executor": {"serviceAccountName": EXECUTOR},
            "securityContext": {**POD, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "activeDeadlineSeconds": DAY,
            "ttlStrategy": {"secondsAfterCompletion": 3 * DAY},
            "podGC": {"strategy": "OnPodSuccess"},
            "templateDefaults": {
                # A node that went away, or a pod that was evicted; not a program that says that it failed.
                "retryStrategy": {
                    "limit": "2",
                    "retryPolicy": "OnError",
                    "backoff": {"duration": "10s", "factor": "2"},
                },
            },
        }
    }


def repository(s3: S3, secret: pulumi.Input[str]) -> dict[str, Any]:
    """Where artifacts and logs go."""
    parts = urlsplit(s3.endpoint)
    return {
        "archiveLogs": True,
        "s3": {
            "endpoint": parts.netloc,
            "insecure": parts.scheme == "http",
            "region": s3.region,
            "bucket": s3.buckets[LABEL],
            "keyFormat": "{{workflow.creationTimestamp.Y}}/{{workflow.creationTimestamp.m}}/"
            "{{workflow.creationTimestamp.d}}/{{workflow.name}}/{{pod.name}}",
            "accessKeySecret": {"name": secret, "key": "access-key"},
            "secretKeySecret": {"name": secret, "key": "secret-key"},
        },
    }


def values(config: config.Platform, images: Images, s3: S3, names: Names) -> dict[str, Any]:
    """Values of the chart."""
    controller, executor, server = ARGO_WORKFLOWS_IMAGES
    small = config.profile == "small"
    return {
        "images": {"pullPolicy": "IfNotPresent"},
        # The full definitions are megabytes, which a Job of the chart downloads from GitHub.
        "crds": {"install": True, "keep": True, "full": False},
        "createAggregateRoles": False,
        "workflow": {"serviceAccount": {"create": False}, "rbac": {"create": False}},
        "controller": {
            "image": _image(images, controller),
            "workflowNamespaces": [SPACE],
            "parallelism": 4 if small else 20,
            "clusterWorkflowTemplates": {"enabled": False},
            "metricsConfig": {"enabled": True, "port": METRICS_PORT, "portName": "metrics", "secure": False},
            "persistence": persistence(names),
            "workflowDefaults": defaults(),
            "podSecurityContext": dict(POD),
            "resources": resources("20m", "64Mi" if small else "96Mi", "512Mi"),
        },
        "mainContainer": {
            "imagePullPolicy": "IfNotPresent",
            "securityContext": dict(RESTRICTED),
            "resources": resources("50m", "128Mi", "1Gi"),
        },
        "executor": {
            "image": {**_image(images, executor), "pullPolicy": "IfNotPresent"},
            "securityContext": dict(RESTRICTED),
            "resources": resources("10m", "32Mi", "256Mi"),
        },
        "server": {
            "image": _image(images, server),
            # Whoever calls brings a token of the cluster, and may do what its account may.
            "authModes": ["client"],
            "secure": False,
            "clusterWorkflowTemplates": {"enabled": False, "enableEditing": False},
            "podSecurityContext": dict(POD),
            "securityContext": {"readOnlyRootFilesystem": True},
            "resources": resources("10m", "48Mi", "256Mi"),
        },
        "useStaticCredentials": True,
        "artifactRepository": repository(s3, names.artifact_secret),
    }


def outside(networks: Sequence[IPv4Network]) -> dict[str, Any]:
    """The spec of the policy that lets workflows reach networks beside the platform; never the metadata service."""
    refused = IPv4Network(METADATA)
    blocks = [
        {"cidr": str(network), **({"except": [METADATA]} if refused.subnet_of(network) else {})}
        for network in networks
        # What is excepted must be a part, and not all.
        if network != refused
    ]
    return {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"ipBlock": block}]} for block in blocks],
    }


@dataclass(frozen=True)
class WorkflowsArgs:
    """What Argo Workflows needs."""

    base: Base
    database: Database
    """For the archive."""
    s3: S3
    keys: Keys
    """For the bucket of artifacts."""
    ingress: Ingress


class Workflows(pulumi.ComponentResource):
    """The controller of workflows, their user interface, and the namespace where they run."""

    service: Service
    release: pulumi.Resource
    """Brings the kinds of workflows and their templates."""

    def __init__(self, name: str, args: WorkflowsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; `opts` gives the provider."""
        super().__init__("leasehold:platform:Workflows", name, None, opts)
        base, database, keys = args.base, args.database, args.keys
        login = {"username": pulumi.Output.from_input(database.user), "password": database.password}
        access = {"access-key": keys.access_key, "secret-key": keys.secret_key}
        names = Names(
            credentials.secret(base, DATABASE, NAME, login, self),
            credentials.secret(base, ARTIFACTS, SPACE, access, self),
            database.name,
            database.host,
        )
        accounts.executor(base, self)
        token = accounts.operator(base, ARTIFACTS, self)
        self.release = base.release(
            NAME, ARGO_WORKFLOWS_CHART, NAME, values(base.config, base.images, args.s3, names), self
        )
        if base.config.egress:
            metadata = {"name": "outside", "namespace": base.spaces[SPACE]}
            NetworkPolicy(
                f"{SPACE}-outside", metadata=metadata, spec=outside(base.config.egress), opts=base.under(self)
            )
        url = args.ingress.route(LABEL, NAME, f"{NAME}-server", PORT, self)
        self.service = Service(LABEL, url, Login(url, OPERATOR, token, "token"))
        self.register_outputs({})
