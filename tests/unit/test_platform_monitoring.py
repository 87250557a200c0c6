"""What Prometheus, Alertmanager and Grafana are told, and what is registered of them."""

import json
from typing import Any

import pytest
import yaml

from config import Images
from mlops import inventory, monitoring
from mlops.monitoring import dashboards, routing, stack
from mlops.scrapes import Scrape, spec
from tests.environments import PROJECT, dev
from tests.unit import graph, platforms
from versions import PROMETHEUS_STACK_CHART

CHART = PROJECT / "rehearsal" / "charts" / "kube-prometheus-stack"
RELEASE = "kubernetes:helm.sh/v3:Release"
RULE = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"
MONITORS = ("kubernetes:monitoring.coreos.com/v1:ServiceMonitor", "kubernetes:monitoring.coreos.com/v1:PodMonitor")
NAMES = stack.Names("grafana-admin-1", "http://webhook.argo-events.svc:12000/alerts")


def chosen(form: str = "shipped", names: stack.Names = NAMES) -> dict[str, Any]:
    return stack.values(platforms.platform(form), Images(), names)


def containers(tree: Any) -> list[dict[str, Any]]:
    """Every `resources` of the values."""
    if not isinstance(tree, dict):
        return []
    own = [tree["resources"]] if "resources" in tree and "limits" in tree["resources"] else []
    return own + [found for value in tree.values() for found in containers(value)]


@pytest.mark.parametrize("form", ["shipped", "small"])
def test_every_part_asks_for_memory_and_has_a_limit(form: str) -> None:
    """A watch that takes the memory of what it watches is worse than none."""
    found = containers(chosen(form))
    assert len(found) == 7
    asked = sum(int(item["requests"]["memory"].removesuffix("Mi")) for item in found)
    assert all(item["limits"]["memory"] for item in found)
    assert asked < (1200 if form == "shipped" else 700)


def test_prometheus_sees_every_object_of_ours() -> None:
    """By default it sees only those that carry the release's label."""
    spec = chosen()["prometheus"]["prometheusSpec"]
    selectors = [key for key in spec if key.endswith("SelectorNilUsesHelmValues")]
    assert len(selectors) == 5
    assert not any(spec[key] for key in selectors)


def test_grafana_lets_in_nobody_but_by_its_login() -> None:
    """No sign-up, no guests, no password in the values, and no cookie without TLS."""
    grafana = chosen()["grafana"]
    ini = grafana["grafana.ini"]
    assert grafana["admin"]["existingSecret"] == "grafana-admin-1"
    assert "adminPassword" not in grafana
    assert ini["auth.anonymous"] == {"enabled": False}
    assert ini["users"]["allow_sign_up"] is False
    assert ini["security"]["cookie_secure"] is True
    assert ini["server"]["root_url"] == "https://grafana.dev.mlops.example.org"


def test_only_the_operator_and_the_watch_itself_have_a_token_of_the_api() -> None:
    """Alertmanager and Grafana meet strangers' data, and need nothing of the API."""
    found = chosen()
    assert found["grafana"]["automountServiceAccountToken"] is False
    assert found["grafana"]["rbac"] == {"create": False}
    assert found["alertmanager"]["serviceAccount"] == {"automountServiceAccountToken": False}
    assert found["alertmanager"]["alertmanagerSpec"]["automountServiceAccountToken"] is False


def test_a_digest_stands_apart_from_the_tag_that_the_operator_reads() -> None:
    """It reads Prometheus' version from the tag, and refuses one with a digest behind it."""
    digest = "sha256:" + "1" * 64
    images = Images(digests={"quay.io/prometheus/prometheus:v3.14.0-distroless": digest})
    spec = stack.values(platforms.platform("shipped"), images, NAMES)["prometheus"]["prometheusSpec"]
    assert spec["image"]["tag"] == "v3.14.0-distroless"
    assert spec["image"]["sha"] == "1" * 64


def test_what_is_outside_is_asked_as_the_environment_says() -> None:
    """Another cluster's exporter, by its address; and only Prometheus may reach its port."""
    [found] = chosen("full")["prometheus"]["prometheusSpec"]["additionalScrapeConfigs"]
    assert found["static_configs"] == [{"targets": ["edge.example.org:9100"]}]
    assert found["scheme"] == "https"
    policy = monitoring.targets(platforms.platform("full").monitoring.targets)
    assert policy["egress"][0]["ports"] == [{"port": 9100, "protocol": "TCP"}]
    assert policy["egress"][0]["to"][0]["ipBlock"]["except"] == ["169.254.169.254/32"]


def test_every_alert_but_the_watchdog_and_those_of_analyses_goes_to_the_webhook() -> None:
    """With a token that is a file: it is not in the values, which Helm keeps."""
    found = routing.config("http://hook/alerts")
    assert found["route"]["receiver"] == routing.ANALYSIS
    silent = [matcher for route in found["route"]["routes"] for matcher in route["matchers"]]
    # The second: an analysis that breaks would start the next one.
    assert silent == ['alertname = "Watchdog"', 'pod =~ "log-analysis-.*"']
    [sent] = found["receivers"][1]["webhook_configs"]
    assert sent["http_config"]["authorization"]["credentials_file"].endswith(f"/{routing.TOKEN}/token")


def test_without_a_webhook_alerts_are_seen_and_go_nowhere() -> None:
    """Alertmanager refuses a receiver that is not there."""
    found = routing.config(None)
    assert found["receivers"] == [{"name": routing.NOWHERE}]
    assert found["route"]["receiver"] == routing.NOWHERE


