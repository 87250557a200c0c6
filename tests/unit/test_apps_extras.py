"""The applications' parts that are off by default: nothing without their key, and no more than is needed with it."""

import http.client
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

import config
import versions
from apps import extras, inventory, ports
from apps.exploration import spec as exploration
from apps.exploration.scripts import tracking
from apps.exploration.scripts.tracking import Tracking
from apps.load_test import spec as load_test
from apps.ray import spec as ray
from apps.ray.scripts import door
from cluster.registries import Registries
from mlops.mlflow.values import READER
from tests import workloads
from tests.environments import changed, complete, dev
from tests.unit import graph, platforms

CORE, APPS = "kubernetes:core/v1:", "kubernetes:apps/v1:"
SPACES = {extras.LOAD_TEST, extras.EXPLORATION, extras.RAY}
DEPLOYMENT, STATEFUL, SECRET = f"{APPS}Deployment", f"{APPS}StatefulSet", f"{CORE}Secret"
ROUTE, MIDDLEWARE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute", "kubernetes:traefik.io/v1alpha1:Middleware"
ROOMS = {"Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccountPatch"}


def on() -> graph.Graph:
    return platforms.recorded("extras")


def spaced(found: graph.Graph) -> dict[str, list[str]]:
    """Namespace to the kinds and names in it, but for what every namespace has."""
    kept: dict[str, list[str]] = {}
    for resource in found.resources.values():
        kind = resource.type.rpartition(":")[2]
        metadata = graph.unwrapped(resource.inputs).get("metadata")
        if isinstance(metadata, dict) and kind not in ROOMS:
            kept.setdefault(str(metadata.get("namespace")), []).append(f"{kind} {metadata['name']}")
    return {space: sorted(names) for space, names in kept.items()}


def apps(**more: Any) -> config.Apps:
    return config.Apps.model_validate({**dev()["apps"], **more})


def problems(**changes: Any) -> list[str]:
    tree = changed(platforms.tree("extras"), changes)
    return [str(problem) for problem in config.validate(complete(tree), graph.RULES)[1]]


def test_without_their_keys_nothing_of_them_is_made() -> None:
    """Who does not ask for a part must not pay for it, nor guard it."""
    found = platforms.recorded("apps")
    assert not SPACES & {space.inputs["metadata"]["name"] for space in found.of(f"{CORE}Namespace").values()}
    assert not SPACES & set(found.outputs["endpoints"])
    assert set(graph.of_space(found, SECRET, "mlflow")["mlflow-accounts"]["stringData"]) == {"admin", "workflows"}
    assert ray.CLIENT not in graph.of_space(found, SECRET, "workflows")
    assert (extras.flows(apps()), extras.spaces(apps())) == ((), ())


def test_each_part_is_exactly_these_objects() -> None:
    """Whatever else appears in these namespaces was not thought of."""
    found = {space: names for space, names in spaced(on()).items() if space in SPACES}
    assert {space: [re.sub("program-.*", "program", name) for name in names] for space, names in found.items()} == {
        "load-test": [
            *("ConfigMap program", "Deployment load-test", "HTTPRoute load-test", "Middleware load-test"),
            *("Secret load-test-login", "Service load-test"),
        ],
        "exploration": [
            *("ConfigMap program", "Deployment exploration", "HTTPRoute exploration", "Middleware exploration"),
            *("Secret exploration-login", "Secret mlflow-client", "Secret registry-pull", "Service exploration"),
        ],
        "ray": [
            *("ConfigMap program", "HTTPRoute ray", "Middleware ray", "Middleware ray-known", "Middleware ray-lent"),
            *("PodDisruptionBudget ray-worker", "Secret mlflow-client", "Secret ray-login", "Secret ray-token"),
            *("Secret registry-pull", "Service ray-head", "StatefulSet ray-head", "StatefulSet ray-worker"),
        ],
    }


