"""What Argo CD applies: the text, the way a release runs, and who answers production's requests."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import yaml

from apps.delivery.manifests import Environment, Quantities, Route, Settings, manifest_path, rendered
from apps.delivery.manifests.text import yaml as text
from apps.delivery.releases import State, empty
from tests.environments import PROJECT
from tests.pinned_charts import closed
from tests.unit.test_delivery_releases import (
    FAILED,
    NAMES,
    ONE,
    THREE,
    TWO,
    approved,
    built,
    ended,
    promoted,
    reverted,
    run,
)

DEFINITION = PROJECT / "platform/mlops/gateway_api/definitions/httproutes.json"
SMALL, LARGE = Quantities("200m", "128Mi"), Quantities("500m", "256Mi")
SETTINGS = Settings(
    application="gourmetgram-app",
    image="registry.example.com:5000/gourmetgram-app",
    pull_secrets=("registry",),
    service_port=80,
    start_seconds=60,
    environments=tuple(Environment(name, f"gourmetgram-{name}", 2, SMALL, LARGE) for name in NAMES),
    route=Route("leasehold", "ingress", "https", ("app.example.com",), 10),
)


def manifest(state: State, environment: str, file: str = "deployment.yaml", settings: Settings = SETTINGS) -> Any:
    found = rendered(settings, state).get(manifest_path(environment, file))
    return None if found is None else yaml.safe_load(found)


def weights(state: State, settings: Settings = SETTINGS) -> Mapping[str, int] | None:
    """Namespace to share of production's requests; None without a route."""
    route = manifest(state, "production", "route.yaml", settings)
    if route is None:
        return None
    (rule,) = route["spec"]["rules"]
    return {backend["namespace"]: backend["weight"] for backend in rule["backendRefs"]}


def test_a_pod_runs_the_image_by_its_digest() -> None:
    """A tag could move; what was tested is these bytes."""
    pod = manifest(promoted(ONE), "production")["spec"]["template"]["spec"]
    assert [container["image"] for container in pod["containers"]] == [
        f"registry.example.com:5000/gourmetgram-app@{ONE.digest}"
    ]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_every_environment_runs_its_own_release_in_its_own_namespace() -> None:
    """Promotion copies the digest forward."""
    state = run(promoted(ONE), *built(TWO), ended(TWO), *built(THREE))
    found = {name: manifest(state, name) for name in NAMES}
    assert {name: item["metadata"]["annotations"]["leasehold/run"] for name, item in found.items()} == {
        "staging": "run-3",
        "canary": "run-2",
        "production": "run-1",
    }
    assert [item["metadata"]["namespace"] for item in found.values()] == [f"gourmetgram-{name}" for name in NAMES]


def test_version_revision_and_run_can_be_asked_of_the_cluster() -> None:
    """Without a look into Git; the run is not in the pods, since the same image again need not restart them."""
    made = manifest(promoted(ONE), "production")
    annotations = {"leasehold/model-version": "1", "leasehold/revision": ONE.revision}
    assert made["metadata"]["annotations"] == {**annotations, "leasehold/run": "run-1"}
    assert made["spec"]["template"]["metadata"]["annotations"] == annotations
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert metadata["labels"]["app.kubernetes.io/version"] == "1"


def test_the_selector_is_the_same_for_all_releases() -> None:
    """Kubernetes refuses another one for a Deployment that exists."""
    selectors = [manifest(promoted(item), "production")["spec"]["selector"] for item in (ONE, TWO)]
    assert selectors[0] == selectors[1] == {"matchLabels": {"app.kubernetes.io/name": "gourmetgram-app"}}


def test_a_pod_is_hardened_as_the_restricted_standard_has_it() -> None:
    """A model server needs nothing of the node, of the API and of its own file system."""
    pod = manifest(promoted(ONE), "production")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "runAsGroup": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert not pod["automountServiceAccountToken"]


