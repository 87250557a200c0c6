"""What is measured: each part says where its metrics are, and the monitoring makes its targets of that.

Pure data and pure functions. A part that says something here needs no monitoring to be there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

INTERVAL = "15s"
"""Between two looks at a part. Prometheus forgets a target that is gone after one more: a loss is seen in a minute."""


@dataclass(frozen=True)
class Scrape:
    """Metrics of a part of the platform. Its namespace lets `monitoring` reach the port: that is a Flow."""

    name: str
    """Label `job` of everything that comes from there; an alert names it."""
    space: str
    labels: Mapping[str, str]
    """Of the Service, or of the pods."""
    port: str
    """Name of the port there."""
    path: str = "/metrics"
    of: Literal["service", "pods"] = "service"
    scheme: Literal["http", "https"] = "http"
    """https: within the cluster; the certificate is not looked at, since Prometheus asks a pod by its address."""
    token: tuple[str, str] | None = None
    """Secret of the same namespace and its key: a bearer token."""
    keep: tuple[str, ...] = field(default=())
    """Patterns of the metrics that are kept; none: all."""

    @property
    def kind(self) -> str:
        """Of the object that makes Prometheus ask."""
        return "ServiceMonitor" if self.of == "service" else "PodMonitor"


def _endpoint(scrape: Scrape) -> dict[str, Any]:
    relabelings = [{"targetLabel": "job", "replacement": scrape.name}]
    endpoint: dict[str, Any] = {
        "port": scrape.port,
        "path": scrape.path,
        "scheme": scrape.scheme,
        "interval": INTERVAL,
        # What a part says of a namespace or a pod, such as a failed workflow's, is not about itself.
        "honorLabels": True,
        "relabelings": relabelings,
    }
    if scrape.scheme == "https":
        endpoint["tlsConfig"] = {"insecureSkipVerify": True}
    if scrape.token:
        secret, key = scrape.token
        endpoint["authorization"] = {"type": "Bearer", "credentials": {"name": secret, "key": key}}
    if scrape.keep:
        kept = {"sourceLabels": ["__name__"], "regex": "|".join(scrape.keep), "action": "keep"}
        endpoint["metricRelabelings"] = [kept]
    return endpoint


def spec(scrape: Scrape) -> dict[str, Any]:
    """The spec of its ServiceMonitor or PodMonitor."""
    endpoints = "endpoints" if scrape.of == "service" else "podMetricsEndpoints"
    return {
        "selector": {"matchLabels": dict(scrape.labels)},
        "namespaceSelector": {"matchNames": [scrape.space]},
        endpoints: [_endpoint(scrape)],
    }
