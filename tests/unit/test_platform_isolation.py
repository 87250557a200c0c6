"""Namespaces, flows, rights and credentials of every form of the platform."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

import pytest

import config
from apps.builds import spec as builds
from cluster import gpu, readers
from cluster.peers import METADATA
from docs import generate
from mlops import flows, inventory
from mlops.flows import API, NODES, PODS, WORLD
from tests import workloads
from tests.unit import graph, platforms

POLICY, SPACE = "kubernetes:networking.k8s.io/v1:NetworkPolicy", "kubernetes:core/v1:Namespace"
QUOTA, RELEASE = "kubernetes:core/v1:ResourceQuota", "kubernetes:helm.sh/v3:Release"
ROLES = ("kubernetes:rbac.authorization.k8s.io/v1:Role", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole")
ACCOUNT = "kubernetes:core/v1:ServiceAccount"
APPS = "leasehold-apps"
"""Name of the policies that the applications add."""
OUTSIDE = {WORLD, API, NODES, PODS}
TALKING = {"log-analysis", "trigger"}
"""Accounts whose pods talk to the API: what collects a pod's log, and what starts a workflow."""
KNOWN = (
    *("admin", "password", "changeme", "change-me", "secret", "minioadmin", "minio123", "prom-operator", "postgres"),
    *("password1234", "mlflow", "argocd", "grafana", "root", "test", "default", "guest", "12345678", "anonymous"),
)
"""Passwords that the components, their charts or their tutorials are known for."""
SECRET_KEY = re.compile(r"pass(word|wd)?$|secret(_?key)?$|token$|secretaccesskey$|(^|[_.-])pw$", re.IGNORECASE)


@pytest.fixture(params=sorted(platforms.CHANGES))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def texts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text in a tree, with its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, path)
    elif isinstance(value, str):
        yield path, value


def native(recorded: graph.Graph) -> Iterator[workloads.Pods]:
    """Pods of our own objects."""
    for resource in recorded.resources.values():
        if resource.type.startswith("kubernetes:") and resource.type != RELEASE:
            *_, rest, kind = resource.type.split(":")
            item = {"apiVersion": rest, "kind": kind, **graph.unwrapped(resource.inputs)}
            yield from workloads.pods(item)


def everything() -> config.Platform:
    return config.Platform.model_validate(generate.EVERYTHING)


def test_every_flow_is_between_namespaces_that_some_platform_has() -> None:
    """A flow to a namespace of another name would be left out in silence, and its connections refused."""
    wanted = [everything(), *(platforms.platform(form) for form in platforms.CHANGES)]
    known = {space.name for platform in wanted for space in inventory.spaces(platform)} | OUTSIDE
    said = {flow for platform in wanted for part in inventory._parts(platform) for flow in part.FLOWS}
    assert not [flow for flow in said if not {flow.source, flow.target} <= known]
    assert not [flow for flow in said if {flow.source, flow.target} <= OUTSIDE], "nobody enforces such a flow"


OF_THE_CLUSTER = (gpu.NAMESPACE, readers.NAMESPACE)
"""Namespaces of the layer below, which closes them itself."""


def policies(form: str) -> list[dict[str, Any]]:
    return [graph.unwrapped(policy.inputs) for policy in platforms.recorded(form).of(POLICY).values()]


def test_every_namespace_is_closed_both_ways_but_for_its_flows(form: str) -> None:
    """One policy each, for every pod, made of the documented table and of nothing else."""
    own = {space.name for space in inventory.spaces(platforms.platform(form))}
    tables = [
        policy
        for policy in policies(form)
        if policy["metadata"]["name"] == "leasehold" and policy["metadata"]["namespace"] not in OF_THE_CLUSTER
    ]
    assert sorted(policy["metadata"]["namespace"] for policy in tables) == sorted(
        s.name for s in platforms.spaces(form)
    )
    for policy in tables:
        space = policy["metadata"]["namespace"]
        permitted = inventory.flows(platforms.platform(form)) if space in own else platforms.more_flows(form)
        assert policy["spec"] == flows.policy(space, permitted)
        assert policy["spec"]["podSelector"] == {}
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_the_applications_open_the_platforms_namespaces_for_their_own_flows_alone(form: str) -> None:
    """Beside the table of the platform, which does not know them."""
    opened = {p["metadata"]["namespace"]: p["spec"] for p in policies(form) if p["metadata"]["name"] == APPS}
    own = [space.name for space in inventory.spaces(platforms.platform(form))]
    wanted = {space: flows.added(space, platforms.more_flows(form)) for space in own}
    assert opened == {space: spec for space, spec in wanted.items() if spec is not None}


def test_other_policies_only_lead_out_of_the_cluster(form: str) -> None:
    """Targets and webhooks of an environment have ports that no table can know; they open no way in or within."""
    for policy in policies(form):
        if policy["metadata"]["name"] not in ("leasehold", APPS):
            assert policy["spec"]["policyTypes"] == ["Egress"]
            assert not policy["spec"].get("ingress")
            assert all(set(peer) == {"ipBlock"} for rule in policy["spec"]["egress"] for peer in rule["to"])


def test_no_rule_reaches_the_metadata_address(form: str) -> None:
    """It hands out user data, with the cluster's join token in it."""
    blocks = [
        peer["ipBlock"]
        for policy in policies(form)
        for rule in (*policy["spec"].get("ingress", []), *policy["spec"].get("egress", []))
        for peer in (*rule.get("from", []), *rule.get("to", []))
        if "ipBlock" in peer
    ]
    assert blocks
    assert all(METADATA in block["except"] for block in blocks if holds(block["cidr"]))