@pytest.mark.parametrize("space", sorted(SPACES))
def test_nobody_gets_to_a_page_without_passing_the_guard(space: str) -> None:
    """A load test sends what it is told, and Ray runs it: neither has accounts of its own."""
    [route] = graph.of_space(on(), ROUTE, space).values()
    [rule] = route["spec"]["rules"]
    names = [entry["extensionRef"]["name"] for entry in rule["filters"] if entry["type"] == "ExtensionRef"]
    filters = {name: item["spec"] for name, item in graph.of_space(on(), MIDDLEWARE, space).items()}
    first = filters[names[0]]
    if "chain" in first:
        first = filters[first["chain"]["middlewares"][0]["name"]]
    assert first["basicAuth"] == {"secret": f"{space}-login", "realm": "leasehold", "removeHeader": True}
    told = on().outputs["logins"][space]
    assert (told["user"], told["secret"], told["key"]) == ("admin", f"{space}/{space}-login", "password")
    assert on().outputs["endpoints"][space] == f"https://{space}.dev.mlops.example.org"


def test_the_flows_of_each_part_are_these() -> None:
    """A load test reaches one environment; the page reads MLflow; whatever runs in Ray logs there, and goes nowhere."""
    wanted = apps(**platforms.EXTRAS)
    flows = {(flow.source, flow.target, flow.ports) for flow in extras.flows(wanted)}
    assert flows == {
        ("ingress", "load-test", (ports.LOAD_TEST,)),
        ("load-test", "staging", (ports.SERVER,)),
        ("ingress", "exploration", (ports.EXPLORATION,)),
        ("exploration", "mlflow", (5000,)),
        ("ingress", "ray", (ports.RAY_DASHBOARD, ports.RAY_DOOR)),
        ("workflows", "ray", (ports.RAY_DASHBOARD, ports.RAY_CLIENT)),
        ("ray", "mlflow", (5000,)),
    }
    assert set(extras.flows(wanted)) <= set(inventory.flows(wanted))


def test_a_load_test_asks_the_environment_that_is_named() -> None:
    """By its Service, and by the table of flows: the two must agree."""
    wanted = apps(load_test={"bodies": [{}], "environment": "canary"})
    assert ("load-test", "canary") in {(flow.source, flow.target) for flow in extras.flows(wanted)}
    assert load_test.target(extras.asked(wanted)) == "http://application.canary.svc:80"
    [pod] = graph.of_space(on(), DEPLOYMENT, "load-test").values()
    command = pod["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--host") + 1] == "http://application.staging.svc:80"


def test_other_bodies_start_the_load_test_again() -> None:
    """Locust reads them once."""
    first, second = (load_test.files(config.LoadTest(bodies=({"a": n},)))["bodies.json"] for n in (1, 2))
    assert json.loads(first) == [{"a": 1}]
    assert first != second
    [name] = [name for name in graph.of_space(on(), f"{CORE}ConfigMap", "load-test") if name != "kube-root-ca.crt"]
    [pod] = graph.of_space(on(), DEPLOYMENT, "load-test").values()
    assert {"name": "program", "configMap": {"name": name}} in pod["spec"]["template"]["spec"]["volumes"]


def test_an_environment_that_is_not_there_is_not_asked() -> None:
    """Its name would lead nowhere, and each request would fail."""
    [problem] = problems(**{"apps.load_test.environment": "stagign"})
    assert "apps.load_test.environment" in problem
    assert "staging" in problem


def test_bodies_that_no_configmap_holds_are_refused_before_anything_is_made() -> None:
    """The API would refuse them half way."""
    [problem] = problems(**{"apps.load_test.bodies": [{"x": "a" * 1_000_000}]})
    assert "apps.load_test.bodies" in problem


@pytest.mark.parametrize("key", ["apps.exploration.image", "apps.ray.image"])
def test_an_image_that_the_file_names_needs_its_digest(key: str) -> None:
    """versions.py does not know it, so nobody else says what it is."""
    [problem] = problems(**{key: "ghcr.io/team/page:2"})
    assert key in problem
    assert "images.digests" in problem


def test_an_environment_is_no_namespace_of_a_part() -> None:
    """Two owners of one namespace."""
    tree: dict[str, Any] = {"staging": {}, "ray": {}, "production": {}}
    assert any("apps.environments.ray" in problem for problem in problems(**{"apps.environments": tree}))


