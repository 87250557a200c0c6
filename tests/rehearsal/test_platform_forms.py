"""Other forms of the platform than the shipped one, each deployed for real: a node at home, and one without pauses."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rehearsal.cloud import Cloud
from rehearsal.images import mirror as images
from rehearsal.paths import Root
from tests.environments import DELETE, changed, dev
from tests.rehearsal.cluster import Kubectl
from tests.rehearsal.faulty import marks
from tests.rehearsal.kept import Kept
from tests.rehearsal.services import Platform
from tests.rehearsal.stack import Stack, fresh
from tests.rehearsal.stores import minio

pytestmark = pytest.mark.long  # a deployment each
NODE = {"role": "server", "address": "192.168.1.11", "flavor": "m1.medium", "image": "CC-Ubuntu24.04"}
HOME: Mapping[str, Any] = {
    "infra.leases": {},
    "infra.nodes": {"node1": {**NODE, "volumes": ["node1-data"]}},
    "infra.volumes": {"node1-data": {"size_gb": 50, "type": "ceph-ssd"}},
    "platform.profile": "small",
    "apps": DELETE,
}
"""One node of 4 GiB."""
PARTS: Mapping[str, Any] = {
    **{f"platform.{part}.enabled": False for part in ("registry", "monitoring")},
    **{f"platform.argo.{part}": False for part in ("cd", "workflows", "events")},
}
"""What MLflow does not need."""
STANDBYS: Mapping[str, Any] = {
    **dict.fromkeys(("infra.nodes.gpu1", "infra.leases.gpu", "apps"), DELETE),
    "platform.postgres.instances": 3,
}


@contextmanager
def deployed(
    root: Root, cloud: Cloud, name: str, folder: Path, changes: Mapping[str, Any], **secrets: str
) -> Iterator[Platform]:
    """A form from nothing; it is the same the second time, and leaves nothing behind."""
    with fresh(root, cloud, name, folder, changed(dev(), changes), **secrets) as stack:
        stack.run("up")
        assert "nothing changed" in stack.run("up", "--expect-no-changes").out
        with Platform.of(stack, cloud) as platform:
            platform.recovered()
            yield platform
        stack.run("destroy")
        assert not marks(cloud), marks(cloud)


def log_an_artifact(platform: Platform) -> None:
    """Through the ingress into the database and the object store."""
    with platform.mlflow() as client:
        run = client.create_run(client.create_experiment("at-home")).info.run_id
        client.log_text(run, "kept", "artifact.txt")
        assert [item.path for item in client.list_artifacts(run)] == ["artifact.txt"]


@pytest.mark.parametrize("changes", [HOME, {**HOME, **PARTS}], ids=["all", "mlflow alone"])
def test_the_small_profile_runs_on_one_node_of_4_gib(
    root: Root, cloud: Cloud, tmp_path: Path, changes: Mapping[str, Any]
) -> None:
    """Nobody has two at home. What is left out takes its pods along, and MLflow does not need it."""
    with deployed(root, cloud, "home", tmp_path, changes) as platform:
        [node] = platform.kubectl.get("nodes")["items"]
        pressed = {item["type"] for item in node["status"]["conditions"] if item["status"] == "True"} - {"Ready"}
        assert not pressed
        log_an_artifact(platform)


def test_a_store_that_exists_keeps_artifacts_images_and_databases(root: Root, cloud: Cloud, tmp_path: Path) -> None:
    """A site's own store, which outlives the cluster; none runs inside."""
    with minio(tmp_path / "store", cloud.host_address()) as server:
        store = {"kind": "external", "endpoint": server.endpoint, "prefix": "home"}
        keys = {"object_store_access_key": server.access_key, "object_store_secret_key": server.secret_key}
        changes = {**HOME, "platform.object_store": store}
        with deployed(root, cloud, "outside", tmp_path, changes, **keys) as platform, platform.mlflow() as client:
            claims = platform.kubectl.get("persistentvolumeclaims", "-A")["items"]
            assert "object-store" not in {claim["metadata"]["namespace"] for claim in claims}
            Kept.written(client, platform, tmp_path).check(client, platform, tmp_path)


def test_a_cluster_that_exists_gets_the_platform_and_is_left_as_it_was(
    root: Root, cloud: Cloud, tmp_path: Path
) -> None:
    """Somebody else's machines, by a kubeconfig. Its nodes were not told of a registry, so none is installed."""
    tree = changed(dev(), HOME)
    # These machines reach no registry but the rehearsal's, which only a stack with images is told of.
    names = root.cloud / "images" / "names.json"
    if not names.exists():
        images.offer({}, names)
    bare = {"infra": tree["infra"], "cluster": tree["cluster"], "images": {"mirror": images.serve(cloud, names)}}
    with fresh(root, cloud, "machines", tmp_path, bare) as machines:
        machines.run("up")
        kubectl = Kubectl.of(machines)
        before = kubectl.run("get", "namespaces", "-o", "name")
        theirs = {"kind": "existing", "kubeconfig_file": str(kubectl.kubeconfig)}
        wanted = changed(tree["platform"], {"registry.enabled": False})
        stack = Stack(root, "theirs", tmp_path / "Pulumi.theirs.yaml")
        stack.write({"cluster": theirs, "platform": wanted})
        stack.run("up")
        assert "nothing changed" in stack.run("up", "--expect-no-changes").out
        kubectl.recovered()
        stack.run("destroy")
        assert kubectl.run("get", "namespaces", "-o", "name") == before


def test_a_standby_takes_over_when_the_primary_is_killed(root: Root, cloud: Cloud, tmp_path: Path) -> None:
    """Three instances: nothing acknowledged is lost, and nobody waits for a node."""
    with deployed(root, cloud, "standbys", tmp_path, STANDBYS) as platform, platform.mlflow() as client:
        kept = Kept.written(client, platform, tmp_path)
        first = platform.kubectl.get("clusters.postgresql.cnpg.io", "postgres", "-n", "postgres")
        primary = first["status"]["currentPrimary"]
        platform.kubectl.run("delete", "pod", primary, "-n", "postgres", "--grace-period=0", "--force")
        platform.recovered()
        kept.check(client, platform, tmp_path)
