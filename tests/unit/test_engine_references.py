"""What a StackReference reads: the outputs of another stack of the same rehearsal, secrets as secrets."""

from pathlib import Path

import pytest

from rehearsal.engine.references import TYPE, StackReferences
from tests.unit.test_engine_toys import PASSPHRASE, World, ops

HUB = """
hub = Toy("hub", size=1)
pulumi.export("open", hub.out)
pulumi.export("key", pulumi.Output.secret("canary-key"))
"""
EDGE = """
hub = pulumi.StackReference("organization/p/dev")
Toy("edge", of=hub.require_output("open"), size=hub.require_output("key").apply(len))
pulumi.export("key", hub.get_output("key"))
pulumi.export("open", hub.get_output("open"))
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.providers[TYPE] = StackReferences(world.root.stacks, "p", PASSPHRASE)
    return world


def test_another_stack_is_read_and_its_secrets_stay_secret(world: World) -> None:
    """A kubeconfig that one stack hands another must not be in the clear in either state."""
    world.up(HUB)
    world.stack = "edge"
    summary = world.up(EDGE)
    assert ops(summary) == {"organization/p/dev": "create", "edge": "create"}
    assert summary.outputs == {"open": "out of hub-1", "key": "[secret]"}
    assert world.engine().outputs(show_secrets=True)["key"] == "canary-key"
    assert "canary-key" not in world.path.read_text()
    assert not world.up().changed


def test_what_the_other_stack_says_now_is_read(world: World) -> None:
    """As the real engine does at every run."""
    world.up(HUB)
    world.stack = "edge"
    world.up(EDGE)
    world.stack = "dev"
    world.up(HUB.replace("canary-key", "another"))
    world.stack = "edge"
    world.up(EDGE, refresh=True)
    assert world.engine().outputs(show_secrets=True)["key"] == "another"


@pytest.mark.parametrize(
    ("name", "cause"), [("organization/p/no", "deploy it first"), ("o/other/dev", "project p only")]
)
def test_a_stack_that_is_not_there_is_named(world: World, name: str, cause: str) -> None:
    """Whoever mistyped it sees what to do."""
    world.up(HUB)
    world.stack = "edge"
    [failure] = world.up(EDGE.replace("organization/p/dev", name)).failures
    assert cause in failure.cause


def test_its_end_leaves_the_other_stack(world: World) -> None:
    """Only what it made goes."""
    world.up(HUB)
    world.stack = "edge"
    world.up(EDGE)
    world.engine().destroy()
    assert world.names() == ["hub"]
