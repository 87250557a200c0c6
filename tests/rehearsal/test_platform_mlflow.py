"""MLflow as its users have it: through the ingress, with TLS, by the client of PyPI; and what strangers get."""

import hashlib
import json
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient

from apps.delivery.releases import AliasMove
from apps.delivery.repository import Login
from apps.delivery.steps.errors import Code, StepError
from apps.delivery.steps.mlflow import API, Registry
from apps.delivery.steps.settings import Mlflow
from tests.rehearsal.fault_proxy import UPSTREAM_SECONDS, Proxy, common
from tests.rehearsal.faulty import each_alone, in_company
from tests.rehearsal.services import Platform

SERVICE = "mlflow"
SIZE = 50 * 1024 * 1024
CLIENT_SECONDS = 3.0
FAULTS = common(stall=5.0, drip=1.0)
ROUTES = """
import json, os
os.environ["_MLFLOW_SGI_NAME"], os.environ["_MLFLOW_AUTH_ADMIN_BOOTSTRAPPED"] = "uvicorn", "true"
import mlflow.server
from mlflow.server.auth import create_app
app = create_app()
found = [(rule.rule, sorted(rule.methods)) for rule in mlflow.server.app.url_map.iter_rules()]
found += [(r.path, sorted(r.methods)) for r in app.routes if getattr(r, "methods", None)]
print("ROUTES " + json.dumps(found))
"""
"""In the server's pod: what the installed MLflow answers, with users switched on."""
UNASKED = {"/health", "/static-files/x"}
"""Of them MLflow itself asks nobody."""


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[MlflowClient]:
    """A client as a person configures it: by environment."""
    with platform.mlflow() as found:
        yield found


@pytest.fixture(scope="module")
def routes(platform: Platform) -> list[tuple[str, str]]:
    """Method and path of every route of the installed MLflow."""
    words = ("exec", "-n", "mlflow", "deploy/mlflow", "-c", "mlflow", "--", "python3", "-c", ROUTES)
    said = platform.kubectl.run(*words, timeout=300)
    [line] = [line for line in said.splitlines() if line.startswith("ROUTES ")]
    found = {
        (method, re.sub(r"<[^>]*>|{[^}]*}", "x", path))
        for path, methods in json.loads(line.removeprefix("ROUTES "))
        for method in methods
    }
    return sorted(found)


def test_a_run_with_its_artifact_and_a_model_with_its_alias_are_read_back(client: MlflowClient, tmp_path: Path) -> None:
    """Statement 1: what a training script does, from outside."""
    file = tmp_path / "weights.bin"
    file.write_bytes(os.urandom(SIZE))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    name = f"outside-{time.time_ns()}"
    experiment = client.create_experiment(name)
    run = client.create_run(experiment)
    client.log_param(run.info.run_id, "depth", 3)
    for step in range(3):
        client.log_metric(run.info.run_id, "loss", 1 / (step + 1), step=step)
    client.log_artifact(run.info.run_id, str(file), "model")
    client.set_terminated(run.info.run_id)
    client.create_registered_model(name)
    versions = [
        client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id).version for _ in range(2)
    ]
    for version in versions:
        client.set_registered_model_alias(name, "staging", version)
        assert client.get_model_version_by_alias(name, "staging").version == version
    read = client.get_run(run.info.run_id)
    assert (read.data.params, read.info.status) == ({"depth": "3"}, "FINISHED")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    back = client.download_artifacts(run.info.run_id, "model/weights.bin", str(tmp_path))
    assert hashlib.sha256(Path(back).read_bytes()).hexdigest() == digest


class Ingress(Proxy):
    """Faults before the platform's MLflow, as clients outside reach it."""

    def __init__(self, platform: Platform) -> None:
        """By its name, with TLS."""
        super().__init__({SERVICE: 443})
        self._host = urlsplit(platform.url(SERVICE)).netloc
        self._trusted = ssl.create_default_context(cafile=str(platform.authority))

    def connect(self, service: str) -> HTTPConnection:
        """A new connection to it."""
        assert service == SERVICE
        return HTTPSConnection(self._host, timeout=UPSTREAM_SECONDS, context=self._trusted)


def again(work: Callable[[], object]) -> None:
    """As the steps' shell does: once more where the step ended with 1."""
    for _ in range(4):
        try:
            work()
        except StepError as error:
            if error.code != Code.UNEXPECTED:
                raise
        else:
            return
    work()


