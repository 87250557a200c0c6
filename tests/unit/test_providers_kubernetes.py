"""The rules of the Kubernetes provider, against an API server in memory."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from rehearsal.protocol import UNKNOWN, Call, Props, ProviderError, Result, Unfinished, Untouched
from rehearsal.providers.kubernetes import objects, ready, resource
from rehearsal.providers.kubernetes.api import ApiError, Kind, NoKindError, UnreachableError, client, parse
from rehearsal.providers.kubernetes.helm import resource_names
from rehearsal.providers.kubernetes.release import Release
from rehearsal.providers.kubernetes.resource import Resource
from rehearsal.providers.kubernetes.settings import Settings

KINDS = {
    "Namespace": Kind("/api/v1/namespaces", False),
    "ConfigMap": Kind("/api/v1/configmaps", True),
    "Secret": Kind("/api/v1/secrets", True),
    "Pod": Kind("/api/v1/pods", True),
    "Event": Kind("/api/v1/events", True),
    "Job": Kind("/apis/batch/v1/jobs", True),
}


def kubeconfig(server: str = "https://10.0.0.1:6443", **user: str) -> str:
    return json.dumps(
        {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "c", "user": user or {"token": "t"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }
    )


class Server:
    """Objects by path; what a controller would do is done by `react`."""

    def __init__(self) -> None:
        self.access = parse(kubeconfig())
        self.objects: dict[str, Props] = {}
        self.calls: list[tuple[str, str, Any]] = []
        self.down = False
        self.react: dict[str, Any] = {}

    def kind(self, _api_version: str, kind: str) -> Kind:
        if self.down:
            raise UnreachableError("the API server does not answer")
        if kind not in KINDS:
            raise NoKindError(404, "NoMatch", f"there is no kind {kind}")
        return KINDS[kind]

    def call(self, method: str, path: str, body: Any = None, _content: str = "", query: Any = None) -> Props:
        if self.down:
            raise UnreachableError("the API server does not answer")
        self.calls.append((method, path, query))
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                raise ApiError(409, "AlreadyExists", f"{path} already exists")
            entry = {"manager": query["fieldManager"], "operation": "Update", "fieldsV1": {"f:data": {}}}
            self.objects[path] = {
                **body,
                "metadata": {**body["metadata"], "uid": "u1", "managedFields": [entry]},
            }
            self.objects[path]["metadata"]["resourceVersion"] = "1"
            self.objects[path] |= self.react
        if path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        if method == "PATCH" and isinstance(body, list):
            self.objects[path]["metadata"]["managedFields"] = body[0]["value"]
        elif method == "PATCH":
            self.objects[path] = {
                **self.objects[path],
                **body,
                "metadata": {**self.objects[path]["metadata"], **body["metadata"]},
            }
        return self.objects.pop(path) if method == "DELETE" else self.objects[path]

    def list(self, _api_version: str, kind: str, _namespace: str, _query: Any = None) -> list[Props]:
        return [item for item in self.objects.values() if item["kind"] == kind]

    def text(self, *_args: Any, **_more: Any) -> str:
        return "out of memory\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    for module in ("resource", "release"):
        monkeypatch.setattr(f"rehearsal.providers.kubernetes.{module}.client", lambda _provider: made)
    monkeypatch.setattr(resource, "reach", lambda _call: None if made.down else made)
    monkeypatch.setattr(resource, "RETRIES", (0.01,))
    return made


def call(type_: str, name: str = "x", timeout: float = 5.0, before: Props | None = None, **provider: Any) -> Call:
    given = {"kubeconfig": kubeconfig(), **provider}
    return Call(f"urn:pulumi:dev::p::a:b:C$kubernetes:{type_}::{name}", given, timeout, before=before or {})


CONFIG = "core/v1:ConfigMap"


def made(type_: str, inputs: Props, server: Server) -> Result:
    """A result as the engine would record it."""
    assert server is not None
    news = Resource().check(call(type_), inputs)
    found = Resource().create(call(type_), news)
    return Result(found.id, found.outputs, news)


def test_an_object_without_a_name_gets_one_and_keeps_it(server: Server) -> None:
    """A replacement is checked without the old inputs, and gets another name, so that both can exist."""
    first = Resource().check(call(CONFIG), {"data": {"a": "1"}})
    assert first["metadata"]["name"].startswith("x-")
    assert len(first["metadata"]["name"]) == len("x-") + 8
    assert first["metadata"]["namespace"] == "default"
    again = Resource().check(call(CONFIG, before=first), {"data": {"a": "2"}})
    assert again["metadata"]["name"] == first["metadata"]["name"]
    other = Resource().check(call(CONFIG), {"data": {"a": "2"}})
    assert other["metadata"]["name"] != first["metadata"]["name"]
    assert "namespace" not in Resource().check(call("core/v1:Namespace"), {"metadata": {"name": "n"}})["metadata"]
    assert not server.calls


def test_create_takes_over_nothing(server: Server) -> None:
    """Upstream stopped to adopt what exists; and a refused create has left nothing to remove."""
    server.objects["/api/v1/namespaces/default/configmaps/taken"] = {"kind": "ConfigMap"}
    news = Resource().check(call(CONFIG), {"metadata": {"name": "taken"}})
    with pytest.raises(Untouched, match="taken exists already"):
        Resource().create(call(CONFIG), news)


def test_what_the_cluster_adds_is_no_difference_and_a_fixed_name_is_deleted_first(server: Server) -> None:
    """A ConfigMap's data cannot change in place, by the published list."""
    olds = made(CONFIG, {"metadata": {"name": "c"}, "data": {"a": "1"}}, server)
    olds.outputs["metadata"]["labels"] = {"added": "by somebody"}
    same = Resource().check(call(CONFIG, before=olds.inputs or {}), {"metadata": {"name": "c"}, "data": {"a": "1"}})
    assert not Resource().diff(call(CONFIG), olds, same).changed
    changed = Resource().diff(call(CONFIG), olds, {**same, "data": {"a": "2"}})
    assert (changed.changed, changed.replaces, changed.delete_before_replace) == (("data.a",), ("data.a",), True)
    mutable = Resource().diff(call(CONFIG, enableConfigMapMutable="true"), olds, {**same, "data": {"a": "2"}})
    assert (mutable.changed, mutable.replaces) == (("data.a",), ())
    unknown = Resource().diff(call(CONFIG), olds, {**same, "data": UNKNOWN})
    assert unknown.replaces == ("data",)


