"""The main job, first half: the machines of the shipped environment, against real OpenStack services.

The tests run in the order of the file, on one deployment, as a team would use it.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehearsal.cloud import Cloud
from rehearsal.paths import Root
from tests.environments import DELETE, changed
from tests.rehearsal.stack import Run, Ssh, Stack, machines_only, ssh_of

NODES = {"node1": "192.168.1.11", "node2": "192.168.1.12", "node3": "192.168.1.13", "gpu1": "192.168.1.14"}
NODE4 = {"role": "agent", "address": "192.168.1.20", "lease": "platform", "image": "CC-Ubuntu24.04"}


@pytest.fixture(scope="module")
def before(cloud: Cloud) -> dict[str, list[dict[str, Any]]]:
    return cloud.inventory()


@pytest.fixture(scope="module")
def first(before: dict[str, Any], root: Root, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stack, Run]:  # noqa: ARG001  the inventory is taken first
    stack = Stack(root, "dev", tmp_path_factory.mktemp("dev") / "Pulumi.dev.yaml")
    stack.write(machines_only())
    return stack, stack.run("up")


@pytest.fixture(scope="module")
def first_up(first: tuple[Stack, Run]) -> Run:
    return first[1]


@pytest.fixture(scope="module")
def stack(first: tuple[Stack, Run]) -> Iterator[Stack]:
    """The deployed stack; tests change its file."""
    stack, up = first
    assert up.count("create") == 43
    yield stack
    stack.run("destroy", code=None)


@pytest.fixture(scope="module")
def ssh(stack: Stack) -> Ssh:
    return ssh_of(stack)


def servers(cloud: Cloud) -> dict[str, dict[str, Any]]:
    return {server["name"].removeprefix("dev-"): server for server in cloud.inventory()["servers"]}


def addresses(cloud: Cloud) -> dict[str, list[str]]:
    """Fixed addresses by port, of every node."""
    ports = cloud.admin().network.ports()
    return {p.name: sorted(a["ip_address"] for a in p.fixed_ips) for p in ports if p.name.startswith("dev-")}


def logins(ssh: Ssh) -> int:
    """Sessions that the four sshds accepted so far, this one's own included."""
    count = "sudo journalctl -q -t sshd --no-pager | grep -c 'Accepted publickey'"
    return sum(int(ssh.run(node, count)) for node in NODES)


def test_the_leases_are_active_at_blazar(stack: Stack, cloud: Cloud) -> None:
    """What the outputs say is what the site says."""
    leases = {lease["name"]: lease for lease in cloud.inventory()["leases"]}
    assert {name: lease["status"] for name, lease in leases.items()} == {
        "leasehold-dev-platform": "ACTIVE",
        "leasehold-dev-gpu": "ACTIVE",
    }
    for name, facts in stack.outputs()["leases"].items():
        assert facts["id"] == leases[f"leasehold-dev-{name}"]["id"]
        assert facts["status"] == "ACTIVE"


def test_every_server_is_active_on_its_reserved_flavor(stack: Stack, cloud: Cloud) -> None:
    """An unreserved flavor would not boot at KVM@TACC."""
    flavors = {name: facts["flavor_id"] for name, facts in stack.outputs()["leases"].items()}
    found = servers(cloud)
    assert set(found) == set(NODES)
    admin = cloud.admin()
    for name, server in found.items():
        assert server["status"] == "ACTIVE"
        flavor = admin.compute.get_server(server["id"]).flavor
        assert flavors["gpu" if name == "gpu1" else "platform"] in (
            flavor.id,
            flavor.original_name or "",
            flavor.name.split(":")[-1],
        )


def test_ssh_reaches_each_node_through_the_bastion_with_its_pinned_key(stack: Stack, ssh: Ssh) -> None:  # noqa: ARG001
    """With the client's own strict checking, from the stack outputs alone."""
    assert {ssh.run(node, "hostname") for node in NODES} == set(NODES)


def test_node_names_resolve_on_every_node(ssh: Ssh) -> None:
    """Written at birth, for all nodes of the environment."""
    for node in NODES:
        answer = ssh.run(node, f"for n in {' '.join(NODES)}; do echo $n $(getent ahostsv4 $n | head -1); done")
        assert {line.split()[0]: line.split()[1] for line in answer.splitlines()} == NODES


def test_the_data_volume_is_a_block_device_where_the_outputs_say(stack: Stack, ssh: Ssh) -> None:
    """The cluster layer formats and mounts it there."""
    for host in stack.outputs()["hosts"]:
        for volume in host["volumes"]:
            size = ssh.run(host["name"], f"sudo blockdev --getsize64 {volume['device']}")
            assert int(size) == 50 << 30


def test_a_second_up_changes_nothing_and_opens_no_ssh_connection(stack: Stack, ssh: Ssh) -> None:
    """What is there is not done again."""
    count = logins(ssh)
    again = stack.run("up", "--expect-no-changes")
    assert "nothing changed" in again.out
    # Counting is one login on each of the three inner nodes, and four on the bastion, which carries them all.
    assert logins(ssh) - count == len(NODES) + (len(NODES) - 1)


