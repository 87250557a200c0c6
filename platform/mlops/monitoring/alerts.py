"""What is worth waking somebody for: the alert rules, as data. Pure.

Every expression is checked by promtool in the tests, with series in which it fires and in which it does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from config import Platform
from mlops.backups import REPOSITORIES, REPOSITORIES_SCHEDULE
from mlops.monitoring.cron import longest_gap
from mlops.scrapes import INTERVAL, Scrape

FULL = 0.85
"""Share of a volume or file system beyond which somebody should act."""
GRACE = timedelta(hours=2)
"""For a backup to be made, after its time."""
CERTIFICATE = timedelta(days=14)
"""Before its end. cert-manager renews when a third of a certificate's life is left: 30 days of 90."""
RECENT = "10m"
"""How long a failure that has no end of its own stays an alert."""
LEASE_END = "leasehold_lease_end_seconds"
"""The end of a lease, label `lease`: seconds since 1970."""
WATCHDOG = "Watchdog"
PROMOTIONS = "promot.*"
"""Names of the workflow templates that promote a model: promote, promotion-staging and so on."""
BACKUPS = ".*(backup|mirror).*"
"""Names of the CronJobs that copy something away."""
UNSTARTED = "ErrImage.*|Image.*|InvalidImageName|CreateContainer.*|RunContainerError"
"""Why the kubelet cannot start a container, such as an image that is not what its digest says: not that it waits."""
REFUSALS = 100
"""Requests without a right that a host may get in that time: clients of a registry begin with one each."""
HOOKS = ".*-argo-events-hooks-.*"
"""Names of Traefik's routers of the host `hooks`, where requests are signed."""
WORKLOADS: Mapping[str, tuple[str, str]] = {
    "deployment": ("spec_replicas", "status_replicas_ready"),
    "statefulset": ("replicas", "status_replicas_ready"),
    "daemonset": ("status_desired_number_scheduled", "status_number_ready"),
}
"""Kinds that keep pods, and kube-state-metrics' counts of those that are wanted and of those that serve."""
_BACKUP_REMEDY = "See why the last one failed: kubectl -n {{ $labels.namespace }} get pods,backups,jobs"
Severity = Literal["none", "info", "warning", "critical"]


@dataclass(frozen=True)
class Alert:
    """A rule that may fire."""

    name: str
    expression: str
    severity: Severity
    summary: str
    """What happened, with Prometheus' own templates for labels."""
    remedy: str
    wait: str = "0s"
    """How long it must hold."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """As Prometheus has it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.wait,
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {"summary": self.summary, "remedy": self.remedy},
        }


def _lately(counter: str, by: str, above: int = 0) -> str:
    """Increases of a counter, also from nothing: one that appears has no value to increase from."""
    return f"sum by ({by}) (({counter} unless {counter} offset {RECENT}) or increase({counter}[{RECENT}])) > {above}"


def _pods() -> Iterator[Alert]:
    of = "namespace, pod, container"
    ended = 'kube_pod_container_status_last_terminated_reason{reason="OOMKilled"} == 1'
    lately = "time() - kube_pod_container_status_last_terminated_timestamp < 600"
    # A pod that is not restarted, such as a workflow's, has no last state: its present one says it.
    now = 'kube_pod_container_status_terminated_reason{reason="OOMKilled"} == 1'
    yield Alert(
        "PodOutOfMemory",
        f"max by ({of}) (({ended} and on ({of}) ({lately})) or {now})",
        "warning",
        "{{ $labels.container }} of pod {{ $labels.namespace }}/{{ $labels.pod }} was killed: out of memory",
        "Raise its memory limit, or find what takes more than it should.",
    )
    waits = 'kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"}'
    yield Alert(
        "PodCrashLooping",
        f"max by ({of}) (max_over_time({waits}[5m])) >= 1",
        "warning",
        "{{ $labels.container }} of pod {{ $labels.namespace }}/{{ $labels.pod }} ends again and again",
        "kubectl -n {{ $labels.namespace }} logs --previous {{ $labels.pod }} -c {{ $labels.container }}",
        wait="10m",
    )
    stuck = f'kube_pod_container_status_waiting_reason{{reason=~"{UNSTARTED}"}}'
    yield Alert(
        "PodNotStarting",
        # Between two tries the kubelet says another reason, and for a moment none.
        f"max by ({of}) (max_over_time({stuck}[1m])) >= 1",
        "warning",
        "{{ $labels.container }} of pod {{ $labels.namespace }}/{{ $labels.pod }} cannot be started",
        "Its events say why: kubectl -n {{ $labels.namespace }} describe pod {{ $labels.pod }}",
        wait="2m",
    )
    missing = " or ".join(
        f'label_replace(kube_{kind}_{wanted} - kube_{kind}_{ready} > 0, "workload", "{kind}/$1", "{kind}", "(.+)")'
        for kind, (wanted, ready) in WORKLOADS.items()
    )
    yield Alert(
        "WorkloadIncomplete",
        f"sum by (namespace, workload) ({missing})",
        "warning",
        "{{ $value }} pods of {{ $labels.namespace }}/{{ $labels.workload }} are missing or do not serve",
        "See why: kubectl -n {{ $labels.namespace }} describe {{ $labels.workload }}, and its pods.",
        wait="5m",
    )