def test_a_target_says_who_it_is_and_keeps_what_it_says_of_others() -> None:
    """An alert of a failed workflow must name the workflow's namespace, not the controller's."""
    found = spec(Scrape("mlflow", "mlflow", {"app": "mlflow"}, "metrics", token=("secret", "key"), keep=("a", "b.*")))
    [endpoint] = found["endpoints"]
    assert endpoint["honorLabels"] is True
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "mlflow"}]
    assert endpoint["authorization"]["credentials"] == {"name": "secret", "key": "key"}
    assert endpoint["metricRelabelings"][0]["regex"] == "a|b.*"
    assert "podMetricsEndpoints" in spec(Scrape("x", "x", {}, "metrics", of="pods"))


def test_models_do_not_say_whose_their_metrics_are() -> None:
    """What others deploy could otherwise pretend to be another team's."""
    [endpoint] = monitoring.models()["endpoints"]
    assert "honorLabels" not in endpoint


def test_every_part_that_has_metrics_is_watched_and_reached() -> None:
    """A scrape without its flow never answers, and a flow without its scrape is open for nothing."""
    config = platforms.platform("shipped")
    recorded = platforms.recorded("shipped")
    scraped = inventory.scrapes(config)
    assert {f"scrape-{scrape.name}" for scrape in scraped} <= set(recorded.of(*MONITORS))
    reached = {flow.target for flow in inventory.flows(config) if flow.source == monitoring.SPACE}
    assert {scrape.space for scrape in scraped} <= reached


def test_objects_of_ours_come_after_the_release_that_brings_their_kinds() -> None:
    """The API does not know them before."""
    recorded = platforms.recorded("shipped")
    found = recorded.of(RULE, *MONITORS).values()
    assert found
    assert all(any(urn.endswith("Release::monitoring") for urn in item.request.dependencies) for item in found)


def test_the_ends_of_leases_become_rules() -> None:
    """The cloud says when a lease ends; nothing in the cluster knows it."""
    recorded = graph.record(dev(), preview=False, **platforms.TEXTS)
    spec = graph.unwrapped(recorded.one(RULE, "alerts").inputs)["spec"]
    [leases] = [group["rules"] for group in spec["groups"] if group["name"] == "leasehold-leases"]
    recorded_ends = {rule["labels"]["lease"]: rule["expr"] for rule in leases if "record" in rule}
    assert recorded_ends == {"gpu": "vector(1795824000)", "platform": "vector(1795824000)"}


def test_the_user_interfaces_are_behind_a_login() -> None:
    """Prometheus and Alertmanager have none of their own."""
    recorded = platforms.recorded("shipped")
    routes = recorded.of("kubernetes:gateway.networking.k8s.io/v1:HTTPRoute")
    for label, guarded in (("prometheus", True), ("alertmanager", True), ("grafana", False)):
        [rule] = graph.unwrapped(routes[f"monitoring-{label}-route"].inputs)["spec"]["rules"]
        kinds = {item["type"] for item in rule.get("filters", [])}
        assert ("ExtensionRef" in kinds) is guarded


def test_a_new_rotation_is_a_new_secret_of_grafana() -> None:
    """It reads its password only when it starts, and starts anew when the Secret's name changes."""
    config = platforms.tree("small")
    config["platform"]["rotation"] = 2
    recorded = graph.record(config, preview=False, **platforms.TEXTS)
    secret = recorded.one("kubernetes:core/v1:Secret", "monitoring-grafana-admin-2")
    assert graph.is_secret(secret.inputs["stringData"]) or graph.is_secret(
        secret.inputs["stringData"]["admin-password"]
    )


def test_dashboards_fit_the_grid_and_are_known_by_a_fixed_name() -> None:
    """A uid that changes breaks every link to it."""
    for board in map(dashboards.render, dashboards.ALL):
        assert board["uid"].startswith("leasehold-")
        places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]}
        assert len(places) == len(board["panels"])
        assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= dashboards.COLUMNS for p in board["panels"])
    assert {json.loads(text)["title"] for text in dashboards.files().values()} == {
        "Platform",
        "Model serving",
        "Leases and GPUs",
    }


def test_the_stand_in_takes_the_same_values_and_refuses_others() -> None:
    """A rehearsal never ignores a value that the published chart would honour."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (about["name"], about["version"]) == (PROMETHEUS_STACK_CHART.name, PROMETHEUS_STACK_CHART.version)
    default = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert closed(schema, default)
    assert not unknown(chosen(), default)


def closed(schema: dict[str, Any], default: Any) -> bool:
    """Whether a schema takes exactly the keys of the defaults, at every depth where there are some."""
    if not isinstance(default, dict) or not default:
        return True
    properties = {key: value for key, value in schema["properties"].items() if key != "global"}
    same = schema["additionalProperties"] is False and set(properties) == set(default)
    return same and all(closed(properties[key], value) for key, value in default.items())


def unknown(tree: Any, default: Any, path: str = "") -> list[str]:
    """Keys that the defaults do not have; what is empty there takes anything."""
    if not isinstance(tree, dict) or not default:
        return []
    found = [f"{path}{key}" for key in tree if key not in default]
    return found + [
        deep for key in tree if key in default for deep in unknown(tree[key], default[key], f"{path}{key}.")
    ]
