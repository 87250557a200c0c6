"""The services of a stack: host names behind one address, TLS by the stack's authority, logins by reference."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from rehearsal.outside.kubectl import Kubectl
from rehearsal.outside.names import leading

VERSION_SECONDS = 5
"""For an environment's answer."""


@dataclass(frozen=True)
class Services:
    """What the stack outputs say, and how one gets in."""

    outputs: Mapping[str, Any]
    kubectl: Kubectl
    authority: Path
    """File of the certificate that vouches for the services."""

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

    def version(self, environment: str) -> str:
        """The version that an environment of the model says it serves; empty where it serves nothing."""
        asked = f"{self.url(environment)}/version"
        try:
            reply = self.session(environment).get(asked, timeout=VERSION_SECONDS, headers={"Connection": "close"})
            return str(reply.json()["model_version"]) if reply.status_code == 200 else ""
        except (requests.RequestException, ValueError):
            return ""

    @property
    def domain(self) -> str:
        """What all services' host names end with."""
        host = urlsplit(next(iter(self.outputs["endpoints"].values()))).hostname or ""
        return host.partition(".")[2]


@contextmanager
def of(outputs: Mapping[str, Any], folder: Path) -> Iterator[Services]:
    """The services of a stack by its outputs, secrets included; its names are known while it lasts.

    The kubeconfig and the certificate are kept in a folder of the owner's.
    """
    kubeconfig, authority = folder / "kubeconfig", folder / "authority.crt"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(outputs["kubeconfig"])
    authority.write_text(outputs["ca_certificate"])
    made = Services(outputs, Kubectl(kubeconfig), authority)
    with leading(made.domain, made.address):
        yield made
