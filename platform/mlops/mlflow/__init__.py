"""MLflow: runs, their artifacts and the model registry, for whoever has an account there.

Owns the server, its users and the schema of its databases. Does not own the databases, nor the bucket: it is given
them. The server keeps nothing itself, so it may start anywhere again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pulumi
import pulumi_random as random
from pulumi_kubernetes.batch.v1 import Job
from pulumi_kubernetes.core.v1 import ConfigMap

import config
import versions
from config import Images
from mlops import credentials, gateway_api, services
from mlops.base import Base
from mlops.flows import Flow
from mlops.ingress import Ingress
from mlops.mlflow import values
from mlops.mlflow.values import ADMIN, CLIENT, METRICS_PORT, NAME, PORT, READER
from mlops.scrapes import Scrape
from mlops.services import S3, Database, Keys, Login
from mlops.spaces import Space
from versions import MLFLOW_CHART, Chart

ADDRESS = f"http://{NAME}.{NAME}.svc:{PORT}"
"""Inside the cluster."""
WHO = f"{ADDRESS}/api/2.0/mlflow/users/current"
"""What answers whoever MLflow knows, and refuses all others: its pages of health and of its settings do not ask."""
FLOWS: tuple[Flow, ...] = (
    Flow("ingress", NAME, (PORT,), "people and programs outside; MLflow is asked first whether it knows them"),
    Flow("workflows", NAME, (PORT,), "pipelines log runs and register models"),
    Flow("monitoring", NAME, (METRICS_PORT,), "metrics"),
    Flow(NAME, "postgres", (5432,), "runs, models and users are rows"),
    Flow(NAME, "object-store", (9000,), "artifacts pass through the server, which alone has keys"),
)
SCRAPES: tuple[Scrape, ...] = (Scrape(NAME, NAME, {"app.kubernetes.io/name": NAME}, "metrics", of="pods"),)


def spaces(config: config.Platform) -> tuple[Space, ...]:
    """Its namespace: while a version changes there is a server more, and the Job that prepares the databases."""
    server = 2 * values.PROCESS_MB * (config.mlflow.workers + 1)
    memory = (values.servers(config) + 1) * (server + 128) + 3 * values.PROCESS_MB
    return (Space(NAME, cpu="1", memory=f"{memory}Mi", pods=8),)


def example_values(config: config.Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """The chart, and what it is given in an environment without digests."""
    s3 = S3("http://object-store.object-store.svc:9000", "us-east-1", path_style=True, buckets={NAME: NAME})
    return [(MLFLOW_CHART, values.values(config, Images(), s3, "mlflow-scripts"))]


def scripts() -> dict[str, str]:
    """File name to text."""
    folder = resources.files("mlops.mlflow") / "scripts"
    return {name: (folder / name).read_text() for name in ("prepare.py", "metrics.py")}


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class MlflowArgs:
    """What MLflow needs."""

    base: Base
    runs: Database
    users: Database
    s3: S3
    keys: Keys
    """For the bucket of artifacts."""
    ingress: Ingress
    reader: bool = False
    """Whether there is a user who sees what all others made and changes nothing of it."""


class Mlflow(pulumi.ComponentResource):
    """The tracking server and the model registry."""

    service: services.Service

    def __init__(self, name: str, args: MlflowArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; `opts` gives the provider."""
        super().__init__("leasehold:platform:Mlflow", name, None, opts)
        self._base, base = args.base, args.base
        users = (ADMIN, CLIENT, *([READER] if args.reader else []))
        self._passwords = {user: credentials.password(base, f"{NAME}-{user}", self) for user in users}
        texts = scripts()
        mounted = self._mounted(texts)
        prepared = self._prepare(texts, mounted, self._secrets(args))
        chosen = values.values(base.config, base.images, args.s3, mounted)
        # The server refuses a schema of another version, and its administrator has the present password by then.
        base.release(NAME, MLFLOW_CHART, NAME, chosen, self, after=[prepared])
        guard = args.ingress.ask(NAME, NAME, WHO, self)
        url = args.ingress.route(NAME, NAME, NAME, PORT, self, guard=guard)
        # There the server offers addresses of the store itself, signed for its name inside the cluster, which no client
        # outside reaches; and it has no switch for that (3.17.2). Where it says nothing, artifacts go through it.
        args.ingress.route(
            NAME,
            NAME,
            NAME,
            PORT,
            self,
            guard=guard,
            part="capabilities",
            matches=[values.CAPABILITIES],
            filters=[gateway_api.rewritten(values.NOWHERE)],
        )
        login = Login(url, ADMIN, f"{NAME}/{values.ACCOUNTS}", ADMIN)
        self.service = services.Service(NAME, url, login, health="/health")
        self.register_outputs({})

    @property
    def password(self) -> pulumi.Output[str]:
        """Of the user of pipelines; a secret."""
        return self._passwords[CLIENT]

    def client(self, space: str, *, base: Base | None = None, user: str = CLIENT) -> pulumi.Output[str]:
        """A Secret of a namespace with the settings that a client of MLflow there reads from its environment.

        Another `base` knows other namespaces.
        """
        data: Mapping[str, pulumi.Input[str]] = {
            "MLFLOW_TRACKING_URI": ADDRESS,
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": self._passwords[user],
            # The same holds inside: pods have no business with the store's presigned addresses.
            "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
            "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
        }
        return credentials.secret(base or self._base, "mlflow-client", space, data, self)

    def _mounted(self, texts: Mapping[str, str]) -> pulumi.Output[str]:
        """The ConfigMap of the scripts; another text makes another one, which its readers then see."""
        name = f"{NAME}-scripts-{_digest(texts)}"
        metadata = {"name": name, "namespace": self._base.spaces[NAME]}
        made = ConfigMap(
            f"{NAME}-scripts", metadata=metadata, immutable=True, data=dict(texts), opts=self._base.under(self)
        )
        called: pulumi.Output[str] = made.metadata.apply(lambda known: str(known.name or name))
        return called

    def _secrets(self, args: MlflowArgs) -> list[pulumi.Output[str]]:
        base = self._base
        # What signs the pages of signing up: the same in every process, and a length that nobody guesses.
        signing = random.RandomId(
            f"{NAME}-signing",
            byte_length=32,
            keepers={"generation": str(base.config.rotation)},
            opts=pulumi.ResourceOptions(parent=self),
        )
        server = {
            "MLFLOW_FLASK_SERVER_SECRET_KEY": signing.hex,
            "AWS_ACCESS_KEY_ID": args.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": args.keys.secret_key,
        }
        contents: dict[str, Mapping[str, pulumi.Input[str]]] = {
            values.DATABASE: {"uri": args.runs.uri.apply(values.with_driver)},
            values.USERS: {values.SETTINGS_FILE: args.users.uri.apply(values.accounts)},
            values.SERVER: server,
            values.ACCOUNTS: self._passwords,
        }
        return [credentials.secret(base, name, NAME, data, self) for name, data in contents.items()]

    def _prepare(self, texts: Mapping[str, str], mounted: pulumi.Output[str], secrets: list[pulumi.Output[str]]) -> Job:
        base = self._base
        image = base.images.reference(versions.MLFLOW)
        backups = base.config.backups
        # A Job's pod cannot change in place: what it depends on is in its name. A restored database has old passwords.
        made_for = _digest(
            image, base.config.rotation, backups.archive, backups.restore, texts, sorted(self._passwords)
        )
        namespace = pulumi.Output.all(base.spaces[NAME], *secrets).apply(lambda known: str(known[0]))
        return Job(
            f"{NAME}-prepare",
            metadata={
                "name": f"{NAME}-prepare-{made_for}",
                "namespace": namespace,
                # A failed Job stays failed: without this, every later run would wait for it in vain.
                "annotations": {"pulumi.com/replaceUnready": "true"},
            },
            spec=values.prepare(image, mounted),
            opts=pulumi.ResourceOptions.merge(
                base.under(self),
                pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="15m")),
            ),
        )
