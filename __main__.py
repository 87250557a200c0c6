"""From a GPU lease to machines that answer: the whole stack, top-down."""

import gc
import sys
from pathlib import Path

# `platform` is also a module of the standard library: ours is a folder without __init__.py, so that it never
# shadows that one, and its package is found here (docs/decisions/0005-platform-folder.md).
sys.path.append(str(Path(__file__).parent / "platform"))

import pulumi

import config
from infra import Infra, InfraArgs, preflight, rules
from outputs import StackOutputs


def stack() -> None:
    """Settings -> infra -> outputs."""
    settings = config.load([rules.check, preflight.for_stack(pulumi.get_stack())])
    infra = Infra("infra", InfraArgs.of(settings))
    StackOutputs.of(infra).export()


if __name__ == "__main__":
    # The graph is built once and the process ends: collecting its cycles made 1,000 nodes three times slower.
    gc.disable()
    stack()