def test_only_ssh_for_administrators_and_web_for_users_answers_from_outside(
    stack: Stack, cloud: Cloud, ssh: Ssh
) -> None:
    """Closed by default: a port that nothing names is dropped, wherever one asks from."""
    address = stack.outputs()["floating_ips"]["kvm"]
    ssh.run("node1", "for p in 80 443 8080 6443; do sudo systemd-run -q python3 -m http.server $p; done")
    time.sleep(1)
    outsider = ["ip", "netns", "exec", cloud.outsider()]

    def answers(port: int, start: list[str]) -> bool:
        probe = f"exec 3<>/dev/tcp/{address}/{port}"
        done = subprocess.run([*start, "timeout", "3", "bash", "-c", probe], capture_output=True, check=False)
        return done.returncode == 0

    ports = (22, 80, 443, 2379, 6443, 8080, 10250)
    assert {port for port in ports if answers(port, [])} == {22, 80, 443}
    assert {port for port in ports if answers(port, outsider)} == {80, 443}


def test_no_secret_is_in_clear_in_state_reports_logs_or_process_lists(stack: Stack, first_up: Run) -> None:
    """The login key stands for all; host keys are in nobody's reach but the machine's own."""
    key = stack.outputs(secrets=True)["ssh_private_key"]
    canary = key.splitlines()[3]
    assert len(canary) > 20
    places = [first_up.out, first_up.err, *(p.read_text() for p in stack.root.stacks.iterdir() if p.is_file())]
    places.append(stack.run("preview", "--json").out)
    places.append(stack.run("outputs").out)
    places.append(subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout)
    assert not [place[:80] for place in places if canary in place or "BEGIN OPENSSH" in place]


def test_every_cloud_object_carries_the_mark_of_its_resource(stack: Stack, cloud: Cloud) -> None:
    """Audits and recovery find objects by it."""
    state = json.loads(stack.state.read_text())
    marks = set()
    for kind, objects in cloud.inventory().items():
        for found in objects:
            if kind in ("servers", "volumes"):
                marks.add(found["metadata"]["leasehold-urn"])
            elif str(found.get("description", "")).startswith("urn:"):
                marks.add(found["description"])
    urns = {urn for urn in json.dumps(state).split('"') if urn.startswith("urn:pulumi:dev::")}
    assert marks
    assert marks <= urns


def test_preview_shows_a_change_with_its_reason_and_touches_nothing(stack: Stack) -> None:
    """What a reviewer reads in the pull request."""
    state = stack.state.read_bytes()
    stack.write(changed(machines_only(), {"infra.nodes.node2.lease": DELETE, "infra.nodes.node2.flavor": "m1.large"}))
    shown = stack.run("preview")
    assert shown.names("replace") >= {"Instance node2"}
    assert "because" in shown.out
    planned = json.loads(stack.run("preview", "--json").out)
    assert planned["counts"]["replace"] == shown.count("replace")
    assert stack.state.read_bytes() == state


def test_a_new_flavor_replaces_only_that_node_and_keeps_addresses_and_data(
    stack: Stack, cloud: Cloud, ssh: Ssh
) -> None:
    """Delete first, same ports, same volume."""
    ssh.run(
        "node2",
        "sudo mkfs.ext4 -q /dev/vdb && sudo mount /dev/vdb /mnt && echo kept | sudo tee /mnt/f && sudo umount /mnt",
    )
    old, held = servers(cloud), addresses(cloud)
    done = stack.run("up")  # the file of the preview above
    assert done.names("replace") == {"Instance node2", "VolumeAttach node2-data-attach", "Command node2-ready"}
    assert done.count("create") == 0
    new = servers(cloud)
    assert {name for name in NODES if old[name]["id"] != new[name]["id"]} == {"node2"}
    assert addresses(cloud) == held
    assert ssh.run("node2", "sudo mount /dev/vdb /mnt && cat /mnt/f && sudo umount /mnt") == "kept"


def test_adding_a_node_updates_nothing_of_the_others(stack: Stack, ssh: Ssh) -> None:
    """Four creates, and no command on the nodes that are there."""
    current = changed(machines_only(), {"infra.nodes.node2.lease": DELETE, "infra.nodes.node2.flavor": "m1.large"})
    stack.write(changed(current, {"infra.nodes.node4": NODE4}))
    done = stack.run("up")
    assert done.names("create") == {
        "Instance node4",
        "Port node4-inner",
        "Port node4-outer",
        "Command node4-ready",
    }
    assert [done.count(op) for op in ("update", "replace", "delete")] == [0, 0, 0]
    assert ssh_of(stack).run("node4", "getent ahostsv4 node1").split()[0] == NODES["node1"]
    assert ssh.run("node3", "hostname") == "node3"


