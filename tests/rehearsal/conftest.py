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
from tests.environments import dev
from tests.rehearsal.cluster import Kubectl, Machines
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
def dev_stack(root: Root, cloud: Cloud) -> Stack:  # noqa: ARG001  the cloud must run
    """The shipped environment, to be deployed unchanged; tests that change it write their own file."""
    return Stack(root, "dev", PROJECT / "Pulumi.dev.yaml")


@pytest.fixture(scope="session")
def first_cluster_up(cloud: Cloud, dev_stack: Stack) -> Run:
    """The shipped environment, unchanged, on an empty cloud: machines and cluster."""
    cloud.reset()
    dev_stack.state.unlink(missing_ok=True)
    return dev_stack.run("up")


@pytest.fixture(scope="session")
def cluster(first_cluster_up: Run, dev_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The deployed cluster, with a file of its own that tests change and put back."""
    assert first_cluster_up.code == 0
    stack = Stack(dev_stack.root, "dev", tmp_path_factory.mktemp("cluster") / "Pulumi.dev.yaml")
    stack.write(dev())
    yield stack
    stack.run("destroy", code=None)


@pytest.fixture(scope="session")
def kubectl(cluster: Stack) -> Kubectl:
    """kubectl as an operator, by the stack's kubeconfig."""
    return Kubectl.of(cluster)


@pytest.fixture(scope="session")
def machines(cluster: Stack, cloud: Cloud) -> Machines:
    """The machines of the deployed cluster."""
    return Machines(cloud, cluster.root, cluster.name)