def test_probes_ports_and_grace_follow_the_contract_of_an_image() -> None:
    """Examples/model/README.md: port 8000, /healthz, 30 s to leave."""
    spec = manifest(promoted(ONE), "production")["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] == 60
    assert pod["terminationGracePeriodSeconds"] == 30
    assert spec["progressDeadlineSeconds"] > 60


def test_an_old_pod_leaves_only_when_a_new_one_serves() -> None:
    """No request is lost by a promotion or a revert."""
    spec = manifest(promoted(ONE), "production")["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == spec["selector"]
    # Kubernetes' own default leaves them for five minutes at a node that is gone.
    assert {entry["tolerationSeconds"] for entry in spec["template"]["spec"]["tolerations"]} == {30}


def test_limits_come_from_the_settings() -> None:
    """Each environment has its own."""
    larger = replace(SETTINGS.environments[2], limits=Quantities("2", "1Gi"))
    settings = replace(SETTINGS, environments=(*SETTINGS.environments[:2], larger))
    (container,) = manifest(promoted(ONE), "production", settings=settings)["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "200m", "memory": "128Mi"},
        "limits": {"cpu": "2", "memory": "1Gi"},
    }


def test_the_number_of_pods_is_left_to_an_autoscaler() -> None:
    """Git and the autoscaler would take turns otherwise."""
    free = tuple(replace(environment, replicas=None) for environment in SETTINGS.environments)
    settings = replace(SETTINGS, environments=free)
    assert manifest(promoted(ONE), "production")["spec"]["replicas"] == 2
    assert "replicas" not in manifest(promoted(ONE), "production", settings=settings)["spec"]


def test_an_environment_that_runs_nothing_has_no_manifest() -> None:
    """It is not created before its image exists."""
    assert rendered(SETTINGS, empty(NAMES)) == {}
    assert set(rendered(SETTINGS, run(empty(NAMES), *built(ONE)))) == {"environments/staging/deployment.yaml"}
    assert rendered(SETTINGS, run(empty(NAMES), *built(ONE), ended(ONE, FAILED))) == {}


def test_production_has_no_route_until_it_runs_something() -> None:
    """The canary alone does not answer production's requests: nobody has approved it."""
    assert weights(run(empty(NAMES), *built(ONE), ended(ONE))) is None
    assert weights(run(empty(NAMES), *built(ONE), ended(ONE), approved(ONE))) is not None


def test_the_canary_takes_its_share_of_productions_requests() -> None:
    """By namespace, through the service's name, which is the same in both."""
    state = run(promoted(ONE), *built(TWO), ended(TWO))
    assert weights(state) == {"gourmetgram-production": 90, "gourmetgram-canary": 10}
    assert weights(run(state, reverted(TWO))) == {"gourmetgram-production": 90, "gourmetgram-canary": 10}


def test_a_canary_that_has_never_served_takes_no_share() -> None:
    """An environment that was added later: its first pods may still start, and requests would find nobody."""
    state = run(promoted(ONE), *built(TWO), ended(TWO))
    staging, canary, production = state.environments
    added = replace(state, environments=(staging, replace(canary, passed=canary.passed[-1:]), production))
    assert weights(added) == {"gourmetgram-production": 100}
    assert weights(run(added, approved(TWO))) == {"gourmetgram-production": 90, "gourmetgram-canary": 10}
    nothing = replace(state, environments=(staging, replace(canary, passed=()), production))
    assert weights(nothing) == {"gourmetgram-production": 100}


def test_without_a_share_or_a_canary_production_answers_alone() -> None:
    """A weight of nought is no reference to a namespace that may not be granted."""
    assert SETTINGS.route is not None
    none = replace(SETTINGS, route=replace(SETTINGS.route, canary_weight=0))
    assert weights(promoted(ONE), none) == {"gourmetgram-production": 100}
    two = replace(SETTINGS, environments=(SETTINGS.environments[0], SETTINGS.environments[2]))
    names = ("staging", "production")
    state = run(empty(names), *built(ONE), ended(ONE), approved(ONE))
    assert weights(state, two) == {"gourmetgram-production": 100}
    assert weights(promoted(ONE), replace(SETTINGS, route=None)) is None


def test_the_route_is_one_of_the_gateway_apis() -> None:
    """Against the definition that the platform installs, in which a field that is not there is an error."""
    versions = {item["name"]: item for item in json.loads(DEFINITION.read_text())["spec"]["versions"]}
    schema = closed(versions["v1"]["schema"]["openAPIV3Schema"])
    route = manifest(promoted(ONE), "production", "route.yaml")
    jsonschema.validate(route, schema)
    assert route["metadata"]["namespace"] == "gourmetgram-production"
    assert route["spec"]["parentRefs"] == [{"name": "leasehold", "namespace": "ingress", "sectionName": "https"}]
    assert route["spec"]["hostnames"] == ["app.example.com"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**route, "spec": {**route["spec"], "host": "x"}}, schema)


def test_the_same_state_gives_the_same_text() -> None:
    """Git and Argo CD would see changes otherwise where there are none."""
    assert rendered(SETTINGS, promoted(ONE, TWO)) == rendered(SETTINGS, promoted(ONE, TWO))
    assert rendered(SETTINGS, promoted(ONE))["environments/production/route.yaml"].startswith(
        "# Written by the pipeline from release.json beside it"
    )


WORDS = "no|NULL|1|1.5|0x1f||a: b|a #b|- a|12e3|é|a\nb|x:|=|~|2026-01-31|*a|plain|quay.io:5000/a|/healthz|1_000|a:|.inf"
VALUES: tuple[Any, ...] = (True, False, 0, -3, None, [], {}, [{"a": [1, {"b": "c"}], "d": {}}], {"x": {"y": ["z"]}})


@pytest.mark.parametrize("value", [*WORDS.split("|"), f"registry/a@{ONE.digest}", *VALUES])
def test_the_text_means_what_was_given(value: Any) -> None:
    """YAML takes many words for something else than text: a version 1 is no number, a label `no` is no truth."""
    given = {"key": value, "list": value if isinstance(value, list) else [value]}
    assert yaml.safe_load(text(given)) == given


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"image": "app:latest"}, "without a tag"),
        ({"image": f"registry/app@{ONE.digest}"}, "without a tag"),
        ({"application": "App"}, "lower case"),
        ({"service_port": 0}, "from 1 to 65535"),
        ({"start_seconds": 0}, "1 or more"),
        ({"environments": SETTINGS.environments[:1]}, "two or more"),
        ({"environments": (SETTINGS.environments[0], SETTINGS.environments[0])}, "of its own"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, Any], rule: str) -> None:
    """Before they are in Git, where only Argo CD would say so."""
    with pytest.raises(ValueError, match=rule):
        replace(SETTINGS, **changed)


def test_quantities_replicas_and_shares_have_bounds() -> None:
    """As above, for the parts."""
    for cpu, memory in (("half", "1Gi"), ("1", "1GB"), ("0m", "1Gi"), ("1", "0")):
        with pytest.raises(ValueError, match="must be a number of"):
            Quantities(cpu, memory)
    with pytest.raises(ValueError, match="null where an autoscaler decides"):
        replace(SETTINGS.environments[0], replicas=0)
    assert SETTINGS.route is not None
    bad: dict[str, dict[str, Any]] = {
        "50 percent": {"canary_weight": 51},
        "name the hosts": {"hostnames": ()},
        "in lower case": {"hostnames": ("A",)},
    }
    for rule, part in bad.items():
        with pytest.raises(ValueError, match=rule):
            replace(SETTINGS.route, **part)