def _refusals() -> Iterator[Alert]:
    asked = "traefik_router_requests_total"
    yield Alert(
        "LoginsRefused",
        _lately(f'{asked}{{code=~"401|403"}}', "router", REFUSALS),
        "warning",
        "{{ $value | humanize }} requests without a right have been refused at {{ $labels.router }}",
        "Somebody tries passwords, or a client has an old one: the ingress' log has their addresses.",
    )
    yield Alert(
        "WebhookForged",
        _lately(f'{asked}{{code="400",router=~"{HOOKS}"}}', "router"),
        "warning",
        "somebody who does not know the webhook's secret has sent events, which were refused",
        "If it is GitHub itself, its secret is not the stack's any more: docs/delivery.md, GitHub starts it.",
    )


def _targets(scrapes: Sequence[Scrape]) -> Iterator[Alert]:
    yield Alert(
        "TargetDown",
        "up == 0",
        "warning",
        "{{ $labels.job }} at {{ $labels.instance }} does not answer",
        "See whether its pod runs, and whether a network policy lets the monitoring reach it.",
        wait="2m",
    )
    for scrape in scrapes:
        # A target that is gone has no `up` that could be 0.
        yield Alert(
            "TargetDown",
            f'absent(up{{job="{scrape.name}"}})',
            "warning",
            f"there is nothing to ask for the metrics of {scrape.name}",
            f"See whether anything of it runs in namespace {scrape.space}.",
            wait="5m",
            labels={"namespace": scrape.space},
        )


def _volumes() -> Iterator[Alert]:
    claims = "kubelet_volume_stats_used_bytes / kubelet_volume_stats_capacity_bytes"
    yield Alert(
        "VolumeNearlyFull",
        f"max by (namespace, persistentvolumeclaim) ({claims}) > {FULL}",
        "critical",
        "volume {{ $labels.namespace }}/{{ $labels.persistentvolumeclaim }} is {{ $value | humanizePercentage }} full",
        "Raise its size in the configuration, or remove what is no longer needed.",
        wait="2m",
        labels={"of": "claim"},
    )
    # The kubelet measures no volume that is a folder of its node, as those of k3s' local-path class are.
    files = 'fstype!~"tmpfs|ramfs|squashfs|iso9660|fuse.*|nsfs"'
    taken = f"node_filesystem_size_bytes{{{files}}} - node_filesystem_free_bytes{{{files}}}"
    yield Alert(
        "VolumeNearlyFull",
        f"max by (instance, device) (({taken}) / (({taken}) + node_filesystem_avail_bytes{{{files}}})) > {FULL}",
        "critical",
        "{{ $labels.device }} of node {{ $labels.instance }} is {{ $value | humanizePercentage }} full",
        "Remove what is no longer needed from the node, or give it a larger volume.",
        wait="2m",
        labels={"of": "node"},
    )


def _workflows() -> Iterator[Alert]:
    failed = 'phase=~"Failed|Error"'
    yield Alert(
        "WorkflowFailed",
        _lately(f"argo_workflows_total_count{{{failed}}}", "namespace"),
        "warning",
        "a workflow has failed",
        "Its steps and their logs are in Argo Workflows.",
    )
    templates = f'argo_workflows_workflowtemplate_triggered_total{{{failed},name=~"{PROMOTIONS}"}}'
    yield Alert(
        "PromotionFailed",
        _lately(templates, "namespace, name"),
        "critical",
        "promotion {{ $labels.name }} has failed: what ran before still runs",
        "Its steps and their logs are in Argo Workflows; promote again when the cause is gone.",
    )


def _backups(config: Platform) -> Iterator[Alert]:
    last = "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp"
    since = 'kube_namespace_created{namespace="postgres"}'
    if config.postgres.enabled:
        # Before the first backup, the age of what it would protect counts.
        yield Alert(
            "BackupOld",
            f"time() - max by (namespace) ({last} or {since}) > {_overdue(config.backups.schedule)}",
            "critical",
            "the last backup of the databases is {{ $value | humanizeDuration }} old",
            _BACKUP_REMEDY,
            wait="1m",
            labels={"of": "databases"},
        )
    others = f'cronjob=~"{BACKUPS}",cronjob!="{REPOSITORIES}"'
    yield _copied(others, config.backups.schedule, "copies")
    yield _copied(f'cronjob="{REPOSITORIES}"', REPOSITORIES_SCHEDULE, "repositories")


