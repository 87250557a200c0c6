"""GPUs and readers: what is registered, and that the charts know every value."""

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_random as random
import pytest
import yaml

import versions
from cluster import gpu, readers
from config import Charts, Reader
from rehearsal.kubernetes import names
from rehearsal.paths import PROJECT
from tests import pinned_charts
from tests.unit import graph
from versions import DCGM_EXPORTER, DEVICE_PLUGIN, Chart

RELEASE, JOB = "kubernetes:helm.sh/v3:Release", "kubernetes:batch/v1:Job"
VALUES = {
    "nvidia-device-plugin": [gpu.device_plugin(None), gpu.device_plugin(4)],
    "dcgm-exporter": [gpu.dcgm_exporter()],
}
CHARTS = [DEVICE_PLUGIN, DCGM_EXPORTER]


def keys(values: Any, default: Any, path: str = "") -> list[str]:
    """Keys of the values that the defaults do not have; what is empty or null there takes anything."""
    if not isinstance(values, dict) or not default:
        return []
    found = [f"{path}{key}" for key in values if key not in default]
    return found + [
        deep for key in values if key in default for deep in keys(values[key], default[key], f"{path}{key}.")
    ]


@pinned_charts.needed
@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_the_published_chart_has_every_value_that_is_set(chart: Chart) -> None:
    """Helm ignores what it does not know; a typing error would only show as a missing effect."""
    for values in VALUES[chart.name]:
        assert not pinned_charts.unknown(chart.name, chart.version, values)


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_the_stand_in_takes_the_same_values_and_says_what_it_is(chart: Chart) -> None:
    """It refuses the values that it does not honour, so that a rehearsal never ignores one."""
    folder = PROJECT / "rehearsal" / "charts" / chart.name
    about = yaml.safe_load((folder / "Chart.yaml").read_text())
    assert (about["name"], about["version"]) == (chart.name, chart.version)
    default = yaml.safe_load((folder / "values.yaml").read_text())
    schema = json.loads((folder / "values.schema.json").read_text())
    assert schema["additionalProperties"] is False
    assert set(default) == set(schema["properties"]) - {"global"}
    assert [keys(values, default) for values in VALUES[chart.name]] == [[]] * len(VALUES[chart.name])
    text = "".join(file.read_text() for file in (folder / "templates").iterdir())
    assert names.GPU_STAND_IN in text
    assert "leasehold/stand-in" in text


def test_the_image_that_proves_a_gpu_is_in_the_rehearsal_too() -> None:
    """Under its upstream name, so that the program does not change."""
    assert versions.SMOKE.tagged == names.CUDA_STAND_IN


def test_shares_of_a_gpu_are_configured_as_the_plugin_reads_it() -> None:
    """Two shares are not two GPUs, so a pod cannot ask for two."""
    config = gpu.device_plugin(4)["config"]
    shared = yaml.safe_load(config["map"][config["default"]])["sharing"]["timeSlicing"]
    assert shared == {"failRequestsGreaterThanOne": True, "resources": [{"name": "nvidia.com/gpu", "replicas": 4}]}
    assert "config" not in gpu.device_plugin(None)


def recorded(build: Callable[[pulumi.Resource], None]) -> graph.Graph:
    return graph.run(lambda: build(random.RandomId("anchor", byte_length=8)))


def gpus(**options: Any) -> graph.Graph:
    return recorded(
        lambda anchor: pulumi.export(
            "x", gpu.Gpu("gpu", gpu.GpuArgs(Charts(), anchor, graph.KUBECONFIG, **options)).urn
        )
    )


def test_every_object_goes_with_the_cluster() -> None:
    """Destroy and outages never ask an API that is gone."""
    everything = {"nodes": ()}
    for found in (gpus(**everything), readers_of()):
        objects = [r for r in found.resources.values() if r.type.startswith("kubernetes:")]
        assert len(objects) > 3
        assert all(item.request.deletedWith.endswith("::anchor") for item in objects)


