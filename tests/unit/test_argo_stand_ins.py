"""What stands in for the Argo projects: it takes our values and objects, refuses others, and knows who asks."""

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import bcrypt
import pytest
import yaml

from mlops.argo import bus, cd, events, workflows
from mlops.monitoring import analysis
from rehearsal.kubernetes import build, charts
from rehearsal.programs.argo import cd as argocd
from rehearsal.programs.argo import controller, executor, server, workflow
from rehearsal.programs.argo import events as stand_in
from rehearsal.programs.argo.web import Request
from rehearsal.programs.argo.workflow import UnsupportedError
from rehearsal.programs.kube import Api
from tests.unit import platforms
from versions import Chart

MODULES = {"argocd": cd, "argo-workflows": workflows, "argo-events": events}
HOOK = {"endpoint": "/alerts", "method": "POST", "port": "12000", "authSecret": {"name": "tokens", "key": "alerts"}}


def example(release: str, form: str) -> tuple[Chart, dict[str, Any]]:
    [found] = MODULES[release].example_values(platforms.platform(form))
    chart, values = found
    return chart, values


def rendered(release: str, values: dict[str, Any], chart: Chart, folder: Path) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    folder = charts.CHARTS / chart.name
    command: list[str | Path] = [build.helm(), "template", release, folder, "-n", release, "-f", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("form", ["shipped", "small"])
@pytest.mark.parametrize("release", sorted(MODULES))
def test_a_chart_takes_our_values_and_has_the_pinned_version(release: str, form: str, tmp_path: Path) -> None:
    """The charts are looked up by name and version, as upstream's are."""
    chart, values = example(release, form)
    described = yaml.safe_load((charts.CHARTS / chart.name / "Chart.yaml").read_text())
    assert (described["version"], described["appVersion"]) == (chart.version, chart.app)
    made = rendered(release, values, chart, tmp_path)
    assert made.returncode == 0, made.stderr
    assert all(item["kind"] for item in yaml.safe_load_all(made.stdout) if item)


@pytest.mark.parametrize("release", sorted(MODULES))
def test_a_chart_refuses_a_key_that_it_would_not_honour(release: str, tmp_path: Path) -> None:
    """A rehearsal that takes anything proves nothing of the values."""
    chart, values = example(release, "shipped")
    made = rendered(release, {**values, "misspelt": {}}, chart, tmp_path)
    assert made.returncode != 0
    assert "misspelt" in made.stderr


@pytest.mark.parametrize("release", sorted(MODULES))
def test_a_chart_has_the_services_and_labels_that_others_use(release: str, tmp_path: Path) -> None:
    """Routes name Services, and scrapes select labels and ports."""
    chart, values = example(release, "shipped")
    items = [item for item in yaml.safe_load_all(rendered(release, values, chart, tmp_path).stdout) if item]
    services = {item["metadata"]["name"]: item for item in items if item["kind"] == "Service"}
    wanted = {"argocd": ("argocd-server", 80), "argo-workflows": ("argo-workflows-server", 2746)}
    if release in wanted:
        name, port = wanted[release]
        assert port in [entry["port"] for entry in services[name]["spec"]["ports"]]
    for scrape in MODULES[release].SCRAPES:
        pods = [item["spec"]["template"] for item in items if item["kind"] in ("Deployment", "StatefulSet")]
        found = list(services.values()) if scrape.of == "service" else pods
        assert [i for i in found if dict(scrape.labels).items() <= i["metadata"]["labels"].items()]


@pytest.mark.parametrize("release", sorted(MODULES))
def test_every_container_of_a_chart_may_run_in_a_restricted_namespace(release: str, tmp_path: Path) -> None:
    """The namespaces refuse other pods."""
    chart, values = example(release, "shipped")
    for item in yaml.safe_load_all(rendered(release, values, chart, tmp_path).stdout):
        if item and item["kind"] in ("Deployment", "StatefulSet"):
            pod = item["spec"]["template"]["spec"]
            for container in pod["containers"]:
                context = {**(pod.get("securityContext") or {}), **container["securityContext"]}
                assert context["runAsNonRoot"]
                assert context["seccompProfile"] == {"type": "RuntimeDefault"}
                assert context["allowPrivilegeEscalation"] is False
                assert context["capabilities"]["drop"] == ["ALL"]


def test_a_password_is_compared_with_its_hash_and_defaults_are_none() -> None:
    """The login of the stand-in is what the real one would be."""
    digest = bcrypt.hashpw(b"generated", bcrypt.gensalt(4)).decode()
    assert argocd.right("generated", digest)
    assert not any(argocd.right(word, digest) for word in ("admin", "password", "", digest))
    assert not argocd.right("", "")


def test_a_session_ends_with_its_time_and_with_the_key() -> None:
    """A rotation makes another key."""
    now = time.time()
    token = argocd.session("key", now + 60)
    assert argocd.valid(token, "key", now)
    assert not argocd.valid(token, "other", now)
    assert not argocd.valid(token, "key", now + 61)
    assert not any(argocd.valid(text, "key", now) for text in ("", "x", "YTpiOmM="))


@pytest.mark.parametrize(
    ("header", "status"),
    [({}, 401), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": "Bearer right"}, None)],
)
def test_an_event_without_its_token_is_refused(header: dict[str, str], status: int | None) -> None:
    """Whoever reaches the webhook could start workflows."""
    found = stand_in.admitted(Request("POST", "/alerts", header, b"{}"), HOOK, "right")
    assert (found.status if found else None) == status


def test_an_empty_secret_lets_nobody_in() -> None:
    """A key that is missing would equal a header that is missing."""
    assert stand_in.admitted(Request("POST", "/alerts", {"Authorization": "Bearer "}, b"{}"), HOOK, "") is not None


def test_the_objects_of_events_are_honoured_in_full() -> None:
    """The stand-in says which fields it would leave out; of ours there is none."""
    assert stand_in.unknown(stand_in.SOURCES, events.source("tokens")) == []
    assert stand_in.unknown(stand_in.SENSORS, events.sensor("alerts", "log-analysis", "alerts", "workflows")) == []
    assert stand_in.unknown(stand_in.BUSES, bus.event_bus("nats://bus", "bus")) == []
    assert stand_in.unknown(stand_in.SENSORS, {"triggers": [{"template": {"name": "x", "http": {}}}]}) == ["http"]


def test_an_event_becomes_the_parameter_of_the_workflow_as_text() -> None:
    """Argo Events gives an object as JSON text."""
    spec = events.sensor("alerts", "log-analysis", "alerts", "workflows")
    made = stand_in.filled(spec["triggers"][0], {"alerts": [{"status": "firing"}]})
    assert json.loads(made["spec"]["arguments"]["parameters"][0]["value"]) == {"alerts": [{"status": "firing"}]}
    untouched = spec["triggers"][0]["template"]["k8s"]["source"]["resource"]["spec"]["arguments"]
    assert untouched["parameters"][0]["value"] == ""


def test_an_event_goes_to_the_sensors_that_wait_for_it() -> None:
    """Each event has its own sensors, or none."""
    sensor = {"metadata": {"name": "one"}, "spec": events.sensor("alerts", "one", "alerts", "workflows")}
    assert stand_in.waiting([sensor], "webhook", "alerts") == ["one"]
    assert stand_in.waiting([sensor], "webhook", "deployments") == []


def test_the_steps_of_the_log_analysis_are_run_in_their_order() -> None:
    """Its template is what alerts start."""
    node = workflow.tree(analysis.template("python", None, comments=False), "w", "analysis", {"alerts": "[]"})
    assert [pod.name for pod in node.pods()] == ["w.collect", "w.report"]


def test_a_dag_is_run_in_the_order_of_what_its_tasks_need() -> None:
    """Whatever order it is written in."""
    tasks = [
        {"name": "c", "template": "t", "depends": "b && a.Succeeded"},
        {"name": "b", "template": "t", "dependencies": ["a"]},
    ]
    spec = {
        "templates": [
            {"name": "d", "dag": {"tasks": [*tasks, {"name": "a", "template": "t"}]}},
            {"name": "t", "container": {"command": ["true"]}},
        ]
    }
    assert [pod.name for pod in workflow.tree(spec, "w", "d", {}).pods()] == ["w.a", "w.b", "w.c"]


@pytest.mark.parametrize(
    "template",
    [
        {"name": "t", "resource": {}},
        {"name": "t", "container": {}, "inputs": {"artifacts": [{}]}},
        {"name": "t", "container": {}, "sidecars": []},
        {"name": "t", "steps": [[{"name": "a", "template": "t", "when": "x"}]]},
    ],
)
def test_what_a_workflow_asks_for_is_done_or_refused(template: dict[str, Any]) -> None:
    """Left out in silence, it would look as if it worked."""
    with pytest.raises(UnsupportedError):
        workflow.tree({"templates": [template]}, "w", "t", {})


def test_values_are_put_into_texts_and_missing_ones_are_named() -> None:
    """A step with a text that was not filled would run on nonsense."""
    known = {"inputs.parameters.a": "1", "steps.x.outputs.result": "2"}
    filled = workflow.filled(
        ["{{inputs.parameters.a}}{{ steps.x.outputs.result }}", {"k": "{{inputs.parameters.b}}"}], known
    )
    assert filled == ["12", {"k": "{{inputs.parameters.b}}"}]
    assert workflow.missing(filled) == ["inputs.parameters.b"]


def test_a_parameter_that_a_step_did_not_leave_is_an_error(tmp_path: Path) -> None:
    """Unless it has a default."""
    (tmp_path / "there").write_text("value\n")
    entry = {"name": "a", "valueFrom": {"path": str(tmp_path / "there")}}
    gone: dict[str, Any] = {"name": "b", "valueFrom": {"path": str(tmp_path / "gone"), "default": "d"}}
    assert executor.left({"parameters": [entry, gone]}) == {"parameters.a": "value", "parameters.b": "d"}
    del gone["valueFrom"]["default"]
    assert "error" in executor.left({"parameters": [gone]})


class Cluster:
    """An API with workflows whose pods end at once: each leaves its input as its result."""

    def __init__(self, template: dict[str, Any], codes: Sequence[int] = ()) -> None:
        self.template, self.codes = template, list(codes)
        self.pods: dict[str, dict[str, Any]] = {}
        self.changes: list[dict[str, Any]] = []

    def get(self, path: str) -> dict[str, Any] | None:
        name = path.rpartition("/")[2]
        return {"spec": self.template} if "workflowtemplates" in path else self.pods.get(name)

    def create(self, path: str, item: dict[str, Any]) -> bool:
        assert path == "/api/v1/namespaces/workflows/pods"
        code = self.codes.pop(0) if self.codes else 0
        ended = {"name": "main", "state": {"terminated": {"exitCode": code, "reason": "Error"}}}
        status = {"phase": "Failed" if code else "Succeeded", "containerStatuses": [ended]}
        self.pods[item["metadata"]["name"]] = {**item, "status": status}
        return True

    def text(self, path: str) -> str:
        name = path.split("/pods/")[1].partition("/")[0]
        main = self.pods[name]["spec"]["containers"][0]
        given = next((entry["value"] for entry in main.get("env", []) if entry["name"] == "INPUT"), "")
        left = json.dumps({"parameters.result": f"<{given}>"})
        return f"outputs: {left}\n" if path.endswith("wait") else "printed\n"

    def delete(self, path: str) -> None:
        assert path.rpartition("/")[2] in self.pods

    def merge(self, path: str, change: dict[str, Any]) -> None:
        assert path.startswith("/apis/argoproj.io/v1alpha1/namespaces/workflows/workflows/")
        self.changes.append(change)


def ended(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, spec: dict[str, Any]) -> dict[str, Any]:
    """Run a workflow; returns its last status."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    settings = {
        "workflowDefaults": workflows.defaults(),
        "mainContainer": {"securityContext": dict(workflows.RESTRICTED)},
    }
    item = {"metadata": {"name": "w", "namespace": "workflows", "uid": "u"}, "spec": spec}
    controller.Run(cast(Api, cluster), settings, "executor-image", item).go()
    status: dict[str, Any] = next(change["status"] for change in reversed(cluster.changes) if "status" in change)
    return status


def by_template(alerts: str) -> dict[str, Any]:
    parameters = [{"name": analysis.PARAMETER, "value": alerts}]
    return {"workflowTemplateRef": {"name": analysis.NAME}, "arguments": {"parameters": parameters}}


def test_the_log_analysis_runs_to_its_end_with_what_each_step_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step reads what the one before it left."""
    cluster = Cluster(analysis.template("python", None, comments=False))
    status = ended(monkeypatch, cluster, by_template('[{"a": "{{x}}"}]'))
    assert status["phase"] == "Succeeded", status
    inputs = [entry["value"] for pod in cluster.pods.values() for entry in pod["spec"]["containers"][0]["env"]]
    assert '[{"a": "{{x}}"}]' in inputs
    assert '<[{"a": "{{x}}"}]>' in inputs


def test_only_the_step_that_asks_for_it_gets_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the real controller has it by our defaults."""
    cluster = Cluster(analysis.template("python", None, comments=False))
    ended(monkeypatch, cluster, by_template("[]"))
    accounts = [
        (p["spec"]["serviceAccountName"], p["spec"]["automountServiceAccountToken"]) for p in cluster.pods.values()
    ]
    assert accounts == [("log-analysis", True), ("executor", False)]


def test_a_step_that_fails_is_tried_again_and_then_the_workflow_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, and nothing after it is run."""
    steps = [[{"name": "a", "template": "bad"}], [{"name": "b", "template": "bad"}]]
    bad = {"name": "bad", "container": {"command": ["false"]}, "retryStrategy": {"limit": "1"}}
    spec = {"entrypoint": "all", "templates": [{"name": "all", "steps": steps}, bad]}
    cluster = Cluster({}, [1, 1])
    status = ended(monkeypatch, cluster, spec)
    assert (status["phase"], status["message"]) == ("Failed", "w.a: Error (exit code 1)")
    assert list(cluster.pods) == ["w-a-0", "w-a-1"]


def test_what_is_not_honoured_ends_the_workflow_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it sees that it is the rehearsal's limit."""
    spec = {"entrypoint": "x", "templates": [{"name": "x", "suspend": {}}]}
    status = ended(monkeypatch, Cluster({}), spec)
    assert status["phase"] == "Error"
    assert "stand-in: template x: suspend" in status["message"]


def test_a_workflow_that_is_posted_need_not_say_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the real API its place says so; the API of Kubernetes, which the stand-in hands it to, wants it said."""
    sent: list[tuple[str, dict[str, Any]]] = []

    class Called:
        def __init__(self, token: str) -> None:
            assert token == "known"

        def call(self, _method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
            sent.append((path, body))
            return {}

    monkeypatch.setattr(server, "Api", Called)
    body = json.dumps({"workflow": {"metadata": {"name": "one"}, "spec": {}}}).encode()
    header = {"Authorization": "Bearer known"}
    assert server.handle(Request("POST", "/api/v1/workflows/workflows", header, body)).status == 200
    path, made = sent[-1]
    assert path.endswith("/namespaces/workflows/workflows")
    assert (made["apiVersion"], made["kind"]) == ("argoproj.io/v1alpha1", "Workflow")