def test_nodes_ask_the_mirror_for_images_that_the_file_names() -> None:
    """But not for those of the stack's own registry, which no mirror has."""
    tree = platforms.tree("extras")
    digests = {
        "quay.example.org/x/page:1": f"sha256:{'1' * 64}",
        "registry.dev.mlops.example.org/x:1": f"sha256:{'2' * 64}",
    }
    named = {
        "apps.exploration.image": "quay.example.org/x/page:1",
        "apps.ray.image": "registry.dev.mlops.example.org/x:1",
    }
    changes = {**named, "images": {"mirror": "https://mirror.example.org", "digests": digests}}
    found, _ = config.validate(complete(changed(tree, changes)), graph.RULES)
    assert found is not None
    mirrors = Registries.of(found).mirrors
    assert mirrors["quay.example.org"] == ("https://mirror.example.org",)
    assert mirrors["registry.dev.mlops.example.org"] == ("https://127.0.0.1:30500",)


# -- the page ----------------------------------------------------------------------------------------------------


def test_the_page_reads_as_a_user_who_changes_nothing_and_who_is_there_only_for_it() -> None:
    """The pipeline's user could move aliases, by which production is known."""
    login = graph.of_space(on(), SECRET, "exploration")["mlflow-client"]["stringData"]
    assert login["MLFLOW_TRACKING_USERNAME"] == READER
    accounts = graph.of_space(on(), SECRET, "mlflow")["mlflow-accounts"]["stringData"]
    assert accounts[READER] == login["MLFLOW_TRACKING_PASSWORD"]
    assert len(set(accounts.values())) == 3


def test_the_page_says_nothing_of_its_errors_and_tells_nobody_elsewhere() -> None:
    """What it shows on an error would have paths and values in it."""
    told = exploration.environment("Digits", "exploration.example.org")
    assert told["STREAMLIT_CLIENT_SHOW_ERROR_DETAILS"] == "none"
    assert told["STREAMLIT_BROWSER_GATHER_USAGE_STATS"] == "false"
    assert told["STREAMLIT_BROWSER_SERVER_ADDRESS"] == "exploration.example.org"


class _Mlflow(BaseHTTPRequestHandler):
    """Answers as MLflow 3 does, two versions on two pages."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if self.headers["Authorization"] != "Basic cmVhZGVyOnB3":
            self.send_error(401)
            return
        second = "page_token=next" in query
        answers = {
            "registered-models/get": {
                "registered_model": {"name": "M", "aliases": [{"alias": "production", "version": "1"}]}
            },
            "model-versions/search": {"model_versions": [version(2)]}
            if second
            else {"model_versions": [version(1)], "next_page_token": "next"},
            "registered-models/search": {"registered_models": [{"name": "M"}]},
        }
        body = json.dumps(answers[path.removeprefix("/api/2.0/mlflow/")]).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def version(number: int) -> dict[str, Any]:
    tags = [{"key": "leasehold.who", "value": "ada"}, {"key": "framework", "value": "x"}]
    return {"version": str(number), "creation_timestamp": "1764000000000", "run_id": f"r{number}", "tags": tags}


@pytest.fixture
def mlflow() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mlflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_versions_of_every_page_are_shown_with_aliases_and_the_deliverys_tags(mlflow: str) -> None:
    """What is in production, and who let it in."""
    known = Tracking(mlflow, "reader", "pw")
    assert tracking.models(known) == ["M"]
    assert tracking.versions(known, "M") == [
        {"version": 2, "aliases": "", "registered": "2025-11-24 16:00:00", "run": "r2", "who": "ada"},
        {"version": 1, "aliases": "production", "registered": "2025-11-24 16:00:00", "run": "r1", "who": "ada"},
    ]


def test_a_password_that_mlflow_does_not_know_shows_nothing(mlflow: str) -> None:
    """The page says so; it does not show what it had before."""
    with pytest.raises(HTTPError):
        tracking.models(Tracking(mlflow, "reader", "old"))


def test_a_run_that_measured_nothing_is_a_row_too() -> None:
    """A training that failed early is what people look for."""
    running = {"info": {"run_id": "a", "run_name": "one", "status": "FAILED", "start_time": 0}, "data": {}}
    done = {"info": {"run_id": "b"}, "data": {"metrics": [{"key": "accuracy", "value": 0.9}]}}
    first, second = tracking.run_rows([running, done])
    assert first == {"run": "one", "id": "a", "status": "FAILED", "began": "1970-01-01 00:00:00"}
    assert second["metric accuracy"] == 0.9


# -- Ray ---------------------------------------------------------------------------------------------------------


def nodes() -> dict[str, Any]:
    return {name: item["spec"] for name, item in graph.of_space(on(), STATEFUL, "ray").items()}


def test_every_node_of_ray_asks_for_the_token_and_has_it_from_a_file() -> None:
    """Without it, whoever reaches a port runs what he likes: Ray's own default."""
    for name, spec in nodes().items():
        [node] = [each for each in spec["template"]["spec"]["containers"] if each["name"] == name]
        told = {entry["name"]: entry["value"] for entry in node["env"]}
        assert told["RAY_AUTH_MODE"] == "token"
        assert told["RAY_AUTH_TOKEN_PATH"] == "/run/ray/token"
        assert "RAY_AUTH_TOKEN" not in told