def test_releases_are_pinned_bounded_and_awaited() -> None:
    """An unnamed or unpinned release differs from run to run."""
    found = gpus().of(RELEASE)
    assert set(found) == {"nvidia-device-plugin", "dcgm-exporter"}
    for name, release in found.items():
        inputs = release.inputs
        assert (inputs["name"], inputs["namespace"], inputs["skipAwait"]) == (name, gpu.NAMESPACE, False)
        assert inputs["version"]
        assert inputs["timeout"] > 0
        assert inputs["values"]["runtimeClassName"] == "nvidia"
    job = gpus().one(JOB, "gpu-smoke")
    assert any("nvidia-device-plugin" in urn for urn in job.request.dependencies)
    container = job.inputs["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}


def test_a_mirror_of_charts_may_be_a_folder() -> None:
    """A site without internet has the packages somewhere."""
    mirror = Charts(mirror="/srv/charts")
    found = recorded(
        lambda anchor: pulumi.export("x", gpu.Gpu("gpu", gpu.GpuArgs(mirror, anchor, graph.KUBECONFIG)).urn)
    ).of(RELEASE)
    inputs = found["dcgm-exporter"].inputs
    assert inputs["chart"] == "/srv/charts/dcgm-exporter-4.8.2.tgz"
    assert "repositoryOpts" not in inputs


def test_the_runtime_class_is_made_only_where_nobody_else_does() -> None:
    """k3s makes it when it finds the toolkit; two owners would fight."""
    token = "kubernetes:node.k8s.io/v1:RuntimeClass"
    assert not gpus().of(token)
    assert set(gpus(make_runtime_class=True).of(token)) == {"nvidia"}


ADMIN = {
    "current-context": "default",
    "clusters": [
        {"name": "default", "cluster": {"server": "https://1.2.3.4:6443", "certificate-authority-data": "CA"}}
    ],
    "users": [{"name": "default", "user": {"client-key-data": "canary"}}],
    "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
}


def readers_of() -> graph.Graph:
    chosen = {"ann": Reader(namespaces=("web", "db")), "bob": Reader(namespaces=("web",))}

    def build(anchor: pulumi.Resource) -> None:
        admin = pulumi.Output.secret(json.dumps(ADMIN))
        made = readers.Readers("readers", readers.ReadersArgs(chosen, "dev", admin, anchor))
        pulumi.export("x", made.urn)

    return recorded(build)


def test_readers_read_in_their_namespaces_and_never_secrets() -> None:
    """A role that can get secrets, or run in a pod, is no reader's."""
    found = readers_of()
    assert set(found.of("kubernetes:rbac.authorization.k8s.io/v1:Role")) == {"web-reader", "db-reader"}
    bindings = found.of("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding")
    assert set(bindings) == {"ann-web", "ann-db", "bob-web"}
    assert {item.inputs["metadata"]["namespace"] for item in bindings.values()} == {"web", "db"}
    for role in found.of("kubernetes:rbac.authorization.k8s.io/v1:Role").values():
        for rule in role.inputs["rules"]:
            assert set(rule["verbs"]) == {"get", "list", "watch"}
            assert not {"secrets", "*", "pods/exec", "serviceaccounts/token"} & set(rule["resources"])
    accounts = found.of("kubernetes:core/v1:ServiceAccount").values()
    assert all(account.inputs["automountServiceAccountToken"] is False for account in accounts)


def test_a_readers_kubeconfig_has_nothing_of_the_administrators_keys() -> None:
    """Same server and certificate, another user."""
    text = readers.render(json.dumps(ADMIN), name="dev-ann", namespace="web", token="t")
    config = json.loads(text)
    assert "canary" not in text
    assert config["users"] == [{"name": "dev-ann", "user": {"token": "t"}}]
    assert config["contexts"][0]["context"]["namespace"] == "web"
    assert config["clusters"][0]["cluster"]["certificate-authority-data"] == "CA"