def test_a_renamed_node_is_one_node(stack: Stack, cloud: Cloud) -> None:
    """The machine stays; without `formerly` the site's own port is named as the obstacle."""
    current = changed(machines_only(), {"infra.nodes.node2.lease": DELETE, "infra.nodes.node2.flavor": "m1.large"})
    renamed = changed(current, {"infra.nodes.worker": NODE4})
    stack.write(renamed)
    refused = stack.run("up", code=2)
    assert "infra.nodes.worker.address = 192.168.1.20: held by node4" in refused.err
    old = servers(cloud)["node4"]["id"]
    stack.write(changed(renamed, {"infra.nodes.worker.formerly": ["node4"]}))
    done = stack.run("up")
    assert [done.count(op) for op in ("create", "replace", "delete")] == [0, 0, 0]
    assert servers(cloud)["worker"]["id"] == old


def test_a_removed_node_goes_and_its_volume_stays(stack: Stack, cloud: Cloud) -> None:
    """Data volumes are not the node's."""
    stack.write(changed(machines_only(), {"infra.nodes.node2.lease": DELETE, "infra.nodes.node2.flavor": "m1.large"}))
    done = stack.run("up")
    assert "Instance worker" in done.names("delete")
    assert done.count("create") == 0
    assert set(servers(cloud)) == set(NODES)


def test_a_server_deleted_behind_its_back_comes_back(stack: Stack, cloud: Cloud) -> None:
    """Pulumi.yaml asks for a refresh before every run."""
    connection = cloud.admin()
    victim = servers(cloud)["node3"]["id"]
    connection.compute.delete_server(victim)
    deadline = time.monotonic() + 60
    while "node3" in servers(cloud):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    done = stack.run("up")
    assert "Instance node3" in done.names("create")
    assert set(servers(cloud)) == set(NODES)
    assert ssh_of(stack).run("node3", "hostname") == "node3"


def test_a_lease_that_ended_is_replaced_with_only_what_sat_on_it(stack: Stack, cloud: Cloud) -> None:
    """The GPU's lease ends within days; everything else must not notice."""
    old = servers(cloud)
    lease = next(le for le in cloud.inventory()["leases"] if le["name"] == "leasehold-dev-gpu")
    admin = cloud.admin()
    url = f"{admin.session.get_endpoint(service_type='reservation', interface='public')}/leases/{lease['id']}"
    end = datetime.now(UTC) + timedelta(seconds=61)
    admin.session.put(url, json={"end_date": end.strftime("%Y-%m-%d %H:%M")})
    deadline = time.monotonic() + 120
    while admin.session.get(url).json()["lease"]["status"] != "TERMINATED" or "gpu1" in servers(cloud):
        assert time.monotonic() < deadline
        time.sleep(1)
    done = stack.run("up")
    touched = done.names("create") | done.names("replace") | done.names("update")
    assert touched == {"Lease gpu", "Instance gpu1", "Command gpu1-ready"}
    new = servers(cloud)
    assert {name for name in NODES if old[name]["id"] != new[name]["id"]} == {"gpu1"}


def test_a_swapped_host_key_is_refused_before_a_command_byte_is_sent(stack: Stack, ssh: Ssh) -> None:
    """Someone else's machine on our old address must not get a byte of ours."""
    ssh.run("node3", "ssh-keygen -q -t ed25519 -N '' -f /tmp/other; sudo cp /etc/ssh/ssh_host_ed25519_key /tmp/own")
    ssh.run("node3", "sudo cp /tmp/other /etc/ssh/ssh_host_ed25519_key; sudo systemctl restart ssh")
    assert "verification failed" in ssh.run("node3", "hostname", check=False)

    def unpinned(command: str) -> str:
        anyone = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        words = ["ssh", "-F", str(ssh.config), *anyone, "node3", command]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout

    logins = "sudo journalctl -q -t sshd --no-pager | grep -c 'Accepted publickey'"
    count = int(unpinned(logins))
    urn = next(u for u in stack.state.read_text().split('"') if u.endswith("::node3-ready"))
    running = stack.start("up", "--replace", urn)
    try:
        # It dials on, as it must while a machine boots: see that it does so in vain, then stop it.
        with pytest.raises(subprocess.TimeoutExpired):
            running.communicate(timeout=40)
    finally:
        subprocess.run(["kill", "-INT", str(running.pid)], check=True)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, out + err
    assert int(unpinned(logins)) == count + 1  # this login itself
    unpinned("sudo cp /tmp/own /etc/ssh/ssh_host_ed25519_key; sudo systemctl restart ssh")
    stack.run("up")


def test_destroy_leaves_the_cloud_as_it_was_also_when_it_is_interrupted(
    stack: Stack, cloud: Cloud, before: dict[str, list[dict[str, Any]]]
) -> None:
    """No port, no volume, no address is left to be paid for."""
    running = stack.start("destroy")
    assert running.stdout is not None
    for line in running.stdout:
        if "delete" in line and "Port" in line:
            break
    subprocess.run(["kill", "-9", "--", f"-{running.pid}"], check=True)
    running.communicate(timeout=30)
    stack.run("destroy")
    assert cloud.inventory() == before
