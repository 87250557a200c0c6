"""The Gateway API's objects: who listens at which port for which names, and which service a name leads to.

Pure functions. Only the definitions of the kinds themselves come from files: upstream's, which no chart of ours brings.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

GROUP = "gateway.networking.k8s.io"
API_VERSION = f"{GROUP}/v1"
CONTROLLER = "traefik.io/gateway-controller"
CLASS = "leasehold"
SPACE = "ingress"
"""Namespace of the gateways and of what serves them."""
HTTPS = "https"
HTTP = "http"
"""Listeners' names."""
ROUTES = {"leasehold/routes": "allowed"}
"""Label of namespaces whose routes count: elsewhere nobody can take a host name."""
STRICT = "max-age=31536000"
"""Browsers ask by HTTPS only, for a year."""
EVERYTHING: Mapping[str, Any] = {"path": {"type": "PathPrefix", "value": "/"}}
"""A match of every request."""

Input = pulumi.Input[str]


def definitions() -> list[dict[str, Any]]:
    """The CustomResourceDefinitions of the standard channel."""
    return [json.loads(file.read_text()) for file in sorted((Path(__file__).parent / "definitions").glob("*.json"))]


def gateway_class() -> dict[str, Any]:
    """The spec of our class."""
    return {"controllerName": CONTROLLER}


def encrypted(host: str, secret: Input, port: int) -> dict[str, Any]:
    """A listener for a host name, or for all below one, under a certificate."""
    return {
        "name": HTTPS,
        "protocol": "HTTPS",
        "port": port,
        "hostname": host,
        "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": secret}]},
        "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": ROUTES}}},
    }


def plain(port: int) -> dict[str, Any]:
    """A listener for a certificate authority's questions: routes of its own namespace only."""
    return {"name": HTTP, "protocol": "HTTP", "port": port, "allowedRoutes": {"namespaces": {"from": "Same"}}}


def gateway(listener: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a Gateway; those of one class share the pods."""
    return {"gatewayClassName": CLASS, "listeners": [dict(listener)]}


def middleware(name: Input) -> dict[str, Any]:
    """A filter of a route: a Traefik Middleware of its namespace."""
    return {"type": "ExtensionRef", "extensionRef": {"group": "traefik.io", "kind": "Middleware", "name": name}}


def rewritten(path: str) -> dict[str, Any]:
    """A filter of a route: the service is asked for another path."""
    return {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": path}}}


def route(
    gateway_name: Input,
    host: str,
    service: Input,
    port: int,
    filters: Sequence[Mapping[str, Any]],
    *,
    matches: Sequence[Mapping[str, Any]] = (EVERYTHING,),
) -> dict[str, Any]:
    """The spec of an HTTPRoute: a host's requests that match lead to one service, through the filters in order."""
    strict = {"set": [{"name": "Strict-Transport-Security", "value": STRICT}]}
    return {
        "parentRefs": [{"name": gateway_name, "namespace": SPACE, "sectionName": HTTPS}],
        "hostnames": [host],
        "rules": [
            {
                "matches": [dict(match) for match in matches],
                # The header comes first, so that a refusal has it too.
                "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": strict}, *map(dict, filters)],
                "backendRefs": [{"name": service, "port": port}],
            }
        ],
    }
