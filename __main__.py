"""From a GPU lease to a model in production: the whole stack, top-down."""

import gc
import sys
from pathlib import Path

# `platform` is also a module of the standard library: ours is a folder without __init__.py, so that it never
# shadows that one, and its package is found here (docs/decisions/0005-platform-folder.md).
sys.path.append(str(Path(__file__).parent / "platform"))

import pulumi

import apps.rules
import cluster.rules
import config
import infra.preflight
import infra.rules
import mlops.rules
from apps import Apps, AppsArgs
from cluster import Cluster, ClusterArgs
from infra import Infra, InfraArgs
from mlops import Platform, PlatformArgs
from outputs import StackOutputs


def stack() -> None:
    """Settings -> infra -> cluster -> platform -> apps -> outputs."""
    ask_sites = infra.preflight.for_stack(pulumi.get_stack())
    settings = config.load([infra.rules.check, cluster.rules.check, mlops.rules.check, apps.rules.check, ask_sites])
    wanted = InfraArgs.of(settings)
    machines = Infra("infra", wanted) if wanted else None
    asked = ClusterArgs.of(settings, machines)
    kubernetes = Cluster("cluster", asked) if asked else None
    offered = PlatformArgs.of(settings, machines, kubernetes)
    platform = Platform("platform", offered) if offered else None
    wished = AppsArgs.of(settings, kubernetes, platform)
    models = Apps("apps", wished) if wished else None
    StackOutputs.of(machines, kubernetes, platform, models).export()


if __name__ == "__main__":
    # The graph is built once and the process ends: collecting its cycles made 1,000 nodes three times slower.
    gc.disable()
    stack()