def test_the_recorded_state_of_a_secret_compares_with_text(server: Server) -> None:
    """`stringData` is what people give; `data` is what the API server has."""
    given = {"metadata": {"name": "s"}, "stringData": {"k": "v"}}
    olds = made("core/v1:Secret", given, server)
    assert base64.b64decode(olds.outputs["data"]["k"]) == b"v"
    news = Resource().check(call("core/v1:Secret"), given)
    assert not Resource().diff(call("core/v1:Secret"), olds, news).changed
    server.objects["/api/v1/namespaces/default/secrets/s"]["data"]["k"] = base64.b64encode(b"w").decode()
    found = Resource().read(call("core/v1:Secret"), olds)
    assert found is not None
    assert found.inputs is not None
    assert found.inputs["stringData"] == {"k": "w"}
    assert "data" not in found.inputs


def test_update_applies_and_first_takes_over_its_own_fields(server: Server) -> None:
    """Without that, a field that the program drops would stay for ever."""
    server.react = {"status": {"phase": "Active"}}
    olds = made("core/v1:Namespace", {"metadata": {"name": "n", "labels": {"a": "1"}}}, server)
    news = Resource().check(call("core/v1:Namespace"), {"metadata": {"name": "n", "labels": {"a": "2"}}})
    assert Resource().diff(call("core/v1:Namespace"), olds, news).replaces == ()
    Resource().update(call("core/v1:Namespace"), olds, news)
    method, _, query = next(made for made in server.calls if made[2] and "force" in made[2])
    assert (method, query["force"]) == ("PATCH", "false")
    entries = server.objects["/api/v1/namespaces/n"]["metadata"]["managedFields"]
    assert [entry["operation"] for entry in entries] == ["Apply"]


def test_a_failed_job_stays_in_the_state_names_its_pod_and_is_replaced_on_request(server: Server) -> None:
    """Upstream waits for it in vain at every run, unless the program says replaceUnready."""
    bad = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]}
    server.react = {"status": bad, "spec": {"selector": {"matchLabels": {"j": "1"}}}}
    container = {"name": "c", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "j-1", "namespace": "default", "uid": "p"},
        "spec": {"containers": [{"name": "c"}]},
    }
    server.objects["pod"] = {**pod, "status": {"containerStatuses": [container]}}
    news = Resource().check(call("batch/v1:Job"), {"metadata": {"name": "j"}, "spec": {"template": {}}})
    with pytest.raises(Unfinished, match=r"BackoffLimitExceeded.*Pod j-1.*exit status 3.*out of memory") as caught:
        Resource().create(call("batch/v1:Job"), news)
    olds = Result(caught.value.result.id, caught.value.result.outputs, news)
    olds.outputs["spec"] = news["spec"]
    assert not Resource().diff(call("batch/v1:Job"), olds, news).changed
    marked = {**news, "metadata": {**news["metadata"], "annotations": {objects.REPLACE_UNREADY: "true"}}}
    assert any("replaceUnready" in path for path in Resource().diff(call("batch/v1:Job"), olds, marked).replaces)


