"""A public authority's certificates: it asks each host name, by plain HTTP, whether it is ours.

A part of the platform only where the environment names such an authority; then port 80 is open.
"""

from typing import Any

from config import Acme, Platform
from mlops import gateway_api
from mlops.flows import WORLD, Flow
from mlops.spaces import Space

GATEWAY = "leasehold-http"
"""The Gateway that answers the authority's questions, and nothing else."""
PORT = 8000
"""Of the ingress' pods; 80 on the nodes."""

FLOWS: tuple[Flow, ...] = (
    Flow(WORLD, gateway_api.SPACE, (PORT,), "the authority asks whether a host name is ours"),
    Flow("cert-manager", WORLD, (80, 443), "the authority is asked for certificates, and our answer is tried first"),
)


def spaces(config: Platform) -> tuple[Space, ...]:  # noqa: ARG001  every part has this function
    """None of its own: the answering pods run in the ingress' namespace."""
    return ()


def values() -> dict[str, Any]:
    """What the chart of cert-manager is given beside the rest."""
    kind = {"apiVersion": "controller.config.cert-manager.io/v1alpha1", "kind": "ControllerConfiguration"}
    return {"config": {**kind, "gatewayAPI": {"enabled": True}}}


def issuer(config: Acme) -> dict[str, Any]:
    """The spec of its issuer. HTTP-01 knows no wildcards: every host has a certificate of its own."""
    reference = {
        "group": gateway_api.GROUP,
        "kind": "Gateway",
        "name": GATEWAY,
        "namespace": gateway_api.SPACE,
        "sectionName": gateway_api.HTTP,
    }
    return {
        "acme": {
            "email": config.email,
            "server": config.server,
            "privateKeySecretRef": {"name": "leasehold-acme-account"},
            "solvers": [{"http01": {"gatewayHTTPRoute": {"parentRefs": [reference]}}}],
        }
    }
