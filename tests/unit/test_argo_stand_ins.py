"""What stands in for the Argo projects: it takes our values, refuses others, and knows who asks."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from mlops.argo import cd, events, workflows
from rehearsal.kubernetes import build, charts
from rehearsal.programs.argo import cd as argocd
from rehearsal.programs.argo import server
from rehearsal.programs.argo.web import Request
from tests.unit import platforms
from versions import Chart

helm = pytest.mark.skipif(build.built(build.HELM) is None, reason="no helm: not built by a rehearsal yet")
MODULES = {"argocd": cd, "argo-workflows": workflows, "argo-events": events}


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


@helm
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


@helm
@pytest.mark.parametrize("release", sorted(MODULES))
def test_a_chart_refuses_a_key_that_it_would_not_honour(release: str, tmp_path: Path) -> None:
    """A rehearsal that takes anything proves nothing of the values."""
    chart, values = example(release, "shipped")
    made = rendered(release, {**values, "misspelt": {}}, chart, tmp_path)
    assert made.returncode != 0
    assert "misspelt" in made.stderr


@helm
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


@helm
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
