"""SIGKILL all the way through the shipped environment: in the middle of the first create of every resource type."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cloud import Cloud
from rehearsal.paths import Root
from tests.environments import dev
from tests.rehearsal.faulty import marks
from tests.rehearsal.services import Platform
from tests.rehearsal.stack import Stack, fresh, kill

pytestmark = pytest.mark.long  # half an hour
LOOK = 0.1
"""Seconds between two looks at the state of a run."""
SEED = 20261129
MOMENT = 2.0
"""A kill comes so many seconds after the begin of a create at most."""
MOST = 120
"""Runs; a deployment has some 60 types."""


def beginning(state: Path) -> set[str]:
    """Types of what is being created, by the operations that the state has open."""
    try:
        _, start, rest = state.read_text().rpartition('"pending": [')
        found = json.loads(f"{{{start}{rest}")["pending"]
    except (FileNotFoundError, ValueError):  # not yet, or just being replaced
        return set()
    return {item["resource"]["type"] for item in found if item["op"] == "create" and not item.get("failed")}


def types(state: Path) -> set[str]:
    """Of all that is in a state."""
    return {resource["type"] for resource in json.loads(state.read_text())["resources"]}


@pytest.fixture
def stack(root: Root, cloud: Cloud, tmp_path: Path) -> Iterator[Stack]:
    with fresh(root, cloud, "dev", tmp_path, dev()) as stack:
        yield stack


def killed_at(stack: Stack, known: set[str], pause: float) -> set[str]:
    """Run `up` until it creates something of a new type, and kill it then; these types. None of them: it ended well."""
    running = stack.start("up")
    while running.poll() is None:
        if begun := beginning(stack.state) - known:
            time.sleep(pause)
            kill(running)
            return begun
        time.sleep(LOOK)
    out, err = running.communicate()
    assert running.returncode == 0, f"{out[-3000:]}\n{err[-3000:]}"
    return set()


def test_an_up_that_is_killed_in_every_type_of_resource_converges(stack: Stack, cloud: Cloud) -> None:
    """Statement 1: each run takes up what the one before left; at the end nothing is there twice, and all works."""
    moments = random.Random(SEED)  # noqa: S311  a reproducible choice, no secret
    known: set[str] = set()
    kills = 0
    while begun := killed_at(stack, known, moments.uniform(0, MOMENT)):
        known |= begun
        kills += 1
        assert kills < MOST, known
    seen = {kind for kind in types(stack.state) if "::" not in kind and not kind.startswith(("leasehold:", "pulumi:"))}
    print(f"measured: {kills} kills in the creates of {len(known)} of {len(seen)} types; not seen: {seen - known}")
    assert len(known) > len(seen) / 2
    assert set(marks(cloud).values()) == {1}
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out
    with Platform.of(stack, cloud) as platform:
        platform.recovered()
        releases = platform.kubectl.get("secrets", "-A", "-l", "owner=helm,status!=superseded")["items"]
        assert {secret["metadata"]["labels"]["status"] for secret in releases} == {"deployed"}
        with platform.mlflow() as client:
            assert client.create_experiment("after-the-kills")
