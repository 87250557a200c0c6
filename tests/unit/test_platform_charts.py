"""What we tell the pinned charts and their operators: every key and every field must be one that they have."""

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest

import versions
from mlops import inventory
from tests import pinned_charts
from tests.environments import cluster_only
from tests.unit import graph, platforms

RELEASE = "kubernetes:helm.sh/v3:Release"
BUILT_IN = ("k8s.io", "apps", "batch", "policy", "autoscaling", "core", "helm.sh")
"""Groups, or ends of groups, whose kinds Kubernetes itself has."""


def charts() -> Iterator[versions.Chart]:
    return (value for value in vars(versions).values() if isinstance(value, versions.Chart))


def releases(recorded: graph.Graph) -> Iterator[tuple[versions.Chart, Mapping[str, Any]]]:
    """Chart and values of each release."""
    known = {(chart.name, chart.version): chart for chart in charts()}
    for release in recorded.of(RELEASE).values():
        inputs = graph.unwrapped(release.inputs)
        name = str(inputs["chart"]).rpartition("/")[2]
        yield known[name, inputs["version"]], inputs.get("values") or {}


def custom(recorded: graph.Graph) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """Group, version, kind and the object, of each whose kind an operator brings."""
    for resource in recorded.resources.values():
        package, _, rest = resource.type.partition(":")
        group, _, version = rest.partition(":")[0].rpartition("/")
        if package == "kubernetes" and group and not group.endswith(BUILT_IN):
            yield group, version, rest.partition(":")[2].removesuffix("Patch"), graph.unwrapped(resource.inputs)


@pytest.fixture(params=sorted(platforms.CHANGES))
def recorded(request: pytest.FixtureRequest) -> graph.Graph:
    return platforms.recorded(request.param)


@pinned_charts.needed
def test_every_chart_is_known_in_its_pinned_version() -> None:
    """Facts about another version would prove nothing."""
    missing = [c.file for c in charts() if not (pinned_charts.FOLDER / c.name / c.version / "values.yaml").exists()]
    assert not missing


@pinned_charts.needed
def test_every_key_of_our_values_is_one_of_the_pinned_chart(recorded: graph.Graph) -> None:
    """Helm takes a misspelt key in silence, and the default stays."""
    strange = {c.name: pinned_charts.unknown(c.name, c.version, values) for c, values in releases(recorded)}
    assert not {name: keys for name, keys in strange.items() if keys}


@pinned_charts.needed
def test_the_values_of_the_gpu_charts_too() -> None:
    """They are the cluster's, which the forms of the platform do not have."""
    strange = {c.name: pinned_charts.unknown(c.name, c.version, v) for c, v in releases(graph.record(cluster_only()))}
    assert {versions.DEVICE_PLUGIN.name, versions.DCGM_EXPORTER.name} <= set(strange)
    assert not {name: keys for name, keys in strange.items() if keys}


@pinned_charts.needed
def test_our_values_are_right_by_the_charts_own_schemas(recorded: graph.Graph) -> None:
    """Helm checks them at install, when half of the platform is there already."""
    for chart, values in releases(recorded):
        schema = pinned_charts.schema(chart.name, chart.version)
        if schema is not None:
            jsonschema.validators.validator_for(schema)(schema).validate(values)


@pinned_charts.needed
def test_every_object_of_ours_is_right_by_its_definition_without_unknown_fields(recorded: graph.Graph) -> None:
    """An API server prunes what it does not know, and says nothing."""
    problems = []
    for group, version, kind, item in custom(recorded):
        schema = pinned_charts.closed_schema(group, version, kind)
        where = f"{kind} {item['metadata']['name']}"
        if schema is None:
            problems.append(f"{where}: no pinned chart defines {group}/{version}")
            continue
        found = jsonschema.Draft7Validator(schema).iter_errors(item)
        problems += [f"{where}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in found]
    assert not problems


def test_what_a_component_shows_as_its_values_is_what_it_installs(recorded: graph.Graph) -> None:
    """Other tests look at the values alone, without a graph: they must not look at something else."""
    form = next(name for name in platforms.CHANGES if platforms.recorded(name) is recorded)
    config = platforms.platform(form)
    shown = {
        chart.name: values
        for part in inventory._parts(config)
        if hasattr(part, "example_values")
        for chart, values in part.example_values(config)
    }
    installed = {chart.name: values for chart, values in releases(recorded)}
    assert {name: shapes(shown.get(name)) for name in installed} == {
        name: shapes(values) for name, values in installed.items()
    }


def shapes(value: Any) -> Any:
    """Keys without the values that only a run knows."""
    return {key: shapes(item) for key, item in value.items()} if isinstance(value, dict) else None


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"crds": {"enable": True}}, ["crds > enable"]),
        ({"webhook": {"replicaCount": {"a": 1}}}, ["webhook > replicaCount"]),
        ({"nodeSelector": {"a": "b"}, "config": {"kind": "ControllerConfiguration"}}, []),
    ],
)
@pinned_charts.needed
def test_a_misspelt_key_would_be_found(values: dict[str, Any], path: list[str]) -> None:
    """A test that cannot fail proves nothing."""
    chart = versions.CERT_MANAGER_CHART
    assert pinned_charts.unknown(chart.name, chart.version, values) == path


@pinned_charts.needed
def test_an_unknown_field_would_be_found() -> None:
    """The same for objects, at every depth."""
    schema = pinned_charts.closed_schema("gateway.networking.k8s.io", "v1", "HTTPRoute")
    route: dict[str, Any] = {"metadata": {"name": "x"}, "spec": {"rules": [{"matches": [{"paths": {}}]}]}}
    [error] = jsonschema.Draft7Validator(schema).iter_errors(route)
    assert "'paths' was unexpected" in error.message
