"""Values of kube-prometheus-stack. Pure.

Only what is used runs: k3s has no control plane to scrape part by part, the chart's own rules and dashboards are left
out in favour of ours (alerts.py, dashboards.py), and nothing needs a sidecar that reads the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import versions
from config import ExternalTarget, Images, Platform
from mlops.monitoring import routing
from mlops.pods import resources
from versions import Image

DASHBOARDS = "dashboards"
"""ConfigMap with Grafana's dashboards, one file each."""
ADMIN = "admin-user"
PASSWORD = "admin-password"  # noqa: S105  the name of a key
PROMETHEUS = "http://monitoring-prometheus.monitoring.svc:9090"
ALERTMANAGER = "http://monitoring-alertmanager.monitoring.svc:9093"
EXPORTERS = "node-exporter"
"""Namespace of the node exporters, which see their host."""
INTERVAL = "30s"
"""Of scrapes and of the evaluation of rules."""


@dataclass(frozen=True)
class Names:
    """What the values refer to."""

    admin: str
    """Secret with Grafana's administrator."""
    webhook: str | None
    """URL that alerts go to; its token is in the Secret routing.TOKEN."""


def _image(images: Images, image: Image) -> dict[str, str]:
    """As these charts take it: the operator reads the version from the tag, so the digest stands apart."""
    digest = images.digest(image)
    return {
        "registry": image.registry,
        "repository": image.repository,
        "tag": image.tag,
        "sha": digest.removeprefix("sha256:") if digest else "",
    }


def _claim(config: Platform, gigabytes: int) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{gigabytes}Gi"}},
    }
    if config.storage_class:
        spec["storageClassName"] = config.storage_class
    return {"volumeClaimTemplate": {"spec": spec}}


def _target(name: str, target: ExternalTarget) -> dict[str, Any]:
    return {
        "job_name": name,
        "metrics_path": target.path,
        "scheme": target.scheme,
        "static_configs": [{"targets": [target.address]}],
    }


def _prometheus(config: Platform, images: Images) -> dict[str, Any]:
    small, wanted = config.profile == "small", config.monitoring
    selectors = ("rule", "serviceMonitor", "podMonitor", "probe", "scrapeConfig")
    return {
        "serviceMonitor": {"selfMonitor": True},
        "prometheusSpec": {
            "image": _image(images, versions.PROMETHEUS),
            "externalUrl": f"https://{config.host('prometheus')}",
            "scrapeInterval": INTERVAL,
            "evaluationInterval": INTERVAL,
            "retention": f"{wanted.retention_days}d",
            # Of its volume; the rest is for what is being written. It drops the oldest before it is full.
            "retentionSize": f"{wanted.storage_gb * 800}MB",
            "storageSpec": _claim(config, wanted.storage_gb),
            "resources": resources("100m", *(("256Mi", "640Mi") if small else ("768Mi", "2Gi"))),
            # By default it sees only what this release made itself.
            **{f"{selector}SelectorNilUsesHelmValues": False for selector in selectors},
            "additionalScrapeConfigs": [_target(name, target) for name, target in sorted(wanted.targets.items())],
        },
    }


def _alertmanager(config: Platform, images: Images, webhook: str | None) -> dict[str, Any]:
    return {
        "config": routing.config(webhook),
        "serviceAccount": {"automountServiceAccountToken": False},
        "alertmanagerSpec": {
            "image": _image(images, versions.ALERTMANAGER),
            "externalUrl": f"https://{config.host('alertmanager')}",
            "secrets": [routing.TOKEN] if webhook else [],
            "automountServiceAccountToken": False,
            # Silences, and which alerts were sent already.
            "storage": _claim(config, 1),
            "resources": resources("10m", "48Mi", "128Mi"),
        },
    }


def _operator(images: Images) -> dict[str, Any]:
    return {
        "image": _image(images, versions.PROMETHEUS_OPERATOR),
        "prometheusConfigReloader": {
            "image": _image(images, versions.CONFIG_RELOADER),
            "resources": resources("5m", "24Mi", "64Mi"),
        },
        # The webhook would refuse rules with errors. Ours are checked by promtool before they come here, and it would
        # take two images more, and a certificate without which no rule can change.
        "admissionWebhooks": {"enabled": False},
        "tls": {"enabled": False},
        # Whoever may make such objects elsewhere gets no pods for it.
        "prometheusInstanceNamespaces": ["monitoring"],
        "alertmanagerInstanceNamespaces": ["monitoring"],
        "resources": resources("10m", "64Mi", "192Mi"),
    }


def _kubelet() -> dict[str, Any]:
    """Volumes and containers. k3s' kubelet serves the metrics of the whole control plane beside its own: not kept."""
    volumes = {"sourceLabels": ["__name__"], "regex": "kubelet_(volume_stats|running)_.*", "action": "keep"}
    names = (
        "cpu_usage_seconds_total|cpu_cfs_throttled_periods_total|cpu_cfs_periods_total|memory_working_set_bytes"
        "|memory_rss|oom_events_total|network_(receive|transmit)_bytes_total|fs_(reads|writes)_bytes_total"
    )
    containers = {"sourceLabels": ["__name__"], "regex": f"container_({names})", "action": "keep"}
    # Sums over all pods, which would count twice.
    of_pods = {"sourceLabels": ["id", "pod"], "regex": ".+;", "action": "drop"}
    return {
        "serviceMonitor": {
            "probes": False,
            "interval": INTERVAL,
            "cAdvisorInterval": INTERVAL,
            "metricRelabelings": [volumes],
            "cAdvisorMetricRelabelings": [containers, of_pods],
        }
    }


