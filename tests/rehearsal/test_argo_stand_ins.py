"""What stands in for Argo, before a real API server: its charts' objects are taken, and an event becomes a workflow."""

import base64
import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from mlops.argo import bus, cd, events, workflows
from rehearsal.kubernetes import build
from rehearsal.kubernetes.charts import CHARTS
from rehearsal.programs import kube
from rehearsal.programs.argo import cd as argocd
from rehearsal.programs.argo import events as stand_in
from rehearsal.programs.argo import server, web
from rehearsal.programs.argo.web import Request
from tests.rehearsal import api_server
from tests.rehearsal.cluster import Kubectl, until
from tests.unit import platforms

RELEASES = {"argocd": cd, "argo-workflows": workflows, "argo-events": events}
TOKEN, OTHER = "token-of-alerts", "token-of-deployments"


def rendered(release: str, folder: Path) -> list[dict[str, Any]]:
    """The objects of a release, with our values."""
    [(chart, values)] = RELEASES[release].example_values(platforms.platform("shipped"))
    file = folder / f"{release}.yaml"
    file.write_text(yaml.safe_dump(values))
    command = [build.helm(), "template", release, CHARTS / chart.name, "-n", release, "-f", file]
    made = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
    return [item for item in yaml.safe_load_all(made.stdout) if item]


def text(*items: dict[str, Any]) -> str:
    return yaml.safe_dump_all(items)


def custom(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "argo-events"}
    return {"apiVersion": events.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """An API server with the charts' objects; the stand-ins reach it as an administrator."""
    folder = tmp_path_factory.mktemp("argo")
    with api_server.running() as found, pytest.MonkeyPatch.context() as patch:
        known = yaml.safe_load(found.kubeconfig.read_text())
        cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
        (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        (folder / "token").write_text(user["token"])
        (folder / "namespace").write_text("argocd")
        host, _, port = cluster["server"].removeprefix("https://").partition(":")
        patch.setattr(kube, "ACCOUNT", folder)
        patch.setenv("KUBERNETES_SERVICE_HOST", host)
        patch.setenv("KUBERNETES_SERVICE_PORT", port)
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in (*RELEASES, "workflows")]
        items = [item for release in RELEASES for item in rendered(release, folder)]
        definitions = [item for item in items if item["kind"] == "CustomResourceDefinition"]
        strict = ("apply", "--server-side", "--validate=strict", "-f", "-")
        found.run(*strict, stdin=text(*definitions, *spaces))
        found.run("wait", "--for=condition=Established", "crd", "--all", timeout=60)
        found.run(*strict, stdin=text(*(item for item in items if item not in definitions)))
        yield found


@pytest.fixture(scope="module")
def webhook(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The webhook and its sensor, as the controller would start them; returns the webhook's URL."""
    sensor = events.sensor("alerts", "log-analysis", "alerts", "workflows")
    made = [custom("EventSource", "webhook", events.source("tokens")), custom("Sensor", "log-analysis", sensor)]
    kubectl.apply(text(custom("EventBus", "default", bus.event_bus("nats://bus", "bus")), *made))
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "tokens").mkdir()
    (secrets / "tokens" / "alerts").write_text(TOKEN)
    (secrets / "tokens" / "deployments").write_text(OTHER)
    post = stand_in.post
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stand_in, "SECRETS", secrets)
        stand_in.reconcile(kube.Api(), "argo-events", "image", {})
        pods = kubectl.get("deployment", "webhook-eventsource", "-n", "argo-events")["spec"]["template"]["spec"]
        environment = {entry["name"]: entry["value"] for entry in pods["containers"][0]["env"]}
        patch.setattr(stand_in, "post", lambda _, body: post(f"http://127.0.0.1:{stand_in.TAKING}/", body))
        patch.setenv("TARGETS", environment["TARGETS"])
        for role, item in ((stand_in.source, made[0]), (stand_in.sensor, made[1])):
            threading.Thread(target=role, args=(item,), daemon=True).start()
        url = f"http://127.0.0.1:{events.PORT}"
        until("the webhook", lambda: posted(f"{url}/nothing", "") == HTTPStatus.NOT_FOUND, 20)
        yield url