def test_waiting_is_bounded_and_says_what_is_missing(server: Server) -> None:
    """A wait without an end would hang the run; skipAwait takes the wait away."""
    inputs = {"metadata": {"name": "t"}, "type": "kubernetes.io/service-account-token"}
    news = Resource().check(call("core/v1:Secret"), inputs)
    with pytest.raises(Unfinished, match=r"more than 0.1 s.*no controller has filled in the token"):
        Resource().create(call("core/v1:Secret", timeout=0.1), news)
    news["metadata"] = {**news["metadata"], "name": "u", "annotations": {objects.SKIP_AWAIT: "true"}}
    assert Resource().create(call("core/v1:Secret"), news).id == "default/u"
    assert server.calls


def test_an_interrupted_create_is_found_by_its_field_manager_only(server: Server) -> None:
    """Another stack's object of that name is not this one's to remove."""
    news = Resource().check(call(CONFIG), {"metadata": {"name": "c"}})
    assert Resource().find(call(CONFIG), news) is None
    Resource().create(call(CONFIG), news)
    assert Resource().find(call(CONFIG), news) == "default/c"
    assert Resource().find(call(CONFIG, name="other"), news) is None
    server.down = True
    assert Resource().find(call(CONFIG), news) is None
    assert server.objects


def test_an_unreachable_cluster_is_what_the_provider_was_told(server: Server) -> None:
    """Upstream: an error, or gone (deleteUnreachable), or as recorded (skipUpdateUnreachable)."""
    olds = made(CONFIG, {"metadata": {"name": "c"}}, server)
    server.down = True
    with pytest.raises(ProviderError, match="does not answer"):
        Resource().read(call(CONFIG), olds)
    assert Resource().read(call(CONFIG, deleteUnreachable="true"), olds) is None
    assert Resource().read(call(CONFIG, skipUpdateUnreachable="true"), olds) == olds
    Resource().delete(call(CONFIG, deleteUnreachable="true"), olds)
    with pytest.raises(ProviderError, match="deleted_with"):
        Resource().delete(call(CONFIG), olds)
    server.down = False
    Resource().delete(call(CONFIG), olds)
    Resource().delete(call(CONFIG), olds)
    assert not server.objects


def test_a_patch_sets_its_fields_only_and_lets_go_of_them_at_the_end(server: Server) -> None:
    """What it patches belongs to somebody else: it is neither made nor deleted by the patch."""
    path, where = "/api/v1/namespaces/n/configmaps/theirs", call("core/v1:ConfigMapPatch")
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs", "namespace": "n"}}
    server.objects[path] = {**theirs, "data": {"theirs": "1"}}
    marks = {"annotations": {objects.PATCH_FORCE: "true"}}
    given = {"metadata": {"name": "theirs", "namespace": "n", **marks}, "data": {"mine": "2"}}
    news = Resource().check(where, given)
    assert (news["kind"], news["metadata"]["name"]) == ("ConfigMap", "theirs")
    result = Resource().create(where, news)
    method, _, query = server.calls[-1]
    assert (method, query["force"], result.id) == ("PATCH", "true", "n/theirs")
    olds = Result(result.id, result.outputs, news)
    assert not Resource().diff(where, olds, news).changed
    assert Resource().find(where, news) is None
    Resource().delete(where, olds)
    assert server.calls[-1] == ("PATCH", path, {"fieldManager": query["fieldManager"], "force": "false"})
    assert path in server.objects
    del server.objects[path]
    Resource().delete(where, olds)
    assert path not in server.objects


