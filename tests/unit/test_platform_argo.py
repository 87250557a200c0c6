"""Argo CD, Workflows and Events: who may do what, what is started by whom, and where nothing is secret."""

import json
from ipaddress import IPv4Network
from typing import Any

import pytest
import yaml

import config
import versions
from config import Images
from mlops import inventory
from mlops.argo import accounts, bus, cd, events, workflows
from mlops.services import S3
from tests.environments import changed, dev, existing
from tests.unit import graph, platforms

RELEASE, SECRET, ROLE = (
    "kubernetes:helm.sh/v3:Release",
    "kubernetes:core/v1:Secret",
    "kubernetes:rbac.authorization.k8s.io/v1:Role",
)
PASSWORDS = ("result", "bcryptHash")
NAMES = workflows.Names("database", "artifacts", "argo_workflows", "postgres.example")
DIGEST = "sha256:" + "a" * 64


def platform(**changes: Any) -> config.Platform:
    return config.Platform.model_validate({"domain": "example.org", **changes})


def store(endpoint: str) -> S3:
    return S3(endpoint, "eu-1", path_style=True, buckets={"workflows": "dev-workflows"})


@pytest.fixture(scope="module")
def shipped() -> graph.Graph:
    return platforms.recorded("shipped")


def test_argo_cd_is_given_its_password_as_a_hash_and_beside_the_values(shipped: graph.Graph) -> None:
    """A password among the values would be in every revision that Helm keeps."""
    secrets = graph.of_space(shipped, SECRET, "argocd")
    assert {"admin.password", "admin.passwordMtime", "server.secretkey"} == set(secrets["argocd-secret"]["stringData"])
    assert secrets["argocd-secret"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "argocd"
    assert set(secrets["argocd-redis"]["stringData"]) == {"auth"}
    chosen = cd.values(platform(), Images(), None)
    assert chosen["configs"]["secret"] == {"createSecret": False}
    assert chosen["redisSecretInit"] == {"enabled": False}


def test_argo_cd_knows_nobody_but_its_administrator() -> None:
    """An anonymous user, a shell in pods or a role that everybody has would be ways in."""
    settings = cd.values(platform(), Images(), None)["configs"]
    assert settings["cm"]["users.anonymous.enabled"] == "false"
    assert settings["cm"]["exec.enabled"] == "false"
    assert settings["rbac"] == {"policy.default": ""}


def test_applications_come_from_named_repositories_and_stay_out_of_the_platform(shipped: graph.Graph) -> None:
    """Argo CD may do everything in the cluster: whoever may write to a repository must not inherit that."""
    spec = cd.project(["https://git.example.org/apps"], ["argocd", "kube-*"])
    assert spec["sourceRepos"] == ["https://git.example.org/apps"]
    assert spec["clusterResourceWhitelist"] == []
    assert {"group": "rbac.authorization.k8s.io", "kind": "RoleBinding"} in spec["namespaceResourceBlacklist"]
    made = graph.of_space(shipped, "kubernetes:argoproj.io/v1alpha1:AppProject", "argocd")[cd.PROJECT]["spec"]
    refused = {item["namespace"].removeprefix("!") for item in made["destinations"] if item["namespace"][0] == "!"}
    assert {space.name for space in inventory.spaces(platforms.platform("shipped"))} | {"kube-*"} <= refused
    assert made["sourceRepos"] == []


def test_the_project_that_argo_cd_makes_itself_lets_nothing_in(shipped: graph.Graph) -> None:
    """It is open to every repository and every namespace, unless somebody shuts it."""
    made = graph.of_space(shipped, "kubernetes:argoproj.io/v1alpha1:AppProjectPatch", "argocd")["default"]
    assert made["spec"] == {"sourceRepos": [], "destinations": [], "clusterResourceWhitelist": []}
    assert made["metadata"]["annotations"] == {"pulumi.com/patchForce": "true"}


def test_argo_cd_reaches_the_ports_of_the_repositories_only() -> None:
    """What reads foreign repositories has no other way out."""
    ports = {"a": {"url": "https://git.example.org/a"}, "b": {"url": "http://git.example.org:3000/b"}}
    assert [flow.ports for flow in cd.flows(platform(argo={"repositories": ports}))] == [(443, 3000)]
    assert cd.flows(platform()) == ()
    assert cd.flows(platform(argo={"cd": False, "repositories": ports})) == ()


def test_a_repository_with_a_user_has_the_token_in_its_secret() -> None:
    """Argo CD finds a repository by its Secret's label, and takes it for applications of the one project."""
    repositories = {"apps": {"url": "https://git.example.org/apps", "user": "reader"}}
    tree = changed({**existing(), "platform": dev()["platform"]}, {"platform.argo": {"repositories": repositories}})
    made = graph.of_space(graph.record(tree, kubeconfig=graph.KUBECONFIG, git_token="canary-git"), SECRET, "argocd")[
        "repository-apps"
    ]
    assert made["metadata"]["labels"] == cd.REPOSITORY
    assert made["stringData"] == {
        "type": "git",
        "url": "https://git.example.org/apps",
        "project": cd.PROJECT,
        "username": "reader",
        "password": "canary-git",
    }


def test_the_ends_of_deployments_are_told_with_a_token_that_is_no_value() -> None:
    """The values name a key of a Secret; without events there is nobody to tell."""
    told = cd.notifications("http://webhook.example/deployments")
    sent = json.loads(told["notifiers"]["service.webhook.events"])
    assert sent["headers"][0] == {"name": "Authorization", "value": "Bearer $token"}
    assert {name.removeprefix("trigger.") for name in told["triggers"]} == set(told["subscriptions"][0]["triggers"])
    assert cd.notifications(None) == {"enabled": False}


def test_an_executor_may_say_how_a_step_ended_and_nothing_else(shipped: graph.Graph) -> None:
    """Its token is in every pod of a workflow."""
    role = graph.of_space(shipped, ROLE, "workflows")["executor"]
    assert role["rules"] == [
        {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    ]


def test_what_starts_workflows_may_neither_read_nor_change_them(shipped: graph.Graph) -> None:
    """Whoever takes a sensor over could start what exists already, and no more."""
    role = graph.of_space(shipped, ROLE, "workflows")["trigger"]
    assert role["rules"] == [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["create"]}]


@pytest.mark.parametrize("rules", [accounts.telling(), accounts.operating("artifacts"), accounts.starting()])
def test_no_right_is_a_wildcard(rules: accounts.Rules) -> None:
    """A wildcard gives what a later version adds, too."""
    assert "*" not in str(rules)


def test_people_see_one_secret_of_the_workflows(shipped: graph.Graph) -> None:
    """The user interface shows artifacts with the caller's rights; the other Secrets are the workflows' own."""
    rules = graph.of_space(shipped, ROLE, "workflows")["operator"]["rules"]
    assert [rule for rule in rules if "secrets" in rule["resources"]] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": [workflows.ARTIFACTS]}
    ]


