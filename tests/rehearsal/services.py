"""A deployed platform as its users see it: host names behind one address, TLS, and logins by reference."""

import base64
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import mlflow
import requests
from mlflow import MlflowClient

from rehearsal.cloud import Cloud
from tests.environments import dev
from tests.rehearsal.cluster import Kubectl, Machines
from tests.rehearsal.stack import Stack

SECONDS = 30


@dataclass(frozen=True)
class Platform:
    """The stack's services. Their names lead to the bastion while a test runs, as a DNS record would have them."""

    stack: Stack
    kubectl: Kubectl
    machines: Machines
    outputs: dict[str, Any]
    authority: Path
    """File of the certificate that vouches for the services."""

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
            yield cls(stack, kubectl, machines, outputs, authority)

    @property
    def address(self) -> str:
        """The one address that the services are behind."""
        [found] = self.outputs["floating_ips"].values()
        return str(found)

    def url(self, service: str) -> str:
        """URL of a service."""
        return str(self.outputs["endpoints"][service])

    def password(self, service: str) -> tuple[str, str]:
        """User and password, as whoever may read the Secret finds them."""
        login = self.outputs["logins"][service]
        return login["user"], self.secret(login["secret"], login["key"])

    def secret(self, where: str, key: str) -> str:
        """One value of a Secret, given as NAMESPACE/NAME."""
        namespace, _, name = where.partition("/")
        data = self.kubectl.get("secret", name, "-n", namespace)["data"]
        return base64.b64decode(data[key]).decode()

    def session(self, service: str | None = None) -> requests.Session:
        """An HTTP client that trusts the stack's authority; with a service, also logged in there by password."""
        session = requests.Session()
        session.verify = str(self.authority)
        session.trust_env = False
        if service is not None:
            session.auth = self.password(service)
        return session

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

    def get(self, service: str, path: str = "/", *, login: bool = False, **options: Any) -> requests.Response:
        """One request."""
        session = self.session(service if login else None)
        return session.get(f"{self.url(service)}{path}", timeout=SECONDS, allow_redirects=False, **options)


@contextmanager
def leading(domain: str, address: str) -> Iterator[None]:
    """Let every name of a domain lead to an address, in this process."""
    real = socket.getaddrinfo

    def found(host: Any, *rest: Any, **options: Any) -> Any:
        ours = isinstance(host, str) and host.endswith(f".{domain}")
        return real(address if ours else host, *rest, **options)

    with mock.patch.object(socket, "getaddrinfo", found):
        yield
