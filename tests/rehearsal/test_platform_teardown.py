"""The end of a platform. Runs after every other test of it, on the same deployment."""

from rehearsal.cloud import Cloud
from tests.rehearsal.services import Platform


def test_destroy_leaves_no_volume_load_balancer_or_port_behind(platform: Platform, cloud: Cloud) -> None:
    """What the platform made goes with its cluster; the site is left as empty as it was."""
    platform.stack.run("destroy")
    left = {kind: objects for kind, objects in cloud.inventory().items() if objects}
    assert not left
