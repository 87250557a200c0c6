"""Grafana's dashboards, as code: the platform, the models that are served, leases and GPUs. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlops.monitoring.alerts import LEASE_END

SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24
"""Width of Grafana's grid."""
SCHEMA = 41
"""Version of the format, which newer releases of Grafana migrate."""


@dataclass(frozen=True)
class Panel:
    """A graph, or a number for each series."""

    title: str
    unit: str
    """As Grafana names it: bytes, percentunit, reqps, s."""
    legend: str
    query: str
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8


@dataclass(frozen=True)
class Dashboard:
    """A page of panels, from left to right and down."""

    name: str
    title: str
    panels: Sequence[Panel]


_FILES = 'fstype!~"tmpfs|ramfs|squashfs|iso9660|fuse.*|nsfs"'
_FULL = f"1 - node_filesystem_avail_bytes{{{_FILES}}} / node_filesystem_size_bytes{{{_FILES}}}"
_MEMORY = 'sum by (namespace) (container_memory_working_set_bytes{container!=""})'
_PROCESSORS = 'sum by (namespace) (rate(container_cpu_usage_seconds_total{container!=""}[5m]))'
_RESTARTS = "sum by (namespace) (increase(kube_pod_container_status_restarts_total[1h])) > 0"
_WAITING = 'sum(kube_pod_status_phase{phase=~"Pending|Failed|Unknown"})'
_IDLE = 'avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))'
PLATFORM = Dashboard(
    "platform",
    "Platform",
    (
        Panel(
            "Alerts that fire",
            "none",
            "{{alertname}} {{namespace}}",
            'ALERTS{alertstate="firing",severity!="none"}',
            "table",
            12,
        ),
        Panel("Targets that do not answer", "none", "targets", "count(up == 0) or vector(0)", "stat", 6),
        Panel("Pods that are not ready", "none", "pods", _WAITING, "stat", 6),
        Panel("Processors in use", "percentunit", "{{instance}}", f"1 - {_IDLE}"),
        Panel(
            "Memory in use",
            "percentunit",
            "{{instance}}",
            "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        ),
        Panel("File systems", "percentunit", "{{instance}} {{device}}", f"max by (instance, device) ({_FULL})"),
        Panel("Memory of namespaces", "bytes", "{{namespace}}", _MEMORY, width=12),
        Panel("Processors of namespaces", "cores", "{{namespace}}", _PROCESSORS, width=12),
        Panel("Restarts in an hour", "none", "{{namespace}}", _RESTARTS),
        Panel(
            "Requests from outside", "reqps", "{{code}}", "sum by (code) (rate(traefik_entrypoint_requests_total[5m]))"
        ),
        Panel("Workflows", "none", "{{phase}}", "sum by (phase) (argo_workflows_gauge)"),
    ),
)

_SERVICE, _CONTAINER = "namespace, service", "namespace, pod, container"
_REQUESTS = f"sum by ({_SERVICE}) (rate(http_requests_total[5m]))"
# Without an error there is no series of errors, and no share of nothing.
_ERRORS = f'(sum by ({_SERVICE}) (rate(http_requests_total{{status=~"5.."}}[5m])) or 0 * {_REQUESTS})'
_BUCKETS = f"sum by ({_SERVICE}, le) (rate(http_request_duration_seconds_bucket[5m]))"
_LIMIT = f'max by ({_CONTAINER}) (kube_pod_container_resource_limits{{resource="memory"}})'
_SHARE = f"max by ({_CONTAINER}) (container_memory_working_set_bytes) / on ({_CONTAINER}) {_LIMIT}"
SERVING = Dashboard(
    "serving",
    "Model serving",
    (
        Panel("Requests", "reqps", "{{namespace}} {{service}}", _REQUESTS),
        Panel("Share of errors", "percentunit", "{{namespace}} {{service}}", f"{_ERRORS} / {_REQUESTS}"),
        Panel("95 of 100 answered in", "s", "{{namespace}} {{service}}", f"histogram_quantile(0.95, {_BUCKETS})"),
        Panel("Servers that answer", "none", "{{namespace}} {{service}}", f'sum by ({_SERVICE}) (up{{job="models"}})'),
        Panel(
            "Memory, of the limit",
            "percentunit",
            "{{namespace}} {{pod}}",
            f'{_SHARE} and on (namespace, pod) up{{job="models"}}',
        ),
        Panel("Replicas ready", "none", "{{namespace}} {{deployment}}", "kube_deployment_status_replicas_ready"),
    ),
)

_ALLOCATABLE = 'sum by (node) (kube_node_status_allocatable{resource="nvidia_com_gpu"})'
_ASKED = 'sum by (namespace, pod) (kube_pod_container_resource_requests{resource="nvidia_com_gpu"})'
LEASES = Dashboard(
    "leases",
    "Leases and GPUs",
    (
        Panel("Time left", "s", "{{lease}}", f"{LEASE_END} - time()", "stat", 12),
        Panel("GPUs", "none", "{{node}}", _ALLOCATABLE, "stat", 12),
        Panel("GPU in use", "percent", "{{Hostname}} {{gpu}}", "DCGM_FI_DEV_GPU_UTIL"),
        Panel("Memory of GPUs", "decmbytes", "{{Hostname}} {{gpu}}", "DCGM_FI_DEV_FB_USED"),
        Panel("Temperature", "celsius", "{{Hostname}} {{gpu}}", "DCGM_FI_DEV_GPU_TEMP"),
        Panel("Power", "watt", "{{Hostname}} {{gpu}}", "DCGM_FI_DEV_POWER_USAGE"),
        Panel("Pods that asked for a GPU", "none", "{{namespace}} {{pod}}", _ASKED),
    ),
)
ALL = (PLATFORM, SERVING, LEASES)


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    target = {
        "refId": "A",
        "expr": panel.query,
        "legendFormat": panel.legend,
        # A table and a number show what is, not what was.
        "instant": panel.kind != "timeseries",
        "range": panel.kind == "timeseries",
        "datasource": SOURCE,
    }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [target],
    }


def render(dashboard: Dashboard) -> dict[str, Any]:
    """As Grafana reads it."""
    panels: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(dashboard.panels, 1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + 8
        panels.append(_panel(number, panel, x, y))
        x += panel.width
    return {
        "uid": f"leasehold-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["leasehold"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "timezone": "utc",
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "panels": panels,
    }


def files() -> dict[str, str]:
    """File name to content."""
    return {f"{dashboard.name}.json": json.dumps(render(dashboard), indent=1) for dashboard in ALL}
