"""The parts that are off by default, turned on: each runs, asks for its password, and goes away again."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from tests.environments import changed, dev
from tests.rehearsal.cluster import until
from tests.rehearsal.models import PIXELS
from tests.rehearsal.services import Platform

pytestmark = pytest.mark.long  # images of their own, and two deployments
PARTS = {
    "apps.load_test": {"bodies": [{"pixels": [0] * PIXELS}]},
    "apps.exploration": {"image": "docker.io/leasehold/exploration:1"},
    "apps.ray": {"workers": 1, "memory_gb": 2},
}
SERVICES = ("load-test", "exploration", "ray")


@pytest.fixture(scope="module")
def extras(platform: Platform) -> Iterator[Platform]:
    """The shipped environment with all of them; afterwards without."""
    platform.stack.write(changed(dev(), PARTS))
    try:
        platform.stack.run("up")
        with Platform.of(platform.stack, platform.machines.cloud) as more:
            yield more
    finally:
        platform.stack.write(dev())
        platform.stack.run("up")


@pytest.mark.parametrize("service", SERVICES)
def test_each_shows_its_page_to_whoever_has_the_password_and_to_nobody_else(extras: Platform, service: str) -> None:
    """Whoever starts a load, or code on Ray's nodes, must be known."""
    assert extras.get(service).status_code == HTTPStatus.UNAUTHORIZED
    until("its page", lambda: extras.get(service, login=True).status_code == HTTPStatus.OK, 120, 2)


def test_rays_nodes_are_seen_behind_the_guard(extras: Platform) -> None:
    """The ingress tells Ray the token, which the browser does not have."""

    def alive() -> list[str]:
        answer = extras.get("ray", "/nodes?view=summary", login=True)
        answer.raise_for_status()
        found = answer.json()["data"]["summary"]
        return [node["hostname"] for node in found if node["raylet"]["state"] == "ALIVE"]

    until("head and worker", lambda: len(alive()) == 2, 180, 3)


def test_a_second_up_changes_nothing(extras: Platform) -> None:
    """As without them."""
    assert "nothing changed" in extras.stack.run("up", "--expect-no-changes").out
