"""The registry as builds, people and nodes have it: who may push and pull, and what a collection leaves."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest

import versions
from rehearsal.images import oci
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.images import Image, Registry, digest
from tests.rehearsal.services import Platform

SPACE = "image-tests"
ACCEPTED = {"Accept": oci.MANIFEST}
SECRET, ACCOUNT = "registry/registry-push-login", "registry/registry-pull-login"
PUSH = """
import base64, hashlib, json, ssl, sys, urllib.request as u
login = base64.b64encode(f"push:{open('/login/password').read()}".encode()).decode()
trusted = ssl.create_default_context(cafile="/ca/ca.crt")
base = "https://registry.registry.svc"
def ask(method, url, data=None, kind="application/octet-stream"):
    headers = {"Authorization": f"Basic {login}", "Content-Type": kind}
    return u.urlopen(u.Request(base + url, data, headers, method=method), context=trusted, timeout=30)
def blob(content):
    name = "sha256:" + hashlib.sha256(content).hexdigest()
    where = ask("POST", "/v2/tests/inside/blobs/uploads/").headers["Location"]
    ask("PUT", where + ("&" if "?" in where else "?") + "digest=" + name, content)
    return {"digest": name, "size": len(content)}
config = {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(b"{}")}
layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", **blob(b"\\0" * 1024)}
kind = "application/vnd.oci.image.manifest.v1+json"
manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}).encode()
print(ask("PUT", "/v2/tests/inside/manifests/1", manifest, kind).headers["Docker-Content-Digest"])
"""
"""A build in the cluster, with the standard library."""


@dataclass(frozen=True)
class Space:
    """A namespace of a team, with what it was given."""

    platform: Platform
    image: Image
    name: str

    @property
    def kubectl(self) -> Kubectl:
        return self.platform.kubectl

    def pod(self, name: str, node: str, *, login: bool) -> None:
        """A pod of the image on a node."""
        spec = {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "imagePullSecrets": [{"name": "pull"}] if login else [],
            "containers": [{"name": "app", "image": self.name}],
        }
        metadata = {"name": name, "namespace": SPACE}
        self.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))

    def _state(self, name: str) -> dict[str, dict[str, str]]:
        status = self.kubectl.get("pod", name, "-n", SPACE)["status"]["containerStatuses"][0]
        found: dict[str, dict[str, str]] = status["state"]
        return found

    def refused(self, name: str) -> bool:
        """Whether a pod's image could not be pulled."""
        return self._state(name).get("waiting", {}).get("reason") in {"ErrImagePull", "ImagePullBackOff"}

    def running(self, name: str) -> bool:
        """Whether a pod runs."""
        return "running" in self._state(name)


def registry(platform: Platform, secret: str | None) -> Registry:
    """The registry from outside, as one of its accounts or as a stranger."""
    session = platform.session()
    if secret:
        session.auth = (platform.secret(secret, "username"), platform.secret(secret, "password"))
    return Registry(session, platform.url("registry"))


@pytest.fixture(scope="module")
def space(platform: Platform) -> Iterator[Space]:
    """A namespace with both logins, and an image that was pushed from outside."""
    image = Image.of(f"outside {time.time_ns()}")
    assert registry(platform, SECRET).push("tests/outside", "1", image) == [202, 201, 202, 201, 201]
    host = platform.outputs["registry"]
    logins = {"auths": {host: {"username": "pull", "password": platform.secret(ACCOUNT, "password")}}}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": "pull", "namespace": SPACE},
            "stringData": {".dockerconfigjson": json.dumps(logins)},
        },
    ]
    platform.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    yield Space(platform, image, f"{host}/tests/outside@{image.digest}")
    platform.kubectl.run("delete", "namespace", SPACE, "--wait=false")


def test_an_image_that_was_pushed_from_outside_is_pulled_from_outside(platform: Platform, space: Space) -> None:
    """Statement 2; the account that pulls is another one."""
    assert registry(platform, ACCOUNT).pull("tests/outside", "1") == space.image
    assert registry(platform, SECRET).pull("tests/outside", space.image.digest) == space.image


def test_strangers_and_the_pulling_account_change_nothing(platform: Platform, space: Space) -> None:
    """An account in every pod's reach must not be able to replace what the pods run."""
    other = Image.of("intruder")
    pull, stranger = registry(platform, ACCOUNT), registry(platform, None)
    assert set(pull.push("tests/outside", "1", other)) == {401}
    assert set(stranger.push("tests/outside", "1", other)) == {401}
    assert pull.ask("DELETE", f"/v2/tests/outside/manifests/{space.image.digest}").status_code == 401
    paths = ("/v2/", "/v2/_catalog", "/v2/tests/outside/tags/list", "/v2/tests/outside/manifests/1")
    assert {stranger.ask("GET", path).status_code for path in paths} == {401}
    assert stranger.ask("GET", "/").status_code == 404
    assert registry(platform, ACCOUNT).pull("tests/outside", "1") == space.image