def test_trainings_are_told_the_cluster_and_its_token_as_a_secret() -> None:
    """They are the only ones outside who may use it."""
    given = graph.of_space(on(), SECRET, "workflows")[ray.CLIENT]["stringData"]
    assert given["RAY_ADDRESS"] == "ray://ray-head.ray.svc:10001"
    assert given["RAY_AUTH_TOKEN"] == graph.of_space(on(), SECRET, "ray")[ray.TOKEN]["stringData"]["token"]
    train = graph.of_space(on(), "kubernetes:argoproj.io/v1alpha1:WorkflowTemplate", "workflows")["train-model"]
    text = json.dumps(train)
    assert '"secretRef": {"name": "ray-client"}' in text
    assert "ray-client" not in json.dumps(
        graph.of_space(platforms.recorded("apps"), "kubernetes:argoproj.io/v1alpha1:WorkflowTemplate", "workflows")[
            "train-model"
        ]
    )


def test_what_ray_may_use_fits_the_memory_at_which_its_pods_end() -> None:
    """Objects are in shared memory, which counts for the pod: else the kernel ends it where Ray would wait."""
    for name, gigabytes in (("ray-head", 3), ("ray-worker", 4)):
        pod = nodes()[name]["template"]["spec"]
        [node] = [each for each in pod["containers"] if each["name"] == name]
        words = dict(word.partition("=")[::2] for word in node["command"][-1].split() if "=" in word)
        assert int(words["--object-store-memory"]) + int(words["--memory"]) == gigabytes << 30
        [shared] = [volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == "shared"]
        assert workloads.quantity(shared["sizeLimit"]) > int(words["--object-store-memory"])
        assert node["resources"]["limits"]["memory"] == f"{gigabytes}Gi"


def test_workers_with_gpus_ask_for_one_each_and_for_its_runtime() -> None:
    """Tasks are told of what the pod has."""
    pod = nodes()["ray-worker"]["template"]["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "--num-gpus=1" in pod["containers"][0]["command"][-1]
    plain = ray.workers(ray.Cluster("x", config.Ray(), *("",) * 5))["template"]["spec"]
    assert "runtimeClassName" not in plain
    assert "--num-gpus=0" in plain["containers"][0]["command"][-1]


def test_the_ingress_is_told_the_token_after_the_guard_and_the_door_says_it_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser sends one `Authorization`: with both in it, one of the two would refuse everybody."""
    specs = {name: item["spec"] for name, item in graph.of_space(on(), MIDDLEWARE, "ray").items()}
    assert [entry["name"] for entry in specs["ray-known"]["chain"]["middlewares"]] == ["ray", "ray-lent"]
    asked = specs["ray-lent"]["forwardAuth"]
    assert (asked["address"], asked["authResponseHeaders"]) == ("http://ray-head.ray.svc:8266/token", ["Authorization"])
    monkeypatch.setattr(door, "TOKEN", tmp_path / "token")
    (tmp_path / "token").write_text("known\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), door.Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        answers = {path: get(server.server_address[1], path) for path in ("/token", "/healthz", "/", "/token/x")}
    finally:
        server.shutdown()
        server.server_close()
    assert answers == {
        "/token": (200, "Bearer known"),
        "/healthz": (200, None),
        "/": (404, None),
        "/token/x": (404, None),
    }


def get(port: int, path: str) -> tuple[int, str | None]:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    asked.request("GET", path)
    answer = asked.getresponse()
    answer.read()
    asked.close()
    return answer.status, answer.headers["Authorization"]


def test_the_pinned_ray_knows_tokens() -> None:
    """Releases before 2.52 take the variables and ignore them."""
    major, minor = versions.RAY.tag.split(".")[:2]
    assert (int(major), int(minor)) >= (2, 52)
