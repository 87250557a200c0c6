"""Single sign-on before what has no accounts of its own: oauth2-proxy, asked before every request.

A part of the platform only where the environment names an issuer.
"""

from typing import Any

import pulumi

from config import Images, Platform, Sso
from mlops import credentials, gateway_api
from mlops.base import Base
from mlops.flows import WORLD, Flow
from mlops.spaces import Space
from versions import OAUTH2_PROXY, OAUTH2_PROXY_CHART, Chart

NAME = "oauth2-proxy"
SPACE = gateway_api.SPACE
LABEL = "login"
"""First label of the host name that the issuer sends people back to."""
PORT = 80
"""Of its Service."""
ADDRESS = f"http://{NAME}.{SPACE}.svc.cluster.local:{PORT}/"
ANSWERS = ("X-Auth-Request-User", "X-Auth-Request-Email")
"""Who it is, for the service behind."""

FLOWS: tuple[Flow, ...] = (Flow(SPACE, WORLD, (443,), "the issuer is asked who somebody is"),)


def spaces(config: Platform) -> tuple[Space, ...]:  # noqa: ARG001  every part has this function
    """None of its own: it belongs to the ingress."""
    return ()


def arguments(config: Platform, sso: Sso) -> dict[str, str]:
    """Its command line. One cookie is valid on every host of the domain, so nobody logs in twice."""
    return {
        "provider": "oidc",
        "oidc-issuer-url": sso.issuer,
        "redirect-url": f"https://{config.host(LABEL)}/oauth2/callback",
        "cookie-domain": f".{config.domain}",
        "whitelist-domain": f".{config.domain}",
        "cookie-secure": "true",
        "cookie-samesite": "lax",
        "code-challenge-method": "S256",
        "reverse-proxy": "true",
        "set-xauthrequest": "true",
        "skip-provider-button": "true",
        "silence-ping-logging": "true",
    }


def values(config: Platform, sso: Sso, images: Images) -> dict[str, Any]:
    """The chart's values."""
    image = {
        "registry": OAUTH2_PROXY.registry,
        "repository": OAUTH2_PROXY.repository,
        "tag": images.tag(OAUTH2_PROXY),
    }
    return {
        "image": image,
        # 202 is what tells Traefik that a request may pass.
        "config": {"existingSecret": NAME, "emailDomains": list(sso.email_domains), "upstreams": ["static://202"]},
        "extraArgs": arguments(config, sso),
        "service": {"type": "ClusterIP", "portNumber": PORT},
        "serviceAccount": {"automountServiceAccountToken": False},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        # It reads its secrets once: new ones need new pods.
        "podAnnotations": {"leasehold/rotation": str(config.rotation)},
        "enableServiceLinks": False,
    }


def example_values(config: Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """The chart, and what it is given in an environment without digests."""
    sso = config.ingress.sso
    return [(OAUTH2_PROXY_CHART, values(config, sso, Images()))] if sso else []


def install(base: Base, sso: Sso, parent: pulumi.Resource) -> pulumi.Output[str]:
    """Install it; returns the URL that is asked before a request, known when it answers."""
    data: dict[str, pulumi.Input[str]] = {
        "client-id": sso.client_id,
        "client-secret": base.secrets.sso_client_secret or "",
        "cookie-secret": credentials.password(base, "sso-cookie", parent),
    }
    secret = credentials.secret(base, NAME, SPACE, data, parent)
    chosen = values(base.config, sso, base.images)
    chosen["config"] = {**chosen["config"], "existingSecret": secret}
    release = base.release(NAME, OAUTH2_PROXY_CHART, SPACE, chosen, parent)
    known: pulumi.Output[str] = release.status.apply(lambda _: ADDRESS)
    return known
