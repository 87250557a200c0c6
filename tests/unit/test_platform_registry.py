"""The registry: who may push, what reaches which pods, and how space is freed without losing what is pushed."""

import base64
import json
from typing import Any

import pytest
import yaml

from mlops import registry
from mlops.registry import spec
from mlops.registry.spec import PULL, PUSH
from tests.unit import graph, platforms

SET, SERVICE, SECRET = "kubernetes:apps/v1:StatefulSet", "kubernetes:core/v1:Service", "kubernetes:core/v1:Secret"
ROUTE, CLAIM = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute", "kubernetes:core/v1:PersistentVolumeClaim"
CERTIFICATE, POLICY = (
    "kubernetes:cert-manager.io/v1:Certificate",
    "kubernetes:gateway.networking.k8s.io/v1:BackendTLSPolicy",
)


def without_store() -> graph.Graph:
    """An environment with the registry alone."""
    tree = platforms.tree("shipped")
    off = {"enabled": False}
    argo = {"cd": False, "workflows": False, "events": False}
    parts = {"postgres": off, "object_store": {"kind": "minio", **off}, "mlflow": off, "monitoring": off, "argo": argo}
    tree["platform"] = {**tree["platform"], **parts}
    return graph.record(tree, preview=False, **platforms.TEXTS)


def pods(recorded: graph.Graph, kind: str) -> dict[str, Any]:
    inputs: dict[str, Any] = graph.unwrapped(recorded.one(SET, f"registry-{kind}").inputs)["spec"]
    return inputs


def test_a_pulling_account_is_known_to_no_pod_that_can_write() -> None:
    """The registry's accounts know no rights: whoever it lets in may push."""
    hashes = {PUSH: "hash-1", PULL: "hash-2"}
    assert spec.accounts(PUSH, hashes) == "push:hash-1\n"
    assert spec.accounts(PULL, hashes) == "push:hash-1\npull:hash-2\n"
    reader = yaml.safe_load(spec.settings(PULL, None))["storage"]
    assert reader["maintenance"]["readonly"] == {"enabled": True}
    assert "delete" not in reader
    for kind in (PUSH, PULL):
        volumes = pods(platforms.recorded("shipped"), kind)["template"]["spec"]["volumes"]
        [accounts] = [volume["secret"]["items"] for volume in volumes if volume["name"] == "accounts"]
        assert accounts == [{"key": kind, "path": "htpasswd"}]


def test_requests_that_change_something_reach_the_writer_and_all_others_the_readers() -> None:
    """One name serves both from outside; what is outside of the API is reached by nobody."""
    recorded = platforms.recorded("shipped")
    reads = graph.unwrapped(recorded.one(ROUTE, "registry-registry-route").inputs)["spec"]["rules"][0]
    writes = graph.unwrapped(recorded.one(ROUTE, "registry-registry-changes-route").inputs)["spec"]["rules"][0]
    assert reads["backendRefs"] == [{"name": "registry-pull", "port": 443}]
    assert writes["backendRefs"] == [{"name": "registry", "port": 443}]
    assert reads["matches"] == [{"path": {"type": "PathPrefix", "value": "/v2/"}}]
    assert {match.get("method") for match in writes["matches"]} == {None, "POST", "PUT", "PATCH", "DELETE"}
    assert all(match["path"]["value"].startswith("/v2/") for match in writes["matches"])


@pytest.mark.parametrize(
    ("kind", "service", "route"),
    [("pull", "registry-pull", "registry-registry-route"), ("push", "registry", "registry-registry-changes-route")],
)
def test_the_ingress_speaks_tls_to_it_and_knows_whom_it_speaks_to(kind: str, service: str, route: str) -> None:
    """Passwords pass there, over the network between nodes. A route before its policy would find no authority."""
    recorded = platforms.recorded("shipped")
    policy = graph.unwrapped(recorded.one(POLICY, f"registry-{kind}-backend-tls").inputs)["spec"]
    assert [target["name"] for target in policy["targetRefs"]] == [service]
    certified = graph.unwrapped(recorded.one(CERTIFICATE, "registry-registry-certificate").inputs)["spec"]
    assert policy["validation"]["hostname"] in certified["dnsNames"]
    dependencies = recorded.one(ROUTE, route).request.propertyDependencies["spec"].urns
    assert any(urn.endswith(f"registry-{kind}-backend-tls") for urn in dependencies)