def holds(cidr: str) -> bool:
    """Whether a network has the metadata address in it."""
    return ipaddress.ip_network(METADATA).subnet_of(ipaddress.ip_network(cidr))  # type: ignore[arg-type]


def test_a_level_below_restricted_has_its_reason(form: str) -> None:
    """The list is short, and documented in docs/flows.md."""
    found = {s.name: s for s in platforms.spaces(form) if s.level != "restricted"}
    assert all(space.why for space in found.values())
    assert set(found) <= {"ingress", "node-exporter", "builds"}
    spaces = platforms.recorded(form).of(SPACE).values()
    marks = {space.inputs["metadata"]["name"]: space.inputs["metadata"].get("labels", {}) for space in spaces}
    for space in platforms.spaces(form):
        assert marks[space.name]["pod-security.kubernetes.io/enforce"] == space.level


def test_the_quotas_hold_our_own_pods(form: str) -> None:
    """A pod beyond its namespace's quota is never made. Those of charts are counted where charts are rendered."""
    quotas = {q.inputs["metadata"]["namespace"]: q.inputs["spec"]["hard"] for q in recorded_quotas(form)}
    for space, asked in workloads.sums(native(platforms.recorded(form))).items():
        hard = quotas[space]
        assert asked.cpu <= workloads.quantity(hard["requests.cpu"]), (space, asked)
        assert asked.memory <= workloads.quantity(hard["limits.memory"]), (space, asked)
        assert asked.pods <= int(hard["pods"]), (space, asked)


def recorded_quotas(form: str) -> list[graph.Resource]:
    return list(platforms.recorded(form).of(QUOTA).values())


def test_every_container_of_ours_says_what_it_takes_and_gives_up_what_it_need_not(form: str) -> None:
    """What a namespace enforces is said by the pod too: it works in any namespace."""
    for group in native(platforms.recorded(form)):
        if group.owner.startswith("Cluster "):
            continue
        for container in group.containers:
            where = f"{group.owner}: {container['name']}"
            resources = container.get("resources") or {}
            assert set(resources.get("requests") or {}) >= {"cpu", "memory"}, where
            assert "memory" in (resources.get("limits") or {}), where
            security = container.get("securityContext") or {}
            assert (security.get("capabilities") or {}).get("drop") == ["ALL"], where
            # Without root it needs two programs that have more rights than it: apps/builds/spec.py.
            assert security.get("allowPrivilegeEscalation") is (container["name"] == builds.NAME), where


def test_no_pod_of_ours_has_a_token_that_it_does_not_ask_for(form: str) -> None:
    """A token in a pod is the first thing that an intruder tries."""
    recorded = platforms.recorded(form)
    accounts = [graph.unwrapped(account.inputs) for account in recorded.of(ACCOUNT).values()]
    asking = {item["metadata"]["name"] for item in accounts if item.get("automountServiceAccountToken") is not False}
    assert asking == TALKING
    for group in native(recorded):
        if not group.owner.startswith("Cluster "):
            own = group.spec.get("serviceAccountName", "default") != "default"
            assert group.spec.get("automountServiceAccountToken") is own, group.owner


def test_no_right_of_ours_is_a_wildcard(form: str) -> None:
    """What `*` permits grows with the cluster."""
    recorded = platforms.recorded(form)
    rules = [(role.name, rule) for role in recorded.of(*ROLES).values() for rule in role.inputs.get("rules") or []]
    wild = [name for name, rule in rules for values in rule.values() if "*" in values]
    assert not wild


def test_values_hold_no_secret(form: str) -> None:
    """They are shown in previews, and kept in plain in the release's record."""
    for name, release in platforms.recorded(form).of(RELEASE).items():
        assert not marked(release.inputs.get("values")), name
        assert "canary" not in str(release.inputs), name


def marked(value: Any) -> bool:
    """Whether a part of a value arrived marked as a secret."""
    if graph.is_secret(value):
        return True
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(marked(member) for member in members)


def test_secret_texts_are_nowhere_but_in_secrets(form: str) -> None:
    """Neither in a ConfigMap, an argument or an annotation, where everybody reads along."""
    # An environment may be called canary; a generated password is recorded as its name with this before it.
    secret = ["canary-key", "password-", *(text for name, text in platforms.TEXTS.items() if name != "kubeconfig")]
    for resource in platforms.recorded(form).resources.values():
        if resource.type in ("kubernetes:core/v1:Secret", "pulumi:providers:kubernetes"):
            continue
        plain = [text for _, text in unmarked(resource.inputs) if any(word in text for word in secret)]
        assert not plain, resource.name


def unmarked(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Texts that did not arrive marked as secrets."""
    if graph.is_secret(value):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from unmarked(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from unmarked(item, path)
    elif isinstance(value, str):
        yield path, value


def test_no_known_password_is_given_to_anybody(form: str) -> None:
    """Defaults are tried first, by everybody. Names of Secrets and of keys in them are no passwords."""
    for resource in platforms.recorded(form).resources.values():
        found = [
            ".".join(path)
            for path, text in texts(graph.unwrapped(resource.inputs))
            if text.lower() in KNOWN and SECRET_KEY.search(path[-1])
        ]
        assert not found, resource.name
        assert "minioadmin" not in str(resource.inputs), resource.name


def test_generated_passwords_are_long_enough_and_renewed_together(form: str) -> None:
    """128 bits at least, of the alphabet that is used; one number renews them all."""
    made = platforms.recorded(form).of("random:index/randomPassword:RandomPassword")
    assert made
    for name, password in made.items():
        special = password.inputs.get("special", True)
        bits = int(password.inputs["length"]) * (5.9 if not special else 6.3)
        assert bits >= 128, name
        if not name.startswith(("k3s", "host-keys")):
            assert password.inputs["keepers"]["generation"] == "1", name
