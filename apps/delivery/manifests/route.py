"""Who answers production's requests: production, and a share of them the canary."""

from typing import Any

from .settings import Environment, Route, Settings

GROUP = "gateway.networking.k8s.io"


def _backend(settings: Settings, environment: Environment, weight: int) -> dict[str, Any]:
    return {
        "name": settings.application,
        "namespace": environment.namespace,
        "port": settings.service_port,
        "weight": weight,
    }


def _filters(way: Route) -> list[dict[str, Any]]:
    """Browsers ask by HTTPS only, for a year; and whoever asks must pass the guard."""
    strict = {"set": [{"name": "Strict-Transport-Security", "value": "max-age=31536000"}]}
    filters: list[dict[str, Any]] = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": strict}]
    if way.guard is not None:
        passed = {"group": "traefik.io", "kind": "Middleware", "name": way.guard}
        filters.append({"type": "ExtensionRef", "extensionRef": passed})
    return filters


def route(settings: Settings, way: Route, canary: Environment | None) -> dict[str, Any]:
    """The HTTPRoute, in production's namespace. The canary's namespace must grant it the way to its Service."""
    production = settings.environments[-1]
    share = 0 if canary is None else way.canary_weight
    backends = [_backend(settings, production, 100 - share)]
    if canary is not None and share:
        backends.append(_backend(settings, canary, share))
    parent = {"name": way.gateway, "namespace": way.gateway_namespace}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": settings.application,
            "namespace": production.namespace,
            "labels": {"app.kubernetes.io/name": settings.application},
        },
        "spec": {
            "parentRefs": [{**parent, **({} if way.listener is None else {"sectionName": way.listener})}],
            "hostnames": list(way.hostnames),
            "rules": [{"filters": _filters(way), "backendRefs": backends}],
        },
    }
