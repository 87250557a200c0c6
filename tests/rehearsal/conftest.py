"""One rehearsal for the whole run, in a folder of its own, ended at the end."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cli import isolate
from rehearsal.cloud import Cloud, plan
from rehearsal.environment import EnvironmentFile
from rehearsal.paths import PROJECT, Root
from tests.environments import cluster_only, dev
from tests.rehearsal.cluster import Kubectl, Machines
from tests.rehearsal.services import Platform
from tests.rehearsal.stack import Run, Stack


@pytest.fixture(scope="session")
def root() -> Root:
    """Folder of the tests' rehearsal; LEASEHOLD_TEST_ROOT keeps one between runs."""
    return Root(Path(os.environ.get("LEASEHOLD_TEST_ROOT") or PROJECT / ".rehearsal-test").resolve())


@pytest.fixture(scope="session")
def cloud(root: Root) -> Iterator[Cloud]:
    """A running, empty cloud with the content of the shipped environment."""
    cloud = Cloud(root, lambda text: print(text, flush=True))
    cloud.up(plan(EnvironmentFile.read(PROJECT / "Pulumi.dev.yaml").config))
    cloud.reset()
    for state in root.stacks.glob("*.json") if root.stacks.exists() else ():
        state.unlink()
    isolate(cloud.environment())
    yield cloud
    cloud.down()
    if not os.environ.get("LEASEHOLD_TEST_ROOT"):
        subprocess.run(["rm", "-rf", "--one-file-system", str(root.path)], check=True)


@pytest.fixture(scope="session")
def bare_stack(root: Root, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The shipped environment without its platform, on an empty cloud; tests change its file and put it back."""
    cloud.reset()
    stack = Stack(root, "dev", tmp_path_factory.mktemp("cluster") / "Pulumi.dev.yaml")
    stack.state.unlink(missing_ok=True)
    stack.write(cluster_only())
    return stack


@pytest.fixture(scope="session")
def first_cluster_up(bare_stack: Stack) -> Run:
    """Machines and cluster, from nothing."""
    return bare_stack.run("up")


@pytest.fixture(scope="session")
def cluster(first_cluster_up: Run, bare_stack: Stack) -> Iterator[Stack]:
    """The deployed cluster."""
    assert first_cluster_up.code == 0
    yield bare_stack
    bare_stack.run("destroy", code=None)


@pytest.fixture(scope="session")
def kubectl(cluster: Stack) -> Kubectl:
    """kubectl as an operator, by the stack's kubeconfig."""
    return Kubectl.of(cluster)


@pytest.fixture(scope="session")
def machines(cluster: Stack, cloud: Cloud) -> Machines:
    """The machines of the deployed cluster."""
    return Machines(cloud, cluster.root, cluster.name)


@pytest.fixture(scope="session")
def first_platform_up(cloud: Cloud, root: Root) -> Run:
    """The shipped environment, unchanged, on an empty cloud: machines, cluster and platform."""
    cloud.reset()
    stack = Stack(root, "dev", PROJECT / "Pulumi.dev.yaml")
    stack.state.unlink(missing_ok=True)
    return stack.run("up", code=None)


@pytest.fixture(scope="session")
def platform(
    first_platform_up: Run, cloud: Cloud, root: Root, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    """The deployed platform, with a file of its own that tests change and put back."""
    assert first_platform_up.code == 0, first_platform_up.err[-6000:]
    stack = Stack(root, "dev", tmp_path_factory.mktemp("platform") / "Pulumi.dev.yaml")
    stack.write(dev())
    with Platform.of(stack, cloud) as deployed:
        yield deployed
