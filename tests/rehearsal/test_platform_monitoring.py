"""The watch over the platform: what it sees, who may look, and that each alert reaches the log analysis.

Causes are real where a rehearsal can produce them. A full volume, an overdue backup and a failed promotion are made of
series that a pod shows: its volumes are folders, of which the kubelet measures nothing, and a day is too long.
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

import versions
from mlops.argo import accounts
from mlops.monitoring import alerts
from tests.rehearsal.cluster import until
from tests.rehearsal.services import SECONDS, Platform

SPACE = "alerts-test"
"""Namespace of the causes, but of the workflow."""
FAILING = "alerts-test"
EXPORTER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(os.environ["SERIES"].encode())
http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""
SERIES = """\
kubelet_volume_stats_used_bytes{persistentvolumeclaim="full"} 95
kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="full"} 100
kube_cronjob_created{cronjob="never-backup"} 1
argo_workflows_workflowtemplate_triggered_total{name="promote-test",phase="Failed"} 1
traefik_router_requests_total{code="400",router="test-argo-events-hooks-test"} 1
"""
GREEDY = "held = []\nwhile True:\n    held.append(bytearray(1 << 20))"
CLOSED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
ALLOWED = "Watchdog|WorkflowFailed|LoginsRefused"
"""What may have fired: the one that always does, and what other tests want to be refused or to fail, but in namespaces
that are called NAME-test."""
REACH = 360.0
"""Seconds from a cause to the workflow: two minutes for a target to be down for good, and the intervals on the way."""


def python(program: str, *, memory: str = "128Mi", series: str = "") -> dict[str, Any]:
    """A container that runs a program."""
    return {
        "name": "main",
        "image": versions.PYTHON.tagged,
        "command": ["python3", "-c", program],
        "env": [{"name": "SERIES", "value": series}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": memory}},
        "securityContext": CLOSED,
    }


def pod(name: str, container: Mapping[str, Any]) -> dict[str, Any]:
    security = {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"app": name}},
        "spec": {"automountServiceAccountToken": False, "securityContext": security, "containers": [dict(container)]},
    }


def model(name: str) -> dict[str, Any]:
    """A Service as those of models are, which Prometheus finds by its label."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": SPACE, "labels": {"leasehold/scrape": "model"}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 8080}]},
    }


def lease() -> dict[str, Any]:
    """The end of a lease, as the stack's own rules record it: in an hour."""
    rule = {"record": "leasehold_lease_end_seconds", "expr": f"vector({int(time.time()) + 3600})"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "lease", "namespace": SPACE},
        "spec": {"groups": [{"name": "test", "rules": [{**rule, "labels": {"lease": "ending"}}]}]},
    }


def certificate() -> list[dict[str, Any]]:
    """A certificate that wants to be renewed in a minute; its issuer is taken away before."""
    metadata = {"name": "ending", "namespace": SPACE}
    times = {"duration": "1h", "renewBefore": "59m"}
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata, "spec": {"selfSigned": {}}}
    wanted = {"secretName": "ending", "dnsNames": ["ending.example.org"], "issuerRef": {"name": "ending"}, **times}
    return [issuer, {**issuer, "kind": "Certificate", "spec": wanted}]


def failing() -> dict[str, Any]:
    """A workflow whose only step fails."""
    security = {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}}
    step = {"name": "fails", "container": python("raise SystemExit('on purpose')")}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": FAILING, "namespace": accounts.SPACE},
        "spec": {"entrypoint": "fails", "securityContext": security, "templates": [step]},
    }


