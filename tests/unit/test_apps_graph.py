"""The applications' layer: what Pulumi makes, what it leaves to Git, and where nothing is secret."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import config
from apps import inventory, package, ports, steps
from apps.delivery.steps.settings import Settings, read_settings
from apps.environments import spec
from apps.git import spec as git
from mlops import flows, monitoring
from mlops.flows import WORLD, Flow
from tests.environments import changed, dev
from tests.unit import graph, platforms

CORE = "kubernetes:core/v1:"
CONFIG, SECRET = f"{CORE}ConfigMap", f"{CORE}Secret"
APPLICATION, PROJECT = "kubernetes:argoproj.io/v1alpha1:Application", "kubernetes:argoproj.io/v1alpha1:AppProject"
ROUTE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
WORKLOADS = ("kubernetes:apps/v1:Deployment", "kubernetes:apps/v1:StatefulSet", "kubernetes:batch/v1:Job")
NAMES = tuple(dev()["apps"]["environments"])


def recorded(**changes: Any) -> graph.Graph:
    return graph.record(changed(platforms.tree("apps"), changes), preview=False, **platforms.TEXTS)


def shipped() -> graph.Graph:
    return platforms.recorded("apps")


@pytest.mark.parametrize("name", NAMES)
def test_pulumi_makes_the_place_and_git_says_what_runs_in_it(name: str) -> None:
    """What Pulumi made, an `up` would set back after each promotion."""
    found = shipped()
    for kind in WORKLOADS:
        assert graph.of_space(found, kind, name) == {}
    assert set(graph.of_space(found, f"{CORE}Service", name)) == {spec.APPLICATION}
    assert set(graph.of_space(found, "kubernetes:policy/v1:PodDisruptionBudget", name)) == {spec.APPLICATION}
    [application] = [item for key, item in graph.of_space(found, APPLICATION, "argocd").items() if key == name]
    assert application["spec"]["source"]["path"] == f"environments/{name}"
    automated = application["spec"]["syncPolicy"]["automated"]
    assert automated == {"prune": True, "selfHeal": True, "allowEmpty": True}


def test_prometheus_finds_every_environment_and_may_ask_it() -> None:
    """Drift, dashboards and alerts of models rest on it; a missing label shows nowhere but in an empty graph."""
    wanted = monitoring.models()
    [port] = [endpoint["port"] for endpoint in wanted["endpoints"]]
    for name in NAMES:
        [service] = graph.of_space(shipped(), f"{CORE}Service", name).values()
        assert wanted["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert port in [entry["name"] for entry in service["spec"]["ports"]]
        policies = graph.of_space(shipped(), "kubernetes:networking.k8s.io/v1:NetworkPolicy", monitoring.SPACE).values()
        opened = flows.added(monitoring.SPACE, [Flow(monitoring.SPACE, name, (ports.SERVER,), "")])
        assert opened is not None
        assert opened["egress"][0] in [rule for policy in policies for rule in policy["spec"]["egress"]]


def test_the_route_of_production_is_in_git_and_the_others_are_the_stacks() -> None:
    """The canary's share changes with its release; two owners of one route would fight."""
    found = shipped()
    assert {name: len(graph.of_space(found, ROUTE, name)) for name in NAMES} == {
        **dict.fromkeys(NAMES, 1),
        NAMES[-1]: 0,
    }


def test_a_request_that_no_pod_received_is_asked_of_another_once_it_is_known_who_asks() -> None:
    """A lost node's pods stay behind their Services for a while. No status is repeated: bodies would be kept."""
    for name in NAMES:
        found = graph.of_space(shipped(), "kubernetes:traefik.io/v1alpha1:Middleware", name)
        specs = {made["metadata"]["name"]: made["spec"] for made in found.values()}
        assert specs["application-again"] == {"retry": {"attempts": 8}}
        order = [entry["name"] for entry in specs["application-lasting"]["chain"]["middlewares"]]
        assert order == ["application", "application-again"]
        assert "basicAuth" in specs["application"]
    assert json.loads(shipped().outputs["delivery"])["manifests"]["route"]["guard"] == "application-lasting"


