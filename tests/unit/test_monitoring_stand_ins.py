"""The rehearsal's stand-ins for kube-state-metrics and Grafana: they give what rules read, and let nobody in."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from mlops.monitoring import alerts, dashboards
from rehearsal.programs.monitoring import dashboards as grafana
from rehearsal.programs.monitoring import states
from tests.unit import platforms

BORN = "2026-11-21T10:00:00Z"
META = {"name": "a", "namespace": "web", "uid": "u", "creationTimestamp": BORN}
ENDED = {"reason": "OOMKilled", "finishedAt": "2026-11-21T10:05:00Z"}
OBJECTS: dict[str, dict[str, Any]] = {
    "pods": {
        "metadata": META,
        "spec": {
            "nodeName": "node1",
            "containers": [
                {"name": "c", "resources": {"limits": {"memory": "64Mi"}, "requests": {"nvidia.com/gpu": "1"}}}
            ],
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {
                    "name": "c",
                    "restartCount": 2,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": ENDED},
                },
                {"name": "d", "restartCount": 0, "state": {"terminated": ENDED}},
            ],
        },
    },
    "namespaces": {"metadata": {"name": "postgres", "creationTimestamp": BORN}},
    "nodes": {
        "metadata": {"name": "node1"},
        "status": {
            "allocatable": {"cpu": "3900m", "nvidia.com/gpu": "1"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    },
    "cronjobs": {"metadata": META, "status": {"lastSuccessfulTime": BORN}},
    "jobs": {"metadata": META, "status": {"succeeded": 1}},
    "persistentvolumeclaims": {"metadata": META, "status": {"phase": "Bound"}},
    "resourcequotas": {"metadata": META, "status": {"hard": {"pods": "3"}, "used": {"pods": "1"}}},
    "deployments": {"metadata": META, "status": {"replicas": 2, "readyReplicas": 1}},
    "statefulsets": {"metadata": META, "status": {"replicas": 1, "readyReplicas": 1}},
    "daemonsets": {"metadata": META, "status": {"desiredNumberScheduled": 4, "numberReady": 3}},
}


@pytest.fixture(scope="module")
def exposed() -> str:
    return states.text(sample for kind, item in OBJECTS.items() for sample in states.KINDS[kind](item))


def test_it_has_every_metric_of_an_objects_state_that_we_read(exposed: str) -> None:
    """A rule about a metric that the stand-in lacks would be silent in the rehearsal, and only there."""
    rules = json.dumps(alerts.groups(platforms.platform("shipped"), [], {"gpu": "2026-11-28 00:00"}))
    queries = " ".join(panel.query for board in dashboards.ALL for panel in board.panels)
    read = set(re.findall(r"\bkube_[a-z_]+", rules + queries))
    assert len(read) > 8
    assert read <= set(re.findall(r"^(kube_[a-z_]+)\{", exposed, re.MULTILINE))


POD = 'namespace="web",pod="a",uid="u"'


@pytest.mark.parametrize(
    "line",
    [
        f'kube_pod_container_status_last_terminated_reason{{{POD},container="c",reason="OOMKilled"}} 1.0',
        f'kube_pod_container_status_terminated_reason{{{POD},container="d",reason="OOMKilled"}} 1.0',
        'kube_deployment_status_replicas_ready{namespace="web",deployment="a"} 1',
        'kube_daemonset_status_number_ready{namespace="web",daemonset="a"} 3',
        'kube_node_status_allocatable{node="node1",resource="cpu",unit="core"} 3.9',
        'kube_node_status_allocatable{node="node1",resource="nvidia_com_gpu",unit="integer"} 1.0',
        'kube_namespace_created{namespace="postgres"} 1795255200.0',
    ],
)
def test_it_says_it_as_kube_state_metrics_does(exposed: str, line: str) -> None:
    """Names, labels and units are an interface."""
    assert line in exposed.splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", 0.25), ("1Gi", 2.0**30), ("2k", 2000.0), ("3", 3.0), ("1e3", 1000.0), ("1.5Mi", 1.5 * 2**20)],
)
def test_quantities_are_in_base_units(text: str, value: float) -> None:
    """Dashboards divide bytes by bytes."""
    assert states.quantity(text) == value


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    boards = tmp_path / "boards"
    for folder in (boards, tmp_path / "datasources", tmp_path / "dashboards"):
        folder.mkdir()
    for name, text in dashboards.files().items():
        (boards / name).write_text(text)
    provider = {"providers": [{"options": {"path": str(boards)}}]}
    (tmp_path / "dashboards" / "a.yaml").write_text(yaml.safe_dump(provider))
    (tmp_path / "datasources" / "a.yaml").write_text(yaml.safe_dump({"datasources": [{"uid": "prometheus"}]}))

    class Handler(grafana.Handler):
        site = grafana.Site("admin", "right", tmp_path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("pair", [None, ("admin", "admin"), ("admin", ""), ("admin", "prom-operator"), ("", "right")])
def test_grafanas_stand_in_lets_nobody_in_without_the_password(url: str, pair: tuple[str, str] | None) -> None:
    """Like the real one: a rehearsal that is more open than production teaches the wrong thing."""
    for path in ("/api/search", "/api/datasources", "/api/dashboards/uid/leasehold-platform"):
        assert requests.get(f"{url}{path}", auth=pair, timeout=5).status_code == 401
    assert requests.get(f"{url}/", auth=pair, timeout=5, allow_redirects=False).headers["Location"] == "/login"
    given = dict(zip(("user", "password"), pair or ("", ""), strict=True))
    assert requests.post(f"{url}/login", json=given, timeout=5).status_code == 401


def test_grafanas_stand_in_lists_what_was_provisioned(url: str) -> None:
    """By the login's cookie, as a browser has it."""
    answer = requests.post(f"{url}/login", json={"user": "admin", "password": "right"}, timeout=5)
    cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    found = requests.get(f"{url}/api/search", headers=cookie, timeout=5).json()
    assert {item["uid"] for item in found} == {"leasehold-platform", "leasehold-serving", "leasehold-leases"}


def test_grafanas_stand_in_refuses_settings_that_would_let_strangers_in() -> None:
    """It does not honour them, so it must not ignore them."""
    assert grafana.refused("[auth.anonymous]\nenabled = true\n")
    assert not grafana.refused("[auth.anonymous]\nenabled = false\n[users]\nallow_sign_up = false\n")
