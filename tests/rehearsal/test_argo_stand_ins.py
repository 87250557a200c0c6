"""What stands in for Argo, before a real API server: its charts' objects are taken, and an event becomes a workflow."""

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

from mlops.argo import bus, cd, events, github, workflows
from rehearsal.kubernetes import build
from rehearsal.kubernetes.charts import CHARTS
from rehearsal.programs import kube
from rehearsal.programs.argo import cd as argocd
from rehearsal.programs.argo import events as stand_in
from rehearsal.programs.argo import hooks, sensors, server, web
from rehearsal.programs.argo.counters import metrics
from rehearsal.programs.argo.web import Request
from tests.rehearsal import api_server
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.github import push, signature
from tests.unit import platforms

RELEASES = {"argocd": cd, "argo-workflows": workflows, "argo-events": events}
TOKEN, OTHER = "token-of-alerts", "token-of-deployments"
WORD, REPOSITORY, COMMIT = "word-of-github", "team/model", "3f2a9c1b77de" + "0" * 28


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
        api_server.as_pod(found, folder, "argocd", patch)
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in (*RELEASES, "workflows")]
        items = [item for release in RELEASES for item in rendered(release, folder)]
        definitions = [item for item in items if item["kind"] == "CustomResourceDefinition"]
        strict = ("apply", "--server-side", "--validate=strict", "-f", "-")
        found.run(*strict, stdin=text(*definitions, *spaces))
        found.run("wait", "--for=condition=Established", "crd", "--all", timeout=60)
        found.run(*strict, stdin=text(*(item for item in items if item not in definitions)))
        yield found


class Wires:
    """A source and its sensor, as the controller would start them, each at a port of this computer."""

    def __init__(self, kubectl: Kubectl, secrets: Path, port: int) -> None:
        self.kubectl, self.secrets, self.port = kubectl, secrets, port

    def start(self, source: dict[str, Any], sensor: dict[str, Any]) -> None:
        stand_in.reconcile(kube.Api(), "argo-events", "image", {})
        deployment = f"{source['metadata']['name']}-eventsource"
        [container] = self.kubectl.get("deployment", deployment, "-n", "argo-events")["spec"]["template"]["spec"][
            "containers"
        ]
        told = {entry["name"]: entry["value"] for entry in container["env"]}["TARGETS"]
        more = {"secrets": self.secrets, "send": lambda _, body: hooks.post(f"http://127.0.0.1:{self.port}/", body)}
        threading.Thread(target=hooks.source, args=(source, json.loads(told)), kwargs=more, daemon=True).start()
        threading.Thread(target=sensors.sensor, args=(sensor, self.port), daemon=True).start()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pods of sources have mounted."""
    folder = tmp_path_factory.mktemp("secrets")
    for name, value in (("tokens/alerts", TOKEN), ("tokens/deployments", OTHER), (f"github/{github.KEY}", WORD)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(value)
    return folder


@pytest.fixture(scope="module")
def webhook(kubectl: Kubectl, secrets: Path) -> str:
    """The webhook and its sensor; returns the webhook's URL."""
    sensor = events.sensor("alerts", "log-analysis", "alerts", "workflows")
    made = [custom("EventSource", "webhook", events.source("tokens")), custom("Sensor", "log-analysis", sensor)]
    kubectl.apply(text(custom("EventBus", "default", bus.event_bus("nats://bus", "bus")), *made))
    Wires(kubectl, secrets, hooks.TAKING).start(made[0], made[1])
    url = f"http://127.0.0.1:{events.PORT}"
    until("the webhook", lambda: posted(f"{url}/nothing", "") == HTTPStatus.NOT_FOUND, 20)
    return url


