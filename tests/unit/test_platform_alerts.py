"""The alert rules: each fires by its cause, and by nothing that looks like it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from mlops.monitoring import alerts, dashboards
from mlops.monitoring.cron import longest_gap
from mlops.scrapes import Scrape
from tests import promtool
from tests.environments import PROJECT
from tests.unit import platforms

SCRAPES = [Scrape("mlflow", "mlflow", {"app": "mlflow"}, "metrics")]
LEASES = {"gpu": "1970-01-04 00:00"}
"""promtool's clock starts in 1970: 72 hours after that."""
HOUR = 60
HEALTHY = {
    'up{job="mlflow",instance="a"}': "1+0x6000",
    'kubelet_volume_stats_used_bytes{namespace="postgres",persistentvolumeclaim="a"}': "84+0x6000",
    'kubelet_volume_stats_capacity_bytes{namespace="postgres",persistentvolumeclaim="a"}': "100+0x6000",
    'certmanager_certificate_expiration_timestamp_seconds{namespace="ingress",name="a"}': "7776000+0x6000",
    'certmanager_certificate_renewal_timestamp_seconds{namespace="ingress",name="a"}': "5184000+0x6000",
    'kube_namespace_created{namespace="postgres"}': "0+0x6000",
    'barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{namespace="postgres"}': "0+0x1500 90000+0x4500",
    'argo_workflows_total_count{phase="Failed",namespace="workflows"}': "3+0x6000",
    'kube_deployment_spec_replicas{namespace="mlflow",deployment="mlflow"}': "1+0x6000",
    'kube_deployment_status_replicas_ready{namespace="mlflow",deployment="mlflow"}': "1+0x6000",
    'traefik_router_requests_total{router="registry",code="401"}': "0+4x6000",
    "prometheus_config_last_reload_successful": "1+0x6000",
    "alertmanager_config_last_reload_successful": "1+0x6000",
}


@dataclass(frozen=True)
class Case:
    """Series, and at which minute which alerts of a name fire."""

    what: str
    alert: str
    series: Mapping[str, str]
    fires: Mapping[int, Sequence[str]]
    """Minute to the labels of the alerts, without those that every alert has."""


CASES = [Case(**case) for case in yaml.safe_load((PROJECT / "tests" / "data" / "alerts.yaml").read_text())]


def groups() -> list[dict[str, object]]:
    return alerts.groups(platforms.platform("shipped"), SCRAPES, LEASES)


def members(group: Mapping[str, object]) -> list[dict[str, object]]:
    assert isinstance(group["rules"], list)
    return group["rules"]


def rules() -> list[dict[str, object]]:
    return [rule for group in groups() for rule in members(group)]


def query(name: str) -> str:
    """The firing alerts of a name without what they all have; each 1."""
    return f'sum without (alertname, alertstate, severity) (ALERTS{{alertname="{name}",alertstate="firing"}})'


@promtool.needed
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    """The operator would refuse the rules, and what ran before would go on as if nothing had happened."""
    promtool.check(groups(), tmp_path)


@promtool.needed
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.what}")
def test_an_alert_fires_by_its_cause_only(case: Case, tmp_path: Path) -> None:
    """What it fires by, since when and until when."""
    expected = {minute: [f"{{{labels}}}" for labels in fires] for minute, fires in case.fires.items()}
    # Days of virtual time are evaluated twice a minute: of its own group only. Groups do not use each other.
    group = [group for group in groups() if any(rule.get("alert") == case.alert for rule in members(group))]
    promtool.expect(group, tmp_path, case.series, query(case.alert), expected)


@promtool.needed
def test_nothing_fires_on_a_healthy_platform(tmp_path: Path) -> None:
    """An alert that cries wolf is not read any more."""
    asked = 'ALERTS{alertname!="Watchdog",alertname!="LeaseEnding"}'
    promtool.expect(groups(), tmp_path, HEALTHY, asked, {30: [], 25 * HOUR: [], 49 * HOUR: []}, every="4m")


@promtool.needed
def test_every_query_of_the_dashboards_is_one(tmp_path: Path) -> None:
    """Grafana would show an empty graph with a small sign in its corner."""
    panels = [panel for board in dashboards.ALL for panel in board.panels]
    recorded = [{"record": f"panel_{number}", "expr": panel.query} for number, panel in enumerate(panels)]
    promtool.check([{"name": "panels", "rules": recorded}], tmp_path)


def test_every_alert_has_a_case() -> None:
    """A rule that was never seen to fire may never fire."""
    assert {rule["alert"] for rule in rules() if "alert" in rule} == {case.alert for case in CASES}


def test_every_alert_says_what_to_do() -> None:
    """Whoever is woken has neither the rule nor this code before them."""
    for rule in rules():
        if "alert" in rule:
            assert isinstance(rule["annotations"], dict)
            assert len(rule["annotations"]["summary"]) > 10
            assert len(rule["annotations"]["remedy"]) > 10


def test_alerts_of_what_is_not_there_are_not_either() -> None:
    """A rule about metrics that nobody has is a promise that nobody keeps."""
    config = platforms.platform("shipped")
    without = config.model_copy(
        update={
            "argo": config.argo.model_copy(update={"workflows": False, "events": False}),
            "postgres": config.postgres.model_copy(update={"enabled": False}),
        }
    )
    text = json.dumps(alerts.groups(without, [], {}))
    assert "argo_workflows" not in text
    assert "barman" not in text
    assert "LeaseEnding" not in text


@pytest.mark.parametrize(
    ("schedule", "gap"),
    [
        ("0 1 * * *", timedelta(days=1)),
        ("*/15 * * * *", timedelta(minutes=15)),
        ("0 6-18/6 * * *", timedelta(hours=12)),
        ("0 1 * * 0", timedelta(days=7)),
        ("0 1 * * 7", timedelta(days=7)),
        ("0 0 1 * *", timedelta(days=31)),
        ("30 2 1,15 * 1-5", timedelta(days=3)),
        ("5/20 * * * *", timedelta(minutes=20)),
    ],
)
def test_the_longest_time_between_two_runs_of_a_schedule(schedule: str, gap: timedelta) -> None:
    """A backup is old when its next one is overdue, however seldom that is."""
    assert longest_gap(schedule) == gap