def test_another_rotation_ends_the_tokens_of_accounts() -> None:
    """A token of an account lives as long as its Secret."""
    tree = changed({**existing(), "platform": dev()["platform"]}, {"platform.rotation": 7})
    secrets = graph.of_space(graph.record(tree, kubeconfig=graph.KUBECONFIG), SECRET, "workflows")
    tokens = {name for name, item in secrets.items() if item.get("type") == accounts.TOKEN}
    assert tokens == {"executor-token-7", "operator-token-7"}


def test_the_executor_finds_the_token_that_its_account_names(shipped: graph.Graph) -> None:
    """Argo Workflows looks for another name else, and every step fails before it begins."""
    account = graph.of_space(shipped, "kubernetes:core/v1:ServiceAccount", "workflows")["executor"]
    token = account["metadata"]["annotations"][accounts.CHOSEN]
    secret = graph.of_space(shipped, SECRET, "workflows")[token]
    assert secret["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "executor"}
    assert account["automountServiceAccountToken"] is False


def test_a_step_runs_restricted_bounded_and_without_a_token() -> None:
    """Pipelines run programs of others: the namespace refuses pods that say less."""
    spec = workflows.defaults()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["executor"]["serviceAccountName"] == spec["serviceAccountName"] == accounts.EXECUTOR
    assert spec["activeDeadlineSeconds"]
    assert spec["ttlStrategy"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    chosen = workflows.values(platform(), Images(), store("http://s3.example:9000"), NAMES)
    for part in ("mainContainer", "executor"):
        assert chosen[part]["securityContext"] == dict(workflows.RESTRICTED)
        assert chosen[part]["resources"]["limits"]["memory"]


def test_the_user_interface_of_workflows_knows_only_accounts_of_the_cluster() -> None:
    """In the mode `server` everybody would be the server itself."""
    chosen = workflows.values(platform(), Images(), store("http://s3.example:9000"), NAMES)
    assert chosen["server"]["authModes"] == ["client"]
    assert chosen["controller"]["workflowNamespaces"] == ["workflows"]
    assert chosen["crds"]["full"] is False


@pytest.mark.parametrize(
    ("endpoint", "host", "insecure"),
    [
        ("http://object-store.object-store.svc:9000", "object-store.object-store.svc:9000", True),
        ("https://s3.example.org", "s3.example.org", False),
    ],
)
def test_artifacts_go_to_the_store_whatever_it_is(endpoint: str, host: str, insecure: bool) -> None:
    """Argo Workflows wants the host without the scheme."""
    found = workflows.repository(store(endpoint), "artifacts")["s3"]
    assert (found["endpoint"], found["insecure"], found["bucket"]) == (host, insecure, "dev-workflows")


def test_workflows_reach_the_networks_of_the_environment_but_never_the_metadata_service() -> None:
    """The metadata service hands out what the machines were made with."""
    networks = [IPv4Network(text) for text in ("192.0.2.0/24", "169.254.0.0/16", "169.254.169.254/32")]
    assert workflows.outside(networks)["egress"] == [
        {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
        {"to": [{"ipBlock": {"cidr": "169.254.0.0/16", "except": ["169.254.169.254/32"]}}]},
    ]


def test_every_event_has_a_path_and_a_token_of_its_own(shipped: graph.Graph) -> None:
    """Whoever may tell of deployments must not be able to forge alerts."""
    hooks = events.source("tokens")["webhook"]
    assert set(hooks) == set(events.EVENTS)
    for name, hook in hooks.items():
        assert hook["authSecret"] == {"name": "tokens", "key": name}
        assert hook["endpoint"] == f"/{name}"
        assert hook["port"] == str(events.PORT)
    [tokens] = [item for name, item in graph.of_space(shipped, SECRET, "argo-events").items() if events.TOKENS in name]
    assert set(tokens["stringData"]) == set(events.EVENTS)


def test_a_sensor_makes_a_workflow_by_a_template_with_the_body_as_parameter() -> None:
    """What is run is written in the template; an event only says with what."""
    spec = events.sensor("alerts", "log-analysis", "alerts", "workflows")
    [trigger] = spec["triggers"]
    made = trigger["template"]["k8s"]["source"]["resource"]
    assert made["metadata"]["namespace"] == "workflows"
    assert made["spec"]["workflowTemplateRef"] == {"name": "log-analysis"}
    assert made["spec"]["arguments"]["parameters"][0]["name"] == "alerts"
    assert trigger["template"]["k8s"]["parameters"] == [
        {"src": {"dependencyName": "alerts", "dataKey": "body"}, "dest": "spec.arguments.parameters.0.value"}
    ]
    assert "templates" not in made["spec"]


def test_the_bus_takes_nobody_without_its_password_and_nothing_in_clear() -> None:
    """Whoever writes to the bus starts workflows."""
    text = bus.settings("secret-password")
    assert 'authorization { user: "argo-events", password: "secret-password"' in text
    assert "tls { cert_file" in text
    assert yaml.safe_load(bus.access("secret-password")) == {"username": bus.USER, "password": "secret-password"}


def test_the_bus_forgets_the_oldest_events_before_its_volume_is_full() -> None:
    """Argo Events reads a size with a unit as 0, which is no bound."""
    stream = yaml.safe_load(bus.event_bus("nats://bus", "bus-1")["jetstreamExotic"]["streamConfig"])
    assert stream["maxBytes"] == bus.MEGABYTES * 1024 * 1024
    assert stream["replicas"] == 1


def test_the_password_of_the_bus_is_in_a_secret_only() -> None:
    """Specs are shown in previews."""
    spec = bus.stateful_set("nats:1", "bus-1", "bus-tls", 1, None)
    assert "password" not in str(spec)
    [config_volume] = [v for v in spec["template"]["spec"]["volumes"] if v["name"] == "config"]
    assert config_volume["secret"]["items"] == [{"key": bus.CONFIG, "path": bus.CONFIG}]


def test_images_of_the_three_are_pinned_by_the_environments_digests() -> None:
    """A digest in `images.digests` must reach every pod."""
    known = {
        image.tagged: DIGEST for image in (versions.ARGO_WORKFLOWS_IMAGES[0], versions.ARGO_EVENTS, versions.ARGO_CD)
    }
    images = Images(digests=known)
    chosen = workflows.values(platform(), images, store("http://s3.example"), NAMES)
    assert chosen["controller"]["image"]["tag"].endswith(DIGEST)
    assert events.values(images)["global"]["image"]["tag"].endswith(DIGEST)
    assert cd.values(platform(), images, None)["global"]["image"]["tag"].endswith(DIGEST)


@pytest.mark.parametrize("form", ["shipped", "small"])
def test_every_container_of_the_three_has_a_request_and_a_limit(form: str) -> None:
    """A quota counts what is asked for; without a limit one pipeline takes a node's memory."""
    wanted = platforms.platform(form)
    for module in (cd, workflows, events):
        [(_, chosen)] = module.example_values(wanted)
        found = list(_resources(chosen))
        assert found
        assert all({"cpu", "memory"} <= set(item["requests"]) and item["limits"]["memory"] for item in found)


def _resources(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "resources":
                yield item
            else:
                yield from _resources(item)


def test_what_is_left_out_is_not_there() -> None:
    """Each of the three can be turned off."""
    off = platform(argo={"cd": False, "workflows": False, "events": False})
    assert not {"argocd", "argo-workflows", "workflows", "argo-events"} & {s.name for s in inventory.spaces(off)}