def _states(images: Images) -> dict[str, Any]:
    """kube-state-metrics, of the kinds that rules and dashboards speak of: its rights follow that list."""
    return {
        "image": _image(images, versions.KUBE_STATE_METRICS),
        "collectors": [
            *("cronjobs", "daemonsets", "deployments", "jobs", "namespaces", "nodes"),
            *("persistentvolumeclaims", "pods", "resourcequotas", "statefulsets"),
        ],
        "resources": resources("10m", "48Mi", "160Mi"),
    }


def _exporters(images: Images) -> dict[str, Any]:
    return {
        "namespaceOverride": EXPORTERS,
        "image": {
            "registry": versions.NODE_EXPORTER.registry,
            "repository": versions.NODE_EXPORTER.repository,
            "tag": versions.NODE_EXPORTER.tag,
            "digest": images.digest(versions.NODE_EXPORTER) or "",
            "distroless": False,
        },
        # Names of processes are nobody's business.
        "hostPID": False,
        "resources": resources("10m", "24Mi", "64Mi"),
    }


def _sources() -> dict[str, Any]:
    prometheus = {"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "url": PROMETHEUS, "isDefault": True}
    alerts = {"name": "Alertmanager", "uid": "alertmanager", "type": "alertmanager", "url": ALERTMANAGER}
    return {
        "apiVersion": 1,
        "datasources": [
            {**prometheus, "access": "proxy", "jsonData": {"timeInterval": INTERVAL}},
            {**alerts, "access": "proxy", "jsonData": {"implementation": "prometheus"}},
        ],
    }


def _settings(config: Platform) -> dict[str, Any]:
    """grafana.ini: its own login and nothing else, and no calls to the internet."""
    host = config.host("grafana")
    return {
        "server": {"domain": host, "root_url": f"https://{host}"},
        "security": {
            "cookie_secure": True,
            "cookie_samesite": "strict",
            "content_security_policy": True,
            "disable_gravatar": True,
        },
        "users": {"allow_sign_up": False, "allow_org_create": False},
        "auth.anonymous": {"enabled": False},
        "analytics": {"reporting_enabled": False, "check_for_updates": False, "check_for_plugin_updates": False},
        "plugins": {"plugin_admin_enabled": False},
        "snapshots": {"external_enabled": False},
        "news": {"news_feed_enabled": False},
    }


def _grafana(config: Platform, images: Images, admin: str) -> dict[str, Any]:
    provider = {"name": "leasehold", "type": "file", "options": {"path": "/var/lib/grafana/dashboards/leasehold"}}
    return {
        "image": _image(images, versions.GRAFANA),
        "admin": {"existingSecret": admin, "userKey": ADMIN, "passwordKey": PASSWORD},
        "grafana.ini": _settings(config),
        # Dashboards and sources are files, which Grafana reads anew when they change: it needs no right in the API.
        "sidecar": {"dashboards": {"enabled": False}, "datasources": {"enabled": False}},
        "rbac": {"create": False},
        "automountServiceAccountToken": False,
        "defaultDashboardsEnabled": False,
        "datasources": {"datasources.yaml": _sources()},
        "dashboardProviders": {"dashboardproviders.yaml": {"apiVersion": 1, "providers": [provider]}},
        "dashboardsConfigMaps": {"leasehold": DASHBOARDS},
        # It would run as root, for volumes that came without a group.
        "initChownData": {"enabled": False},
        "testFramework": {"enabled": False},
        "resources": resources("20m", "96Mi" if config.profile == "small" else "128Mi", "320Mi"),
    }


def values(config: Platform, images: Images, names: Names) -> dict[str, Any]:
    """The values of the release `monitoring`."""
    absent: Mapping[str, Any] = {"enabled": False}
    return {
        "fullnameOverride": "monitoring",
        # The chart's rules are many, some fire on small healthy clusters, and none was seen to fire here.
        "defaultRules": {"create": False},
        # One process on k3s, and on no cluster within reach of pods.
        "kubeControllerManager": absent,
        "kubeScheduler": absent,
        "kubeProxy": absent,
        "kubeEtcd": absent,
        # 50,000 series that no rule and no dashboard reads.
        "kubeApiServer": absent,
        "coreDns": absent,
        "kubelet": _kubelet(),
        "prometheusOperator": _operator(images),
        "prometheus": _prometheus(config, images),
        "alertmanager": _alertmanager(config, images, names.webhook),
        "kube-state-metrics": _states(images),
        "prometheus-node-exporter": _exporters(images),
        "grafana": _grafana(config, images, names.admin),
    }