def posted(url: str, token: str) -> int:
    """Status of an event."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, b'{"alerts": []}', headers), timeout=30) as answer:  # noqa: S310  our own
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0


def started(kubectl: Kubectl) -> list[dict[str, Any]]:
    return list(kubectl.get("workflows", "-n", "workflows")["items"])


def test_the_controller_makes_what_an_object_asks_for_once(kubectl: Kubectl, webhook: str) -> None:
    """Under the Service's name that Argo Events would choose; and says that it is not there yet."""
    del webhook
    before = kubectl.get("deployment", "webhook-eventsource", "-n", "argo-events")["metadata"]["generation"]
    stand_in.reconcile(kube.Api(), "argo-events", "image", {})
    assert kubectl.get("deployment", "webhook-eventsource", "-n", "argo-events")["metadata"]["generation"] == before
    [port] = kubectl.get("service", "webhook-eventsource-svc", "-n", "argo-events")["spec"]["ports"]
    assert port["port"] == events.PORT
    [condition] = kubectl.get("eventsource", "webhook", "-n", "argo-events")["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Deployed", "False")


@pytest.mark.parametrize("token", ["", "wrong", OTHER])
def test_an_event_without_its_token_starts_nothing(kubectl: Kubectl, webhook: str, token: str) -> None:
    """The tokens of two events differ."""
    before = len(started(kubectl))
    assert posted(f"{webhook}/alerts", token) == HTTPStatus.UNAUTHORIZED
    assert len(started(kubectl)) == before


def test_an_event_with_its_token_starts_one_workflow_with_its_body(kubectl: Kubectl, webhook: str) -> None:
    """Accepted means that it is started."""
    before = len(started(kubectl))
    assert posted(f"{webhook}/alerts", TOKEN) == HTTPStatus.OK
    [*_, made] = sorted(started(kubectl), key=lambda item: str(item["metadata"]["creationTimestamp"]))
    assert len(started(kubectl)) == before + 1
    assert json.loads(made["spec"]["arguments"]["parameters"][0]["value"]) == {"alerts": []}


def test_the_server_of_workflows_does_what_the_callers_token_may(kubectl: Kubectl) -> None:
    """It has no rights that a caller could borrow."""
    known = (kube.ACCOUNT / "token").read_text()

    def status(token: str, path: str) -> int:
        header = {"Authorization": f"Bearer {token}"} if token else {}
        return server.handle(Request("GET", path, header, b"")).status

    del kubectl
    assert status("", "/api/v1/workflows/workflows") == status("wrong", "/api/v1/userinfo") == HTTPStatus.UNAUTHORIZED
    assert status(known, "/api/v1/workflows/workflows") == HTTPStatus.OK


def test_the_login_of_argo_cd_is_the_secrets(kubectl: Kubectl) -> None:
    """Nothing is listed before it."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": cd.SERVER, "namespace": "argocd"},
        "stringData": {
            "admin.password": bcrypt.hashpw(b"generated", bcrypt.gensalt(4)).decode(),
            "server.secretkey": "key",
        },
    }
    kubectl.apply(text(secret))

    def login(password: str) -> web.Answer:
        body = json.dumps({"username": "admin", "password": password}).encode()
        return argocd.handle(Request("POST", "/api/v1/session", {}, body))

    def projects(token: str) -> int:
        return argocd.handle(Request("GET", "/api/v1/projects", {"Authorization": f"Bearer {token}"}, b"")).status

    assert [login(word).status for word in ("admin", "", "argocd")] == [HTTPStatus.UNAUTHORIZED] * 3
    assert projects("") == HTTPStatus.UNAUTHORIZED
    assert projects(login("generated").body["token"]) == HTTPStatus.OK
