"""SIGKILL in the middle: the next `up` converges by itself, and nothing is there twice or left over."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.cloud import Cloud
from rehearsal.paths import Root
from tests.environments import changed
from tests.rehearsal.cluster import Machines
from tests.rehearsal.faulty import marks
from tests.rehearsal.stack import Stack, fresh, kill, small

STEPS = 24
"""Lines that a whole `up` of the small environment prints, one for each resource."""
SEED = 20261121
KILLS = sorted(random.Random(SEED).sample(range(2, STEPS), 10))  # noqa: S311  a reproducible choice, no secret
MANY, LATEST = 100, 10.0
"""Kills of one stack, each at some time before so many seconds of a run."""
KEEP = "mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo kept > /mnt/f && umount /mnt"
READ = "mount /dev/vdb /mnt && cat /mnt/f && umount /mnt"


@pytest.fixture
def stack(root: Root, cloud: Cloud, tmp_path: Path) -> Iterator[Stack]:
    with fresh(root, cloud, "kill", tmp_path, small()) as stack:
        yield stack


def size(inventory: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    return {kind: len(objects) for kind, objects in inventory.items()}


def kill_after(stack: Stack, lines: int, *words: str) -> int:
    """Start a command and kill it, and all it started, when it has reported so many steps; lines seen."""
    running = stack.start(*words)
    assert running.stdout is not None
    seen = 0
    for line in running.stdout:
        seen += line.lstrip().startswith(("+ create", "- delete"))
        if seen >= lines:
            kill(running)
            return seen
    running.communicate(timeout=60)
    return seen


@pytest.fixture(scope="module")
def whole(root: Root, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What an undisturbed `up` makes."""
    with fresh(root, cloud, "kill", tmp_path_factory.mktemp("whole"), small()) as stack:
        assert stack.run("up").count("create") >= STEPS
        return size(cloud.inventory())


# A fixed share of them for every change, the others with the long tests.
@pytest.mark.parametrize(
    "lines", [pytest.param(kill, marks=[pytest.mark.long] * bool(n)) for n, kill in enumerate(KILLS)]
)
def test_an_up_that_was_killed_converges_in_the_next_one(
    stack: Stack, cloud: Cloud, whole: dict[str, int], lines: int
) -> None:
    """Ten random steps, seeded. The killed run may have made what its state does not know."""
    assert kill_after(stack, lines, "up") == lines
    stack.run("up")
    assert size(cloud.inventory()) == whole
    assert set(marks(cloud).values()) == {1}
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out


def test_a_destroy_that_was_killed_leaves_nothing_after_the_next_one(stack: Stack, cloud: Cloud) -> None:
    """Deletions are recorded before they are asked for."""
    before = cloud.inventory()
    stack.run("up")
    kill_after(stack, 6, "destroy")
    stack.run("destroy")
    assert cloud.inventory() == before


def killed_until_done(stack: Stack, moments: random.Random, command: str) -> int:
    """Kill a command at some moment, and begin it again, until it ends before that; how often it was killed."""
    kills = 0
    while True:
        running = stack.start(command)
        try:
            out, err = running.communicate(timeout=moments.uniform(0, LATEST))
        except subprocess.TimeoutExpired:
            kill(running)
            kills += 1
            continue
        assert running.returncode == 0, f"{command} after {kills} kills\n{out[-3000:]}\n{err[-3000:]}"
        return kills


@pytest.mark.long  # half an hour
def test_a_hundred_kills_at_any_moment_leave_nothing_twice_and_lose_nothing(
    stack: Stack, cloud: Cloud, whole: dict[str, int]
) -> None:
    """Statement 1: in an `up`, in the replacement of a node, and in a `destroy`, one stack after another."""
    moments = random.Random(SEED)  # noqa: S311  a reproducible choice, no secret
    machines, before = Machines(cloud, stack.root, stack.name), cloud.inventory()
    kills = dict.fromkeys(("up", "replacement", "destroy"), 0)
    while sum(kills.values()) < MANY:
        for what, flavor in (("up", "m1.small"), ("replacement", "m1.medium")):
            stack.write(changed(small(), {"infra.nodes.node1.flavor": flavor}))
            kills[what] += killed_until_done(stack, moments, "up")
            assert size(cloud.inventory()) == whole, kills
            assert set(marks(cloud).values()) == {1}, kills
            assert "nothing changed" in stack.run("up", "--expect-no-changes").out
            machines.run("node1", KEEP if what == "up" else f"test $({READ}) = kept")
        kills["destroy"] += killed_until_done(stack, moments, "destroy")
        assert cloud.inventory() == before, kills
        print(f"measured: killed so far: {kills}", flush=True)
