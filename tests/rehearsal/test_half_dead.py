"""Refresh, destroy and recover when part of the world is dead, gone or unknown: they end, do what can be, and say why.

The tests run in the order of the file, on one small deployment.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openstack
import pytest
import yaml

from rehearsal.cloud import Cloud
from rehearsal.engine.state import lock
from rehearsal.paths import Root
from tests.environments import changed
from tests.rehearsal.cluster import Machines
from tests.rehearsal.faulty import marks
from tests.rehearsal.stack import Run, Stack, fresh, small

SECONDS = 600.0
"""Bound for any of these commands on the small environment; a hang would be longer."""
SUBNET = "openstack:networking/subnet:Subnet"


def ids(cloud: Cloud) -> dict[str, set[str]]:
    return {kind: {thing["id"] for thing in things} for kind, things in cloud.inventory().items()}


def recorded(stack: Stack) -> set[str]:
    """URNs of cloud objects in the state."""
    return {item["urn"] for item in json.loads(stack.state.read_text())["resources"] if "$openstack:" in item["urn"]}


def bounded(stack: Stack, *words: str, code: int = 0) -> Run:
    begin = time.monotonic()
    done = stack.run(*words, code=code)
    assert time.monotonic() - begin < SECONDS
    assert "Traceback" not in done.err
    return done


@contextmanager
def wrong_credential(cloud: Cloud) -> Iterator[None]:
    """Expired, deleted or mistyped: the site's answer is the same."""
    path = cloud.clouds_yaml
    before = path.read_text()
    entries: dict[str, Any] = yaml.safe_load(before)
    for entry in entries["clouds"].values():
        entry["auth"]["application_credential_secret"] = "wrong"
    path.write_text(yaml.safe_dump(entries))
    yield
    path.write_text(before)


@pytest.fixture(scope="module")
def stack(root: Root, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with fresh(root, cloud, "dead", tmp_path_factory.mktemp("dead"), small()) as stack:
        yield stack


@pytest.fixture(scope="module")
def older(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the state from the middle of the `up` that made everything."""
    copy = tmp_path_factory.mktemp("older") / "state.json"
    running = stack.start("up")
    while not (stack.state.exists() and f'"type": "{SUBNET}"' in stack.state.read_text()):
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    shutil.copyfile(stack.state, copy)
    out, err = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, out + err
    assert len(json.loads(copy.read_text())["resources"]) < len(json.loads(stack.state.read_text())["resources"])
    return copy


@pytest.mark.usefixtures("older")
def test_a_lock_of_the_living_is_respected(stack: Stack) -> None:
    """Two at once would make everything twice."""
    with lock(stack.state.with_suffix(".lock")):
        done = bounded(stack, "recover", code=1)
    assert "is held by process" in done.err
    assert "end it first" in done.err


@pytest.mark.usefixtures("older")
def test_a_refused_credential_changes_nothing_and_is_named_for_every_object(stack: Stack, cloud: Cloud) -> None:
    """Nothing is taken for gone because nobody may look at it."""
    before, there = recorded(stack), ids(cloud)
    with wrong_credential(cloud):
        for command in ("refresh", "destroy", "up"):
            done = bounded(stack, command, code=1)
            errors = [line for line in done.err.splitlines() if line.startswith("error: urn:")]
            assert errors
            assert all("check clouds.yaml and the credential" in line for line in errors)
            assert all(urn in done.err for urn in before), done.err
            assert f"run `{command}` again" in done.err
            assert recorded(stack) == before
    assert ids(cloud) == there


def test_an_older_state_is_completed_by_marks_and_nothing_is_made_twice(
    stack: Stack, cloud: Cloud, older: Path
) -> None:
    """The server goes on running; its volume stays attached."""
    there = ids(cloud)
    shutil.copyfile(older, stack.state)
    bounded(stack, "recover")
    assert ids(cloud) == there
    assert set(marks(cloud).values()) == {1}
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out


@pytest.mark.long
def test_dead_machines_and_an_older_state_do_not_keep_anything_from_being_removed(
    stack: Stack, cloud: Cloud, older: Path
) -> None:
    """Nothing is asked of a machine; what the copy of the state does not know is found by its mark."""
    Machines(cloud, stack.root, stack.name).kill("node1")
    bounded(stack, "refresh")
    shutil.copyfile(older, stack.state)
    bounded(stack, "destroy")
    assert not marks(cloud), marks(cloud)


@pytest.mark.long
def test_what_was_deleted_by_hand_counts_as_done(stack: Stack, cloud: Cloud) -> None:
    """Somebody tidied up in the site's web page."""
    tree = small()
    tree["infra"]["nodes"]["node1"]["volumes"] = []
    stack.write(tree)
    stack.state.unlink(missing_ok=True)
    stack.run("up")
    site: Any = openstack.connect()
    for server in site.compute.servers():
        site.compute.delete_server(server)
        site.compute.wait_for_delete(server)
    for network in site.network.networks(project_id=site.current_project_id):
        for port in site.network.ports(network_id=network.id):
            site.network.delete_port(port)
        site.network.delete_network(network)
    done = bounded(stack, "refresh")
    assert "it is gone" in done.out
    bounded(stack, "destroy")
    assert not marks(cloud), marks(cloud)


def reserved() -> dict[str, Any]:
    """The small environment on a lease."""
    tree = changed(small(), {"infra.leases.short": {"flavor": "m1.small", "count": 1, "hours": 2}})
    node = tree["infra"]["nodes"]["node1"]
    tree["infra"]["nodes"]["node1"] = {k: v for k, v in node.items() if k != "flavor"} | {"lease": "short"}
    return tree


@pytest.mark.long
@pytest.mark.parametrize("command", ["destroy", "up"])
def test_a_lease_that_is_gone_takes_only_its_servers_along(stack: Stack, cloud: Cloud, command: str) -> None:
    """Blazar deletes the servers on it; `destroy` ends, and `up` makes a new lease."""
    stack.write(reserved())
    stack.state.unlink(missing_ok=True)
    stack.run("up")
    volumes = ids(cloud)["volumes"]
    admin = cloud.admin()
    base = admin.session.get_endpoint(service_type="reservation", interface="public")
    for lease in cloud.inventory()["leases"]:
        admin.session.delete(f"{base}/leases/{lease['id']}")
    bounded(stack, "refresh")
    bounded(stack, command)
    if command == "up":
        assert ids(cloud)["volumes"] == volumes
        assert set(marks(cloud).values()) == {1}
        bounded(stack, "destroy")
    assert not marks(cloud), marks(cloud)


@pytest.mark.long
def test_a_lost_state_is_made_anew_from_marks_and_data_stays(stack: Stack, cloud: Cloud) -> None:
    """The keys were in it, so the server is made anew; its ports, its addresses and its volume are not."""
    stack.write(small())
    stack.state.unlink(missing_ok=True)
    stack.run("up")
    there = ids(cloud)
    stack.state.unlink()
    bounded(stack, "recover")
    now = ids(cloud)
    assert {kind for kind in now if now[kind] != there[kind]} <= {"servers"}
    assert set(marks(cloud).values()) == {1}
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out
    bounded(stack, "destroy")
    assert not marks(cloud), marks(cloud)