def unserved() -> dict[str, Any]:
    """A Deployment whose pod is never ready."""
    blocked = pod("unserved", {**python("import time\ntime.sleep(3600)"), "readinessProbe": {"tcpSocket": {"port": 1}}})
    template = {"metadata": {"labels": {"app": "unserved"}}, "spec": blocked["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "unserved", "namespace": SPACE},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "unserved"}}, "template": template},
    }


EXPECTED = {
    "PodOutOfMemory": SPACE,
    "PodNotStarting": SPACE,
    "LoginsRefused": None,
    "WebhookForged": None,
    "TargetDown": SPACE,
    "VolumeNearlyFull": SPACE,
    "BackupOld": SPACE,
    "PromotionFailed": SPACE,
    "CertificateEnding": SPACE,
    "LeaseEnding": None,
    "WorkflowFailed": accounts.SPACE,
}
"""Alert to the namespace that it names."""


class Watched:
    """Prometheus and what alerts started, as an operator asks for them."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def analyses(self) -> list[dict[str, Any]]:
        """The workflows that alerts started."""
        found: list[dict[str, Any]] = self.platform.kubectl.get("workflows.argoproj.io", "-n", "workflows")["items"]
        return [item for item in found if item["metadata"]["name"].startswith("log-analysis-")]

    def told(self) -> dict[tuple[str, str | None], str]:
        """Alert and namespace to the name of the workflow that was started for it."""
        found = {}
        for item in self.analyses():
            [parameter] = item["spec"]["arguments"]["parameters"]
            for alert in json.loads(parameter["value"])["alerts"]:
                labels = alert["labels"]
                found[labels["alertname"], labels.get("namespace")] = item["metadata"]["name"]
        return found

    def wait(self, wanted: set[tuple[str, str | None]], end: float) -> None:
        """Until these alerts have started their workflows."""

        def all_told() -> bool:
            missing = wanted - set(self.told())
            firing = [item["metric"]["alertname"] for item in self.platform.query('ALERTS{alertstate="firing"}')]
            assert not missing, f"not told: {sorted(map(str, missing))}; firing: {sorted(firing)}"
            return True

        until("every alert to start its workflow", all_told, end - time.time(), 5)


@pytest.fixture(scope="module")
def watched(platform: Platform) -> Watched:
    return Watched(platform)


def test_every_target_of_the_shipped_platform_answers(watched: Watched) -> None:
    """A metric that is not there makes its alert a promise that nobody keeps."""

    def all_up() -> bool:
        down = [item["metric"] for item in watched.platform.query("up == 0")]
        assert not down, down
        return True

    until("every target to answer", all_up, 120, 5)
    jobs = {item["metric"]["job"] for item in watched.platform.query("count by (job) (up)")}
    wanted = {"mlflow", "object-store", "postgres", "traefik", "cert-manager", "registry", "gpus", "argo-workflows"}
    assert wanted | {"kubelet", "node-exporter", "kube-state-metrics"} <= jobs


def test_prometheus_evaluates_every_rule(watched: Watched) -> None:
    """The operator leaves out rules that it does not understand, and Prometheus goes on without them."""
    answer = watched.platform.get("prometheus", "/api/v1/rules", login=True)
    groups = {group["name"]: group["rules"] for group in answer.json()["data"]["groups"]}
    named = ("watch", "pods", "refusals", "targets", "volumes", "backups", "certificates", "workflows", "leases")
    assert {f"leasehold-{name}" for name in named} <= set(groups)
    assert not [rule["name"] for rules in groups.values() for rule in rules if rule["health"] != "ok"]


@pytest.mark.parametrize("minutes", [1, pytest.param(10, marks=pytest.mark.long)])
def test_nothing_fires_on_a_healthy_platform(watched: Watched, minutes: int) -> None:
    """Statement 6: what other tests broke has ended, and for minutes nothing fires but the watchdog."""
    query = f'count_over_time(ALERTS{{alertstate="firing",alertname!~"{ALLOWED}",namespace!~".+-test"}}[{minutes}m])'

    def quiet() -> bool:
        fired = [item["metric"] for item in watched.platform.query(query)]
        assert not fired, fired
        return True

    started = time.time()
    until("nothing to fire", lambda: quiet() and time.time() - started > 60 * minutes - 60, 180 + 60 * minutes, 10)
    assert watched.platform.alerts("Watchdog", alertstate="firing")


@pytest.fixture(scope="module")
def causes(platform: Platform) -> Iterator[float]:
    """All causes at once; when that was."""
    kubectl = platform.kubectl
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": level}}))
    silent = pod("silent", python("import time\ntime.sleep(3600)"))
    forged = {**python(""), "image": f"{versions.PYTHON.name}@sha256:{'0' * 64}"}
    objects = [
        *(pod("greedy", python(GREEDY, memory="48Mi")), silent, model("silent"), model("series"), lease()),
        *(pod("forged", forged), unserved()),
        *(pod("series", python(EXPORTER, series=SERIES)), *certificate(), failing()),
    ]
    kubectl.apply(yaml.safe_dump_all(objects))
    kubectl.run("wait", "-n", SPACE, "certificate/ending", "--for=condition=Ready", "--timeout=60s", timeout=90)
    kubectl.run("delete", "-n", SPACE, "issuer/ending")
    with platform.session() as stranger:
        for _ in range(alerts.REFUSALS + 20):
            assert stranger.get(platform.url("prometheus"), timeout=SECONDS).status_code == 401
    yield time.time()
    kubectl.run("delete", "workflow", FAILING, "-n", accounts.SPACE)
    kubectl.run("delete", "namespace", SPACE, "--wait=false")


@pytest.mark.usefixtures("causes")
def test_grafana_lets_in_its_administrator_and_nobody_else(platform: Platform) -> None:
    """By the generated password; the pair that it comes with is known to everybody."""
    user, password = platform.password("grafana")
    session = platform.session()
    url = platform.url("grafana")
    for pair in ((user, "admin"), ("admin", "prom-operator"), (user, "")):
        assert session.post(f"{url}/login", json=dict(zip(("user", "password"), pair, strict=True))).status_code == 401
    assert platform.get("grafana", "/api/search").status_code == 401
    assert session.post(f"{url}/login", json={"user": user, "password": password}, timeout=SECONDS).status_code == 200
    boards = {item["title"] for item in platform.get("grafana", "/api/search", login=True).json()}
    assert {"Platform", "Model serving", "Leases and GPUs"} <= boards


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_the_other_user_interfaces_are_behind_a_password(platform: Platform, service: str) -> None:
    """They have no accounts, and show names of everything."""
    for path in ("/", "/metrics", "/api/v1/status/config", "/api/v2/alerts", "/-/ready", "/-/reload"):
        assert platform.get(service, path).status_code == 401
    assert platform.get(service, "/-/ready", login=True).status_code == 200


def test_the_series_of_a_dashboard_come_through_grafana(platform: Platform) -> None:
    """Its data source is Prometheus, reached inside the cluster."""
    path = "/api/datasources/proxy/uid/prometheus/api/v1/query"
    answer = platform.get("grafana", path, login=True, params={"query": "count(up)"})
    assert int(answer.json()["data"]["result"][0]["value"][1]) > 10


def test_each_alert_fires_by_its_cause_and_starts_the_log_analysis(watched: Watched, causes: float) -> None:
    """Statement 6, from the cause to the webhook: the rule, Alertmanager, the token, the sensor."""
    watched.wait(set(EXPECTED.items()), causes + REACH)


@pytest.mark.long
def test_pods_that_do_not_serve_are_told(watched: Watched, causes: float) -> None:
    """Of a Deployment that is not ready for minutes; a new version may take as long."""
    watched.wait({("WorkloadIncomplete", SPACE)}, causes + REACH + 200)


def test_the_log_analysis_of_a_killed_pod_names_the_cause(watched: Watched) -> None:
    """Whoever reads the report should not have to look for the pod: it is gone by then, or looks well again."""

    def report() -> str:
        name = watched.told()["PodOutOfMemory", SPACE]
        [item] = [item for item in watched.analyses() if item["metadata"]["name"] == name]
        nodes = {node["displayName"]: node for node in item["status"]["nodes"].values()}
        assert item["status"]["phase"] == "Succeeded", item["status"]
        [result] = nodes["report"]["outputs"]["parameters"]
        return str(result["value"])

    said = until("the report", report, 120, 3)
    assert "greedy" in said
    assert "OOMKilled" in said