def test_argo_cd_may_make_two_kinds_of_objects_in_the_environments_and_nothing_else() -> None:
    """Whoever may write to the releases repository must not get another namespace, or a role, by it."""
    [project] = [
        graph.unwrapped(item.inputs) for item in shipped().of(PROJECT).values() if item.name == "environments-project"
    ]
    assert project["spec"]["clusterResourceWhitelist"] == []
    kinds = {entry["kind"] for entry in project["spec"]["namespaceResourceWhitelist"]}
    assert kinds == {"Deployment", "HTTPRoute"}
    assert {entry["namespace"] for entry in project["spec"]["destinations"]} == set(NAMES)
    assert project["spec"]["sourceRepos"] == [git.url(git.RELEASES)]


def test_only_the_stated_flows_reach_an_environment_and_none_leads_into_the_world() -> None:
    """A model that is taken over should find nobody."""
    permitted = inventory.flows(config.Apps.model_validate(dev()["apps"]), platforms.platform("apps"))
    assert {flow.source for flow in permitted if flow.target in NAMES} == {"ingress", "workflows", "monitoring"}
    assert not [flow for flow in permitted if flow.source in NAMES]


def test_only_builds_reach_into_the_world_and_only_for_images() -> None:
    """They run what a repository says; the steps, which have passwords, reach only where their source is."""
    tree, inside = dev()["apps"], platforms.platform("apps")
    permitted = inventory.flows(config.Apps.model_validate(tree), inside, "http://mirror.example.org:5000")
    assert [(flow.source, flow.ports) for flow in permitted if flow.target == WORLD] == [("builds", (443, 5000))]
    elsewhere = config.Apps.model_validate({**tree, "source": {"url": "https://git.example.org/model"}})
    out = [(flow.source, flow.ports) for flow in inventory.flows(elsewhere, inside) if flow.target == WORLD]
    assert ("workflows", (443,)) in out


@pytest.mark.parametrize(
    ("form", "target", "port"), [("apps", "object-store", 9000), ("full", WORLD, 443), ("external", WORLD, 443)]
)
def test_repositories_are_copied_to_one_place_and_their_pods_reach_no_other(form: str, target: str, port: int) -> None:
    """A store outside where there is one, and the cluster's own for want of it."""
    permitted = inventory.flows(config.Apps.model_validate(dev()["apps"]), platforms.platform(form))
    assert [(f.target, f.ports) for f in permitted if f.source == inventory.DELIVERY] == [(target, (port,))]


def test_what_steps_are_told_is_read_by_them_and_no_secret_is_in_it() -> None:
    """It is a ConfigMap and an output, which many may read."""
    found = shipped()
    text = graph.of_space(found, CONFIG, "workflows")[steps.SETTINGS]["data"]["settings.json"]
    told = read_settings(text, "settings.json")
    assert isinstance(told, Settings)
    assert told.manifests.names == NAMES
    assert "password-" not in text
    assert found.outputs["delivery"] == text
    assert "delivery" not in found.secret_outputs


def test_passwords_are_secrets_and_each_account_has_its_own() -> None:
    """Argo CD's must not open what only steps may write."""
    found = shipped()
    accounts = graph.of_space(found, SECRET, inventory.DELIVERY)["git-accounts"]["stringData"]
    assert set(accounts) == {git.PEOPLE, git.STEPS, git.ARGO_CD, git.BACKUP}
    assert len(set(accounts.values())) == len(accounts)
    for resource in found.of(SECRET).values():
        for key, value in resource.inputs.get("stringData", {}).items():
            assert graph.is_secret(value) or graph.is_secret(resource.inputs["stringData"]), (resource.name, key)
    reading = [who for who, right in git.rights()[git.RELEASES]["rights"].items() if right == "read"]
    assert reading == [git.ARGO_CD, git.BACKUP]


def test_the_volume_of_the_releases_is_protected() -> None:
    """It is what ran, and the evidence."""
    claim = shipped().one(f"{CORE}PersistentVolumeClaim", "git-data")
    assert claim.request.protect


def test_an_autoscaler_owns_the_replicas_where_there_is_one() -> None:
    """Git would set them back with each look otherwise."""
    found = recorded(**{f"apps.environments.{NAMES[-1]}.most": 5})
    [scaler] = graph.of_space(found, "kubernetes:autoscaling/v2:HorizontalPodAutoscaler", NAMES[-1]).values()
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)
    told = read_settings(graph.of_space(found, CONFIG, "workflows")[steps.SETTINGS]["data"]["settings.json"], "x")
    by_name = {each.name: each for each in told.manifests.environments}
    assert by_name[NAMES[-1]].replicas is None
    assert by_name[NAMES[0]].replicas == 1


