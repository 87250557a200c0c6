"""What a request must pass before it reaches a service that has no accounts of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from mlops.services import Login

API_VERSION = "traefik.io/v1alpha1"
USER = "admin"
BASIC = "kubernetes.io/basic-auth"
"""Type of a Secret with a user and a password, from which Traefik derives what it compares with."""

ATTEMPTS = 8
"""Of one request at pods that cannot be reached. Where one of two is lost, half of them meet it each time."""
ANSWER_BYTES = 1 << 20
"""Of who is asked: its answer is held in memory."""


@dataclass(frozen=True)
class Guard:
    """A filter of routes in one namespace."""

    middleware: pulumi.Output[str]
    """Name of the Middleware, known when it is there."""
    secret: str | None = None
    """NAMESPACE/NAME of the Secret with the password; None: somebody else knows who may pass."""

    def login(self, url: str) -> Login | None:
        """How to pass it; None: by single sign-on, or by the service's own accounts."""
        return Login(url, USER, self.secret, "password") if self.secret else None


def basic(secret: pulumi.Input[str]) -> dict[str, Any]:
    """The spec of a Middleware that wants a user and a password, and does not hand them on."""
    return {"basicAuth": {"secret": secret, "realm": "leasehold", "removeHeader": True}}


def ask(address: pulumi.Input[str], answers: Sequence[str] = ()) -> dict[str, Any]:
    """The spec of a Middleware that asks elsewhere with the request's credentials: 2xx lets it pass.

    Headers `answers` of the answer replace the request's. Other answers go to the client as they are.
    """
    asked: dict[str, Any] = {
        "address": address,
        "trustForwardHeader": False,
        "authRequestHeaders": ["Accept", "Authorization", "Cookie"],
        "maxResponseBodySize": ANSWER_BYTES,
    }
    return {"forwardAuth": {**asked, "authResponseHeaders": list(answers)} if answers else asked}


def again() -> dict[str, Any]:
    """The spec of a Middleware that asks another pod where one cannot be reached; what one received is never repeated.

    Only before servers of HTTP/1.1: over HTTP/2, which Traefik speaks to servers with TLS, an answer may overtake the
    news that the request was sent. Traefik then drops the answer, and the client gets an empty 200.
    """
    return {"retry": {"attempts": ATTEMPTS}}


def both(first: pulumi.Input[str], second: pulumi.Input[str]) -> dict[str, Any]:
    """The spec of a Middleware that is two of the same namespace, one after the other."""
    return {"chain": {"middlewares": [{"name": first}, {"name": second}]}}