def _overdue(schedule: str) -> int:
    """Seconds after which a backup by this schedule is too old."""
    return int((longest_gap(schedule) + GRACE).total_seconds())


def _copied(jobs: str, schedule: str, of: str) -> Alert:
    """That CronJobs, by a selector of labels, have not succeeded for too long."""
    return Alert(
        "BackupOld",
        f"time() - max by (namespace, cronjob) (kube_cronjob_status_last_successful_time{{{jobs}}}"
        f" or kube_cronjob_created{{{jobs}}}) > {_overdue(schedule)}",
        "critical",
        "{{ $labels.cronjob }} last succeeded {{ $value | humanizeDuration }} ago",
        _BACKUP_REMEDY,
        wait="1m",
        labels={"of": of},
    )


def _leases() -> Iterator[Alert]:
    bands: tuple[tuple[int, int | None, Severity], ...] = (
        (48, 24, "info"),
        (24, 2, "warning"),
        (2, None, "critical"),
    )
    for hours, after, severity in bands:
        left = f"{LEASE_END} - time()"
        more = f" and {left} > {after * 3600}" if after else ""
        yield Alert(
            "LeaseEnding",
            f"{left} < {hours * 3600}{more}",
            severity,
            f"lease {{{{ $labels.lease }}}} ends in less than {hours} hours: its machines are deleted then",
            "Set a later end in the environment and run `up`, while the site allows it; or copy what you need.",
            labels={"within": f"{hours}h"},
        )


def _certificates() -> Iterator[Alert]:
    # Who says it, cert-manager's pod, is not whom it is about.
    end, due = (
        f"max by (namespace, name) (certmanager_certificate_{what}_timestamp_seconds)"
        for what in ("expiration", "renewal")
    )
    soon = int(CERTIFICATE.total_seconds())
    yield Alert(
        "CertificateEnding",
        # One that lives shorter than that is in order until its renewal is due.
        f"{end} - time() < {soon} and {due} < time()",
        "critical",
        "certificate {{ $labels.namespace }}/{{ $labels.name }} ends in {{ $value | humanizeDuration }}, not renewed",
        "kubectl -n {{ $labels.namespace }} describe certificate {{ $labels.name }}",
    )


def _watch() -> Iterator[Alert]:
    yield Alert(WATCHDOG, "vector(1)", "none", "alerts are evaluated", "None: this one always fires.")
    yield Alert(
        "AlertsNotDelivered",
        f"sum by (integration) (increase(alertmanager_notifications_failed_total[{RECENT}])) > 0",
        "warning",
        "alerts do not reach their receiver ({{ $labels.integration }})",
        "kubectl -n monitoring logs statefulset/alertmanager-monitoring-alertmanager -c alertmanager",
        wait="10m",
    )
    yield Alert(
        "MonitoringMisconfigured",
        "prometheus_config_last_reload_successful == 0 or alertmanager_config_last_reload_successful == 0"
        f" or increase(prometheus_rule_evaluation_failures_total[{RECENT}]) > 0",
        "warning",
        "{{ $labels.job }} refuses its configuration or cannot evaluate a rule",
        "Its log says which; what it had before still holds.",
        wait="5m",
    )


def ends(leases: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rules that record the ends of leases, given as "YYYY-MM-DD HH:MM" in UTC."""

    def seconds(text: str) -> int:
        return int(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp())

    return [
        {"record": LEASE_END, "expr": f"vector({seconds(end)})", "labels": {"lease": lease}}
        for lease, end in sorted(leases.items())
    ]


def groups(config: Platform, scrapes: Sequence[Scrape], leases: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rules of an environment, in groups that are evaluated one beside another."""
    found: dict[str, list[dict[str, Any]]] = {
        "watch": [alert.rule() for alert in _watch()],
        "pods": [alert.rule() for alert in _pods()],
        "refusals": [alert.rule() for alert in _refusals()],
        "targets": [alert.rule() for alert in _targets(scrapes)],
        "volumes": [alert.rule() for alert in _volumes()],
        "backups": [alert.rule() for alert in _backups(config)],
        "certificates": [alert.rule() for alert in _certificates()],
    }
    if config.argo.workflows:
        found["workflows"] = [alert.rule() for alert in _workflows()]
    if leases:
        found["leases"] = [*ends(leases), *(alert.rule() for alert in _leases())]
    often = {"targets": {"interval": INTERVAL}}
    return [{"name": f"leasehold-{name}", **often.get(name, {}), "rules": rules} for name, rules in found.items()]