def test_two_environments_are_enough_and_have_no_canary() -> None:
    """A team without canary leaves it out."""
    kept = {name: dev()["apps"]["environments"][name] for name in (NAMES[0], NAMES[-1])}
    found = recorded(apps={**dev()["apps"], "environments": kept})
    assert found.of("kubernetes:gateway.networking.k8s.io/v1beta1:ReferenceGrant") == {}
    assert set(graph.of_space(found, APPLICATION, "argocd")) == {NAMES[0], NAMES[-1]}


def test_without_applications_no_resource_of_theirs_is_made() -> None:
    """Whoever wants the platform alone pays for nothing more."""
    names = {resource.type for resource in platforms.recorded("shipped").resources.values()}
    assert not any(name.startswith("leasehold:apps:") for name in names)


def test_the_package_of_steps_is_equal_for_equal_sources_and_runs_as_it_is(tmp_path: Path) -> None:
    """Another name for the same program would be a change at each `up`; and pods have nothing but Python."""
    content = package.archive()
    assert content == package.archive()
    file = tmp_path / package.ARCHIVE
    file.write_bytes(content)
    assert "delivery/__main__.py" in zipfile.ZipFile(file).namelist()
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys, runpy; sys.path.insert(0, {str(file)!r}); sys.argv=['d', '--help']; "
            "runpy.run_module('delivery', run_name='__main__')",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "revert" in done.stdout


def test_nobody_looks_for_drift_where_that_is_not_wanted() -> None:
    """Prometheus need not be there then."""
    found, kind = recorded(apps=dev()["apps"]), "kubernetes:argoproj.io/v1alpha1:"
    assert not {"check-drift", "retrain-on-drift"} & set(found.of(f"{kind}WorkflowTemplate"))
    assert set(found.of(f"{kind}CronWorkflow")) == {"nightly"}
    assert json.loads(found.outputs["delivery"])["drift"] is None
    assert json.loads(shipped().outputs["delivery"])["drift"]["limits"]["hours"] == 12


def test_others_are_told_where_each_environment_says_what_it_serves() -> None:
    """The outputs name places, not versions: a promotion is no change of the stack."""
    told = shipped().outputs["environments"]["production"]
    assert told == {
        "url": "https://production.dev.mlops.example.org",
        "version": "https://production.dev.mlops.example.org/version",
        "model": "models:/GourmetGramFood11Model@production",
        "state": "releases.git: environments/production/release.json",
    }
    assert set(shipped().outputs["promotion"]) == {"status", "promote", "revert"}


def test_a_package_fits_into_a_configmap() -> None:
    """The API takes 1 MiB, and base64 adds a third."""
    assert len(package.archive()) < 512 * 1024


def test_a_webhook_is_open_only_where_it_is_wanted_and_at_its_one_path() -> None:
    """Its source checks the signature; nothing else of Argo Events is reached from outside."""
    assert "github" not in graph.of_space(shipped(), "kubernetes:argoproj.io/v1alpha1:EventSource", "argo-events")
    source = {"url": "https://github.com/team/model.git"}
    found = recorded(apps={**dev()["apps"], "source": source, "webhook": True})
    [spec_] = [item["spec"] for item in graph.of_space(found, ROUTE, "argo-events").values()]
    assert [rule["matches"] for rule in spec_["rules"]] == [
        [{"path": {"type": "Exact", "value": "/github"}, "method": "POST"}]
    ]
    made = graph.of_space(found, "kubernetes:argoproj.io/v1alpha1:EventSource", "argo-events")["github"]["spec"][
        "github"
    ]
    [secret] = [name for name in graph.of_space(found, SECRET, "argo-events") if name.startswith("github-webhook")]
    assert made["push"]["webhookSecret"]["name"] == secret
    assert made["push"]["repositories"] == [{"owner": "team", "names": ["model"]}]
    sensor = graph.of_space(found, "kubernetes:argoproj.io/v1alpha1:Sensor", "argo-events")["github"]["spec"]
    [trigger] = sensor["triggers"]
    started = trigger["template"]["k8s"]["source"]["resource"]["spec"]
    assert started["workflowTemplateRef"] == {"name": "pipeline"}
    assert [entry["name"] for entry in started["arguments"]["parameters"]] == ["revision", "who", "why"]