def test_a_pod_that_was_refused_is_explained_by_its_owner() -> None:
    """A quota refuses the ReplicaSet's Pods: nothing else that is waited for says why there are none."""
    said = "pods is forbidden: exceeded quota: leasehold"
    status = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": said}]}
    item = {"kind": "Deployment", "metadata": {"name": "d", "namespace": "n", "uid": "u"}, "spec": {}, "status": status}
    assert said in ready.explain(Server(), item)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "inputs", "word"),
    [
        ("core/v1:ConfigMapPatch", {"data": {"a": "1"}}, "metadata.name"),
        ("core/v1:ConfigMapList", {}, "not supported"),
        ("helm.sh/v4:Chart", {}, "not supported"),
        ("yaml/v2:ConfigGroup", {}, "not supported"),
        (CONFIG, {"metadata": {"annotations": {"pulumi.com/new": "1"}}}, "pulumi.com/new"),
        (CONFIG, {"metadata": {"generateName": "a-"}}, "generateName"),
        (CONFIG, {"metadata": {"annotations": {objects.WAIT_FOR: "jsonpath={.a[0]}"}}}, "waitFor"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(type_: str, inputs: Props, word: str, server: Server) -> None:
    """A rehearsal that ignores something lies about the real run."""
    with pytest.raises(ProviderError, match=word):
        Resource().check(call(type_), inputs)
    assert not server.calls


def test_wait_for_expressions() -> None:
    """The two published forms, alone or as a list."""
    item = {"status": {"phase": "Up", "n": 2, "conditions": [{"type": "Ready", "status": "True"}]}}
    both = objects.conditions('["condition=Ready", "jsonpath={.status.phase}=Up"]')
    assert all(ready.holds(item, entry) for entry in both)
    assert ready.holds(item, "jsonpath={.status.n}=2")
    assert not ready.holds(item, "condition=Ready=False")
    assert not ready.holds(item, "jsonpath={.status.none}")


@pytest.mark.parametrize(
    ("kind", "item", "missing"),
    [
        (
            ("apps", "Deployment"),
            {"spec": {"replicas": 2}, "status": {"observedGeneration": 1, "replicas": 2}},
            "updated",
        ),
        (("apps", "DaemonSet"), {"spec": {}, "status": {}}, "not looked at"),
        (("apps", "DaemonSet"), {"spec": {}, "status": {"observedGeneration": 1}}, None),
        (("", "Service"), {"spec": {"type": "ExternalName"}}, None),
        (("", "Service"), {"spec": {"type": "LoadBalancer"}}, "load balancer"),
        (("", "Namespace"), {"status": {"phase": "Terminating"}}, "Terminating"),
        (("", "Pod"), {"status": {"phase": "Succeeded"}}, None),
    ],
)
def test_when_kinds_are_usable(kind: tuple[str, str], item: Props, missing: str | None) -> None:
    """As the published provider waits."""
    found = ready.PROBES[kind](Server(), {"metadata": {"name": "x", "generation": 1}, **item})  # type: ignore[arg-type]
    assert found is None if missing is None else missing in (found or "")


def test_another_identifier_is_another_cluster_and_otherwise_the_address_decides() -> None:
    """Every object under the provider is replaced with it, so this must be as published."""
    base = {"kubeconfig": kubeconfig(), "clusterIdentifier": "1"}
    moved = {**base, "kubeconfig": kubeconfig("https://10.0.0.2:6443")}
    where = call("providers")
    settings = Settings()
    assert settings.check(where, base) == base
    assert settings.diff(where, Result("", {}, base), {**base, "clusterIdentifier": "2"}).replaces == (
        "clusterIdentifier",
    )
    stays = settings.diff(where, Result("", {}, base), {**moved, "kubeconfig": UNKNOWN})
    assert (stays.changed, stays.replaces) == (("kubeconfig",), ())
    del base["clusterIdentifier"], moved["clusterIdentifier"]
    assert settings.diff(where, Result("", {}, base), moved).replaces == ("kubeconfig",)
    assert not settings.diff(where, Result("", {}, base), {"kubeconfig": kubeconfig(token="other")}).replaces
    assert settings.diff(where, Result("", {}, base), {"kubeconfig": UNKNOWN}).replaces == ("kubeconfig",)


def test_kubeconfigs_that_cannot_be_used_are_refused_without_being_shown() -> None:
    """The text holds keys; and the user's own kubeconfig must never be touched."""
    for text, word in [("{", "not usable"), ("{}", "current-context"), (kubeconfig(exec="canary"), "uses exec")]:
        with pytest.raises(ProviderError, match=word) as caught:
            parse(text)
        assert "canary" not in str(caught.value)
    with pytest.raises(ProviderError, match="explicit provider"):
        client({})
    with pytest.raises(UnreachableError):
        client({"kubeconfig": UNKNOWN})
    assert "secret-token" not in repr(parse(kubeconfig(token="secret-token")))


HELM = """#!/bin/sh
# A helm that keeps its arguments and what it reads; one release at a time.
cd "$(dirname "$0")"
printf '%s\\n' "$*" >> log
case "$1 $2" in
template*) cat > values; printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: c}\\n' ;;
install*|upgrade*) cat > values; [ -e broken ] && { echo "Error: $(cat broken)" >&2; exit 1; }; touch there ;;
"get metadata") [ -e there ] || { echo "Error: release: not found" >&2; exit 1; }
  printf '{"name":"r","version":"1","status":"%s"}' "$(cat status 2>/dev/null || echo deployed)" ;;
"get values") cat values ;;
"get manifest") printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: c}\\n' ;;
uninstall*) rm -f there ;;
esac
"""
RELEASE = "helm.sh/v3:Release"


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    program = tmp_path / "helm"
    program.write_text(HELM)
    program.chmod(0o755)
    return program


def release_of(helm: Path) -> tuple[Release, Props]:
    provider = Release(lambda: helm)
    inputs = {
        "chart": "c",
        "version": "1",
        "name": "r",
        "namespace": "n",
        "values": {"password": "canary", "none": None},
    }
    return provider, provider.check(call(RELEASE), inputs)


def test_a_release_is_installed_once_and_its_values_are_in_no_argument(helm: Path, server: Server) -> None:
    """Values hold passwords: they go over stdin."""
    provider, news = release_of(helm)
    assert (news["timeout"], news["resourceNames"]) == (300, {"ConfigMap/v1": ["c"]})
    result = provider.create(call(RELEASE), news)
    assert (result.id, result.outputs["status"]["status"]) == ("n/r", "deployed")
    assert json.loads((helm.parent / "values").read_text()) == {"password": "canary"}
    log = (helm.parent / "log").read_text()
    assert "canary" not in log
    assert "--wait" in log
    olds = Result(result.id, result.outputs, news)
    assert not provider.diff(call(RELEASE), olds, release_of(helm)[1]).changed
    assert provider.diff(call(RELEASE), olds, {**news, "name": "s"}).replaces == ("name",)
    assert provider.read(call(RELEASE), olds) is not None
    provider.delete(call(RELEASE), olds)
    assert provider.read(call(RELEASE), olds) is None
    assert server.down is False


def test_a_helm_that_is_slow_to_read_gets_all_of_its_values(helm: Path, server: Server) -> None:
    """Under load it begins after the first look for an interrupt; a pipe would then be left half full (gh-141473)."""
    helm.write_text(HELM.replace("cat > values", "sleep 0.5; cat > values"))
    provider, news = release_of(helm)
    values = {"text": "x" * 200_000}
    provider.create(call(RELEASE), {**news, "values": values})
    assert json.loads((helm.parent / "values").read_text()) == values
    assert server.down is False


def test_a_release_whose_operation_was_cut_off_stops_with_the_remedy(helm: Path, server: Server) -> None:
    """Helm does not know its state, so neither it nor upstream touches it."""
    provider, news = release_of(helm)
    result = provider.create(call(RELEASE), news)
    (helm.parent / "status").write_text("pending-upgrade")
    with pytest.raises(ProviderError, match=r"pending-upgrade.*helm uninstall r -n n"):
        provider.update(call(RELEASE), Result(result.id, result.outputs, news), news)
    assert server.down is False


def test_a_failed_install_leaves_what_is_there_in_the_state_and_a_foreign_release_alone(
    helm: Path, server: Server
) -> None:
    """Upstream keeps a failed release; one of another owner is not ours to remove."""
    provider, news = release_of(helm)
    (helm.parent / "broken").write_text("context deadline exceeded")
    with pytest.raises(Untouched, match="deadline"):
        provider.create(call(RELEASE), news)
    (helm.parent / "there").touch()
    with pytest.raises(Unfinished, match="deadline"):
        provider.create(call(RELEASE), news)
    (helm.parent / "broken").write_text("cannot re-use a name that is still in use")
    with pytest.raises(Untouched, match="another release r"):
        provider.create(call(RELEASE), news)
    assert server.down is False


def test_only_a_release_that_is_whole_is_taken_up_after_an_interruption(helm: Path, server: Server) -> None:
    """Upstream refuses the name of a half-installed one, so the program must heal it; and values of a revision that
    was cut off are not those that are installed.
    """
    provider, news = release_of(helm)
    result = provider.create(call(RELEASE), news)
    assert provider.find(call(RELEASE), news) == "n/r"
    (helm.parent / "status").write_text("pending-install")
    (helm.parent / "values").write_text('{"password": "next"}')
    assert provider.find(call(RELEASE), news) is None
    found = provider.read(call(RELEASE), Result(result.id, result.outputs, news))
    assert found is not None
    assert found.inputs is not None
    assert found.inputs["values"] == news["values"]
    assert server.down is False


def test_names_of_a_release_are_grouped_as_upstream() -> None:
    """`status` and these are what programs read."""
    manifest = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a, namespace: n}\n---\n---\nkind: null\n"
    assert resource_names(manifest) == {"DaemonSet.apps/apps/v1": ["n/a"]}