@pytest.fixture(scope="module")
def pushes(kubectl: Kubectl, secrets: Path) -> str:
    """GitHub's webhook and its sensor; returns the webhook's URL."""
    sensor = github.sensor(github.Watched(REPOSITORY, "main", "pipeline", "revision", {"who": "github"}), "workflows")
    made = [custom("EventSource", "github", github.source("github", REPOSITORY)), custom("Sensor", "github", sensor)]
    kubectl.apply(text(*made))
    # Both sources listen at the same port, each in a pod of its own; here they are on one computer.
    local = json.loads(json.dumps(made[0]))
    local["spec"]["github"][github.PUSH]["webhook"]["port"] = str(events.PORT + 1)
    Wires(kubectl, secrets, hooks.TAKING + 1).start(local, made[1])
    url = f"http://127.0.0.1:{events.PORT + 1}"
    until("the webhook of GitHub", lambda: posted(f"{url}/nothing", "") == HTTPStatus.NOT_FOUND, 20)
    return f"{url}{github.PATH}"


def pushed(url: str, signed: str | None, commit: str = COMMIT, branch: str = "main", delivery: str = "1") -> int:
    """Status of a delivery by GitHub; None signs it as GitHub would."""
    body, headers = push(WORD, REPOSITORY, commit, branch, signed=signed, delivery=delivery)
    return sent(urllib.request.Request(url, body, headers))  # noqa: S310  our own


def posted(url: str, token: str) -> int:
    """Status of an event."""
    headers = {"Authorization": f"Bearer {token}"}
    return sent(urllib.request.Request(url, b'{"alerts": []}', headers))  # noqa: S310  our own


def sent(request: urllib.request.Request) -> int:
    """Status of a request; 0 where nobody listens."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  our own
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
    """Accepted means that it waits for its turn."""
    before = {item["metadata"]["name"] for item in started(kubectl)}
    assert posted(f"{webhook}/alerts", TOKEN) == HTTPStatus.OK
    until("the workflow", lambda: len(started(kubectl)) > len(before), 20)
    [made] = [item for item in started(kubectl) if item["metadata"]["name"] not in before]
    assert json.loads(made["spec"]["arguments"]["parameters"][0]["value"]) == {"alerts": []}


def commits(kubectl: Kubectl) -> list[str]:
    """What the workflows that GitHub started are called."""
    return [item["metadata"]["name"] for item in started(kubectl) if item["metadata"]["name"].startswith("pipeline-")]


def test_a_push_that_github_did_not_sign_starts_nothing(kubectl: Kubectl, pushes: str) -> None:
    """Whoever knows the address could start what may release."""
    forged = signature("other", b"{}")
    assert [pushed(pushes, one) for one in ("", forged)] == [HTTPStatus.BAD_REQUEST] * 2
    # One that is signed comes after them, and is the only one.
    assert pushed(pushes, None, "a" * 40) == HTTPStatus.OK
    until("the workflow", lambda: commits(kubectl) == ["pipeline-aaaaaaaaaaaa"], 20)


def test_a_push_to_the_branch_starts_one_workflow_however_often_it_is_told(kubectl: Kubectl, pushes: str) -> None:
    """The workflow has the commit's name: the API answers the second time that it exists. Other branches start none."""
    before = commits(kubectl)
    assert pushed(pushes, None, branch="other") == HTTPStatus.OK
    assert pushed(pushes, None) == HTTPStatus.OK
    until("the workflow", lambda: len(commits(kubectl)) == len(before) + 1, 20)
    [made] = [item for item in started(kubectl) if item["metadata"]["name"] == "pipeline-3f2a9c1b77de"]
    assert made["spec"]["arguments"]["parameters"][0] == {"name": "revision", "value": COMMIT}
    failed = 'argo_events_action_failed_total{sensor_name="github",trigger_name="pipeline"}'
    assert failed not in metrics()
    assert [pushed(pushes, None, delivery=delivery) for delivery in ("1", "2")] == [HTTPStatus.OK] * 2
    until("the second telling", lambda: failed in metrics(), 20)
    assert len(commits(kubectl)) == len(before) + 1


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
