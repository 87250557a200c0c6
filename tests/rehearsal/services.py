"""A deployed platform as its users see it: host names behind one address, TLS, and logins by reference."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import mlflow
import requests
from mlflow import MlflowClient

from mlops.objectstore.scripts.s3 import Bucket, Store
from rehearsal.cloud import Cloud
from rehearsal.outside.names import leading
from rehearsal.outside.services import Services
from tests.environments import dev
from tests.rehearsal.cluster import Kubectl, Machines, until
from tests.rehearsal.stack import Stack

SECONDS = 30


@dataclass(frozen=True)
class Platform(Services):
    """The stack's services with its machines. Names lead to the bastion while a test runs, as a DNS record would."""

    kubectl: Kubectl
    stack: Stack
    machines: Machines

    @classmethod
    @contextmanager
    def of(cls, stack: Stack, cloud: Cloud) -> Iterator["Platform"]:
        """Read the outputs, and resolve the environment's domain."""
        outputs = stack.outputs()
        kubectl = Kubectl.of(stack)
        authority = kubectl.kubeconfig.with_name("authority.crt")
        authority.write_text(outputs["ca_certificate"])
        machines = Machines(cloud, stack.root, stack.name)
        [address] = outputs["floating_ips"].values()
        with leading(dev()["platform"]["domain"], address):
            yield cls(outputs, kubectl, authority, stack, machines)

    def recovered(self, seconds: float = 180) -> None:
        """Wait until every pod serves again that has not ended."""
        self.kubectl.recovered(seconds)

    @contextmanager
    def mlflow(self, account: tuple[str, str] | None = None) -> Iterator[MlflowClient]:
        """MLflow's client as a person configures it: by environment. Without an account as the administrator."""
        user, password = account or self.password("mlflow")
        settings = {
            "MLFLOW_TRACKING_USERNAME": user,
            "MLFLOW_TRACKING_PASSWORD": password,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.authority),
            "NO_PROXY": "*",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }
        with mock.patch.dict(os.environ, settings):
            uri = self.outputs["mlflow_tracking_uri"]
            mlflow.set_tracking_uri(uri)
            yield MlflowClient(uri)

    def query(self, text: str) -> list[dict[str, Any]]:
        """An instant query of Prometheus, through the ingress."""
        answer = self.get("prometheus", "/api/v1/query", login=True, params={"query": text})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def alerts(self, name: str, /, **labels: str) -> list[dict[str, Any]]:
        """The alerts of a name and with these labels that wait for their time (`alertstate="pending"`) or fire."""
        wanted = ",".join(f'{key}="{value}"' for key, value in {"alertname": name, **labels}.items())
        return self.query(f"ALERTS{{{wanted}}}")

    def alerted(self, name: str, /, seconds: float = 120, **labels: str) -> None:
        """Wait until such an alert fires."""
        until(f"the alert {name}", lambda: self.alerts(name, alertstate="firing", **labels), seconds, 3)

    @contextmanager
    def bucket(self, purpose: str, access_key: str, secret_key: str) -> Iterator[Bucket]:
        """A bucket of the object store, as a client outside has it."""
        known = self.outputs["s3"]
        with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(self.authority)}):
            store = Store(self.url("s3"), known["region"], access_key, secret_key)
            yield Bucket(store, known["buckets"][purpose])

    def get(self, service: str, path: str = "/", *, login: bool = False, **options: Any) -> requests.Response:
        """One request."""
        session = self.session(service if login else None)
        return session.get(f"{self.url(service)}{path}", timeout=SECONDS, allow_redirects=False, **options)