@dataclass(frozen=True)
class Delivery:
    """The delivery's client of a registered model with two versions, through the proxy."""

    proxy: Proxy
    registry: Registry
    client: MlflowClient

    def work(self) -> None:
        """Look, move an alias and move it on, say why, and take it away."""
        name, alias = self.registry.model, "staging"
        again(lambda: self.registry.aliases(wanted=True))
        for version in ("1", "2"):
            again(partial(self.registry.move, AliasMove(alias, version)))
            again(partial(self.registry.tag, version, "leasehold.why", self.proxy.url))
        assert self.client.get_model_version_by_alias(name, alias).version == "2"
        again(partial(self.registry.move, AliasMove(alias, None)))
        assert self.client.get_registered_model(name).aliases == {}
        assert self.client.get_model_version(name, "2").tags == {"leasehold.why": self.proxy.url}


@pytest.fixture
def delivery(platform: Platform, client: MlflowClient, tmp_path: Path) -> Iterator[Delivery]:
    name = f"faults-{time.time_ns()}"
    run = client.create_run(client.create_experiment(name))
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
    user, password = platform.password(SERVICE)
    (tmp_path / "token").write_text(password)
    with Ingress(platform).serving() as proxy:
        known = Mlflow(f"{proxy.url}/{SERVICE}", name, Login(user, str(tmp_path / "token")), None)
        registry = Registry(known)
        registry._peer = replace(registry._peer, seconds=CLIENT_SECONDS)
        yield Delivery(proxy, registry, client)
    client.delete_registered_model(name)


def test_a_bad_minute_of_mlflow_heals_inside_one_step(delivery: Delivery) -> None:
    """What the delivery says of a model may be said twice: above all where the answer to it was lost."""
    alias = f"{SERVICE} {API}/registered-models/alias"
    wanted = {
        f"GET {SERVICE} {API}/registered-models/get": "503",
        f"POST {alias}": "reset after",
        f"POST {SERVICE} {API}/model-versions/set-tag": "500",
        f"DELETE {alias}": "reset after",
    }
    in_company(delivery.proxy, delivery.work, FAULTS, wanted)


@pytest.mark.long
def test_every_fault_at_every_distinct_call_of_the_delivery_to_mlflow(delivery: Delivery) -> None:
    """The real server, through the ingress, with its users switched on."""
    matrix = each_alone(delivery.proxy, delivery.work, FAULTS.values())
    assert matrix.share == 1, matrix.table()


def test_every_route_of_the_installed_mlflow_refuses_strangers(
    platform: Platform, routes: list[tuple[str, str]]
) -> None:
    """Statement 1, the other half; MLflow leaves some routes open on purpose, and the next version may have others."""
    assert len(routes) > 300
    assert {path for _, path in routes} >= UNASKED
    session, url = platform.session(), platform.url("mlflow")
    answers = {
        (method, path): session.request(method, f"{url}{path}", timeout=30, allow_redirects=False).status_code
        for method, path in [*routes, ("GET", "/metrics"), ("GET", "/nowhere")]
    }
    assert not {route: status for route, status in answers.items() if status not in (401, 403)}


@pytest.mark.parametrize("login", [("admin", "password"), ("admin", "password1234"), ("admin", ""), ("", "")])
def test_well_known_passwords_are_refused(platform: Platform, login: tuple[str, str]) -> None:
    """Older versions of MLflow came with one of them."""
    session = platform.session()
    session.auth = login
    asked = session.get(f"{platform.url('mlflow')}/api/2.0/mlflow/users/current", timeout=30)
    assert asked.status_code == 401


def test_other_host_names_are_refused_inside_the_cluster_too(platform: Platform) -> None:
    """A web page elsewhere could have a name of its own lead here."""
    script = (
        "import urllib.request as u, urllib.error as e\n"
        "r = u.Request('http://mlflow.mlflow.svc:5000/', headers={'Host': 'evil.example.org'})\n"
        "try: print(u.urlopen(r).status)\n"
        "except e.HTTPError as x: print(x.code)\n"
    )
    words = ("exec", "-n", "mlflow", "deploy/mlflow", "-c", "metrics", "--", "python3", "-c", script)
    assert platform.kubectl.run(*words) == "403"


def test_prometheus_gets_metrics_without_an_account(platform: Platform) -> None:
    """MLflow shows them to administrators only; they are counted by all of its processes."""
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9000/metrics').read().decode())"
    words = ("exec", "-n", "mlflow", "deploy/mlflow", "-c", "metrics", "--", "python3", "-c", script)
    assert "mlflow_http_request_total" in platform.kubectl.run(*words)
