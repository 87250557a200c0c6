"""The end of a platform. Runs after every other test of it, on the same deployment."""

from rehearsal.cloud import Cloud
from tests.rehearsal.services import Platform


def test_destroy_leaves_no_volume_or_port_behind(platform: Platform, cloud: Cloud) -> None:
    """What the platform made goes with its cluster; there is no load balancer to begin with."""
    platform.stack.run("destroy")
    left = {kind: objects for kind, objects in cloud.inventory().items() if objects}
    assert not {"servers", "volumes", "ports"} & set(left), left