@pytest.mark.parametrize("form", ["shipped", "full"])
def test_it_is_certified_by_the_stacks_authority_for_every_name_that_it_is_reached_by(form: str) -> None:
    """No public authority certifies an address of the machine itself, which is what nodes ask."""
    recorded = platforms.recorded(form)
    certified = graph.unwrapped(recorded.one(CERTIFICATE, "registry-registry-certificate").inputs)["spec"]
    assert certified["ipAddresses"] == ["127.0.0.1"]
    assert {"registry.dev.mlops.example.org", "registry.registry.svc", "registry-pull.registry.svc"} <= set(
        certified["dnsNames"]
    )
    assert certified["issuerRef"]["name"] == "leasehold"


def test_nodes_reach_the_readers_only_and_at_the_port_that_they_were_told() -> None:
    """Their settings were written before there was a registry (cluster/registries.py)."""
    recorded = platforms.recorded("shipped")
    [port] = graph.unwrapped(recorded.one(SERVICE, "registry-service-registry-pull").inputs)["spec"]["ports"]
    assert port["nodePort"] == platforms.platform("shipped").registry.node_port
    assert "type" not in graph.unwrapped(recorded.one(SERVICE, "registry-service-registry").inputs)["spec"]


def test_images_are_in_the_object_store_where_there_is_one_and_its_keys_in_a_secret() -> None:
    """Its backup and its restore then have them too."""
    recorded = platforms.recorded("external")
    assert not {name for name in recorded.of(CLAIM) if "registry" in name}
    text = json.dumps([graph.unwrapped(r.inputs) for r in recorded.resources.values() if "settings" in r.name])
    assert "https://s3.example.org" in text
    assert "canary" not in text
    server = graph.unwrapped(recorded.one(SECRET, "registry-registry-server").inputs)["stringData"]
    assert server["REGISTRY_STORAGE_S3_SECRETKEY"] == "canary-secret"


def test_without_an_object_store_images_are_in_a_protected_volume_that_readers_cannot_write() -> None:
    """All pods are on the node that has it."""
    recorded = without_store()
    claim = recorded.one(CLAIM, "registry-data")
    assert claim.request.protect
    for kind, writes in ((PUSH, True), (PULL, False)):
        found = pods(recorded, kind)
        assert found["replicas"] == 1
        [container] = found["template"]["spec"]["containers"]
        [mount] = [item for item in container["volumeMounts"] if item["name"] == "data"]
        assert mount["readOnly"] is not writes
    assert "podAffinity" in pods(recorded, PULL)["template"]["spec"]["affinity"]
    server = graph.unwrapped(recorded.one(SECRET, "registry-registry-server").inputs)["stringData"]
    assert list(server) == ["REGISTRY_HTTP_SECRET"]


def test_space_is_freed_before_the_only_writer_serves_and_by_nobody_else() -> None:
    """A collection takes away what is being pushed and has no manifest yet."""
    recorded = platforms.recorded("shipped")
    writer, readers = (pods(recorded, kind) for kind in (PUSH, PULL))
    assert writer["replicas"] == 1
    [collect] = writer["template"]["spec"]["initContainers"]
    assert "garbage-collect" in collect["command"][-1]
    # Manifests without a tag are what runs: images are named by digest.
    assert "--delete-untagged" not in collect["command"][-1]
    assert "initContainers" not in readers["template"]["spec"]


def test_the_restarting_job_may_touch_these_pods_only() -> None:
    """Its account could end any workload of the namespace otherwise."""
    names = spec.pods(2)
    assert names == ["registry-push-0", "registry-pull-0", "registry-pull-1"]
    [rule] = spec.role(names)
    assert rule["resourceNames"] == names
    assert set(rule["verbs"]) == {"get", "delete"}
    job = spec.restarts("image", "30 3 * * 0", registry.script(), names, "account")["jobTemplate"]["spec"]["template"]
    assert job["spec"]["containers"][0]["command"][-3:] == names


def test_a_login_says_every_name_of_the_registry() -> None:
    """Tools look a login up by the host in the image's name."""
    tree = json.loads(spec.docker_config(["a", "b"], "pull", "secret"))["auths"]
    assert set(tree) == {"a", "b"}
    assert base64.b64decode(tree["a"]["auth"]).decode() == "pull:secret"


@pytest.mark.parametrize("form", sorted(platforms.CHANGES))
def test_its_pods_fit_the_quota(form: str) -> None:
    """A refused pod is one that never comes."""
    recorded = platforms.recorded(form)
    [space] = registry.spaces(platforms.platform(form))
    total = 128  # the restarting Job
    for kind in (PUSH, PULL):
        found = pods(recorded, kind)
        [container] = found["template"]["spec"]["containers"]
        total += found["replicas"] * int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert total <= int(space.memory.removesuffix("Mi"))
