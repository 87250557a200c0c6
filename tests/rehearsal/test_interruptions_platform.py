"""SIGKILL all the way through the shipped environment: at a create and at a delete of every type of resource."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.cloud import Cloud
from rehearsal.paths import Root
from tests.environments import dev
from tests.rehearsal import mortal
from tests.rehearsal.faulty import marks
from tests.rehearsal.services import Platform
from tests.rehearsal.stack import Stack, fresh

pytestmark = pytest.mark.long  # half an hour
MOST = 120
"""Runs; a deployment has some 60 types."""


def created(state: Path) -> set[str]:
    """Types of all that a provider made, of a state."""
    types = {resource["type"] for resource in json.loads(state.read_text())["resources"]}
    return {kind for kind in types if "::" not in kind and not kind.startswith(("leasehold:", "pulumi:"))}


def under_way(state: Path, verb: str) -> set[str]:
    """Types of what a run had begun and not ended when it was killed."""
    pending = json.loads(state.read_text())["pending"]
    return {item["resource"]["type"] for item in pending if item["op"] == verb and not item.get("failed")}


@pytest.fixture
def stack(root: Root, cloud: Cloud, tmp_path: Path) -> Iterator[Stack]:
    with fresh(root, cloud, "dev", tmp_path, dev()) as stack:
        yield stack


def killed_in_every_type(stack: Stack, verb: str, command: str) -> set[str]:
    """Run a command until it ends by itself; the types in whose create or delete it was killed.

    One kill is in the middle of others' creates, too. The next run takes up what they have made: of some types
    nothing is left to be made then.
    """
    file, killed = stack.file.with_name(f"{verb}.types"), set[str]()
    dying = replace(stack, program=("tests.rehearsal.mortal", verb, str(file)))
    for kills in range(MOST):
        ended = dying.run(command, code=None)
        if ended.code == 0:
            print(f"measured: {command}: {kills} kills, in the {verb} of {len(killed)} types", flush=True)
            return killed
        assert ended.code == -signal.SIGKILL, f"{ended.out[-3000:]}\n{ended.err[-3000:]}"
        assert len(mortal.types(file)) == kills + 1
        killed |= mortal.types(file) | under_way(stack.state, verb)
    raise AssertionError(killed)


def test_an_up_and_a_destroy_that_are_killed_in_every_type_of_resource_converge(stack: Stack, cloud: Cloud) -> None:
    """Statement 1: each run takes up what the one before left; nothing is there twice, all works, nothing is left."""
    before = cloud.inventory()
    killed = killed_in_every_type(stack, "create", "up")
    assert created(stack.state) <= killed
    assert set(marks(cloud).values()) == {1}
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out
    with Platform.of(stack, cloud) as platform:
        platform.recovered()
        releases = platform.kubectl.get("secrets", "-A", "-l", "owner=helm,status!=superseded")["items"]
        assert {secret["metadata"]["labels"]["status"] for secret in releases} == {"deployed"}
        with platform.mlflow() as client:
            assert client.create_experiment("after-the-kills")
    # What is in the cluster goes with it: only machines and what they stand on are asked to go.
    assert len(killed_in_every_type(stack, "delete", "destroy")) > 9
    assert cloud.inventory() == before