def test_every_node_pulls_it_for_a_pod_with_the_login_and_for_no_other(space: Space) -> None:
    """The nodes' runtime asks at a port of its own node, and trusts the stack's authority there."""
    nodes = sorted(space.kubectl.ready())
    for node in nodes:
        space.pod(f"refused-{node}", node, login=False)
    for node in nodes:
        until(f"a refusal on {node}", partial(space.refused, f"refused-{node}"), 60)
    for node in nodes:
        space.pod(f"pulled-{node}", node, login=True)
    for node in nodes:
        until(f"the image on {node}", partial(space.running, f"pulled-{node}"), 60)


def test_a_build_in_the_cluster_pushes(platform: Platform) -> None:
    """By a name inside the cluster, with the same certificate, from where pipelines run."""
    named = {"name": "image-test-build", "namespace": "workflows"}
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "build",
                "image": image(platform),
                "command": ["python3", "-c", PUSH],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "login", "mountPath": "/login"}, {"name": "ca", "mountPath": "/ca"}],
            }
        ],
        "volumes": [
            {"name": "login", "secret": {"secretName": named["name"]}},
            {"name": "ca", "configMap": {"name": named["name"]}},
        ],
    }
    password, authority = platform.secret(SECRET, "password"), platform.outputs["ca_certificate"]
    objects = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": {"password": password}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": {"ca.crt": authority}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": spec},
    ]
    kubectl, where = platform.kubectl, ("-n", named["namespace"])

    def ended() -> str:
        phase: str = kubectl.get("pod", named["name"], *where)["status"]["phase"]
        return phase if phase in ("Succeeded", "Failed") else ""

    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        phase = until("the build", ended, 90)
        said = kubectl.run("logs", named["name"], *where)
    finally:
        kubectl.run("delete", "pod,secret,configmap", named["name"], *where, "--wait=false", check=False)
    assert phase == "Succeeded", said
    manifest = registry(platform, ACCOUNT).ask("GET", f"/v2/tests/inside/manifests/{said}", headers=ACCEPTED)
    assert digest(manifest.content) == said


def image(platform: Platform) -> str:
    """Python's image, as the platform's own Jobs have it."""
    job = platform.kubectl.get("cronjob", "registry-restart", "-n", "registry")
    found: str = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert found.startswith(versions.PYTHON.name)
    return found


@pytest.mark.long
def test_an_image_whose_bytes_were_changed_in_the_store_is_not_run(platform: Platform, space: Space) -> None:
    """Hostile input: the registry hands out what it has; the node looks at the digest, and an alert says it."""
    made = Image.of(f"changed {time.time_ns()}")
    registry(platform, SECRET).push("tests/outside", "changed", made)
    algorithm, _, hashed = digest(made.layer).partition(":")
    key = f"docker/registry/v2/blobs/{algorithm}/{hashed[:2]}/{hashed}/data"
    names = ("REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY")
    keys = (platform.secret("registry/registry-server", name) for name in names)
    with platform.bucket("registry", *keys) as bucket:
        assert bucket.get(key) == made.layer
        bucket.put(key, bytes([made.layer[0] ^ 1]) + made.layer[1:])
    node = sorted(space.kubectl.ready())[0]
    other = replace(space, name=f"{space.name.partition('@')[0]}@{made.digest}")
    other.pod("changed", node, login=True)
    until("a refusal", partial(other.refused, "changed"), 60)
    platform.alerted("PodNotStarting", seconds=240, namespace=SPACE, pod="changed")
    assert not other.running("changed")
    space.kubectl.run("delete", "pod", "changed", "-n", SPACE, "--wait=false")


@pytest.mark.long
def test_a_collection_frees_what_was_deleted_and_nothing_else(platform: Platform, space: Space) -> None:
    """Also what has no tag stays: what runs is named by digest."""
    push, pull = registry(platform, SECRET), registry(platform, ACCOUNT)
    kept, gone = Image.of(f"kept {time.time_ns()}"), Image.of(f"gone {time.time_ns()}")
    for made in (kept, gone):
        push.push("tests/collected", "latest", made)
    assert push.ask("DELETE", f"/v2/tests/collected/manifests/{gone.digest}").status_code == 202
    job = f"collection-{time.time_ns()}"
    space.kubectl.run("create", "job", job, "-n", "registry", "--from=cronjob/registry-restart")
    space.kubectl.run("wait", "--for=condition=Complete", f"job/{job}", "-n", "registry", "--timeout=180s", timeout=200)
    space.kubectl.run("delete", "job", job, "-n", "registry", "--wait=false")
    assert pull.pull("tests/collected", kept.digest) == kept
    assert pull.pull("tests/outside", "1") == space.image
    blob = pull.ask("HEAD", f"/v2/tests/collected/blobs/{digest(gone.layer)}")
    assert blob.status_code == 404
    assert push.push("tests/collected", "again", gone)[-1] == 201
