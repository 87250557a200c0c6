"""Interruptions while a cluster is made, and input that must be refused on the machine, on one server."""

import hashlib
import random
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

import versions
from rehearsal.cloud import Cloud
from rehearsal.cloud.parts import ARTIFACTS
from rehearsal.paths import Root
from tests.environments import changed
from tests.rehearsal.cluster import Kubectl, Machines, until
from tests.rehearsal.stack import Stack, fresh, kill, small, ssh_of

SEED = 20261121
RANDOM = random.Random(SEED)  # noqa: S311  a reproducible choice, no secret


def one_server() -> dict[str, Any]:
    """One server with a data volume on an unreserved flavor, and k3s on it."""
    tree = small()
    tree["infra"]["volumes"]["node1-data"]["size_gb"] = 3
    return {**tree, "cluster": {"kind": "k3s"}}


@pytest.fixture
def stack(root: Root, cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with fresh(root, cloud, "faults", tmp_path_factory.mktemp("faults"), one_server()) as stack:
        yield stack


@pytest.fixture
def machines(stack: Stack, cloud: Cloud) -> Machines:
    return Machines(cloud, stack.root, stack.name)


def start_until(stack: Stack, machines: Machines, sign: str, *words: str) -> "subprocess.Popen[str]":
    """Start `up`, and return when a shell test holds on the machine."""
    running = stack.start("up", *words)
    deadline = time.monotonic() + 120
    while True:
        assert running.poll() is None, running.communicate()
        try:
            machines.run("node1", sign, timeout=10)
            return running
        except (AssertionError, KeyError, subprocess.SubprocessError):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def assert_whole(stack: Stack, machines: Machines) -> None:
    """The cluster is Ready, every step was done once, and nothing is left to do."""
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out
    Kubectl.of(stack).wait_ready({"node1"})
    runs = machines.run("node1", "journalctl -q --no-pager -t leasehold -o cat | grep '^done: ' | sort | uniq -c")
    counts = {line.split(maxsplit=1)[1]: int(line.split()[0]) for line in runs.splitlines()}
    assert counts
    assert set(counts.values()) == {1}, counts
    assert machines.run("node1", "ls /var/lib/rancher/k3s/server/db/etcd/member | wc -l") == "2"


SIGNS = {
    "while the host is prepared": "ls /var/lib/leasehold/steps/*prepare*",
    "while k3s is fetched": "ls /var/lib/leasehold/steps/*k3s*",
    "while k3s starts": "systemctl is-active k3s | grep -q activating",
}


@pytest.mark.long
def test_machines_that_exist_already_become_a_cluster(
    stack: Stack, machines: Machines, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With their addresses, a key and their pinned host keys; nothing of a cloud is asked."""
    tree = one_server()
    stack.write({"infra": tree["infra"]})
    stack.run("up")
    (host,) = stack.outputs()["hosts"]
    machine = {"role": "server", "address": host["ssh_host"], "private_address": host["address"]}
    machine["host_key"] = host["host_key"].strip()
    key = ssh_of(stack).config.with_name("key")
    own = Stack(stack.root, "own", tmp_path_factory.mktemp("own") / "Pulumi.own.yaml")
    infra = {"kind": "hosts", "machines": {"node1": machine}, "private_key_file": str(key)}
    own.write({"infra": infra, "cluster": {"kind": "k3s"}})
    done = own.run("up")
    assert {"Command node1-ready", "Command node1-prepare", "Command node1-k3s"} <= done.names("create")
    assert "nothing changed" in own.run("up", "--expect-no-changes").out
    nodes = machines.run("node1", "k3s kubectl get nodes --no-headers")
    assert re.match(r"node1 +Ready +control-plane,etcd", nodes)
    own.run("destroy")


def test_runs_killed_while_k3s_installs_converge_in_the_next_one(stack: Stack, machines: Machines) -> None:
    """What runs on the host goes on by itself; the next run finds it, or its result."""
    for sign in SIGNS.values():
        running = start_until(stack, machines, sign)
        time.sleep(RANDOM.random())
        kill(running)
    stack.run("up")
    assert_whole(stack, machines)


@pytest.mark.long
def test_a_host_rebooted_in_the_middle_converges(stack: Stack, machines: Machines) -> None:
    """Long steps are units of the host: they go on after the reboot, and `up` finds their result."""
    running = start_until(stack, machines, SIGNS["while k3s starts"])
    machines.reboot("node1")
    running.communicate(timeout=900)
    stack.run("up")
    assert_whole(stack, machines)


@pytest.mark.long
def test_connections_cut_at_random_moments_converge(stack: Stack, machines: Machines) -> None:
    """Every SSH session of the first minute is cut, at seeded moments: the run may fail, the next one ends it."""
    for _ in range(3):
        running = start_until(stack, machines, "pgrep -f 'sshd: cc'")
        time.sleep(3 * RANDOM.random())
        machines.run("node1", "pkill -9 -f 'sshd: cc'", check=False)
        running.communicate(timeout=900)
    stack.run("up")
    assert_whole(stack, machines)


@pytest.mark.long
def test_an_absent_sshd_is_waited_for(stack: Stack, machines: Machines) -> None:
    """Here for 40 seconds of refused and of dropped connections; the dial limit of 250 tries outlasts 20 minutes."""
    tree = one_server()
    del tree["cluster"]
    stack.write(tree)
    stack.run("up")
    stack.write(one_server())
    drop = "add table inet gone; add chain inet gone in { type filter hook input priority -10; }; "
    drop += "add rule inet gone in tcp dport 22 drop"
    machines.run("node1", f"systemctl stop ssh.socket ssh; pkill -9 sshd; nft -f - <<< '{drop}'", check=False)
    running = stack.start("up")
    time.sleep(20)
    machines.run("node1", "nft delete table inet gone")
    time.sleep(20)
    assert running.poll() is None
    machines.run("node1", "systemctl start ssh")
    out, err = running.communicate(timeout=600)
    assert running.returncode == 0, out + err
    assert_whole(stack, machines)


def sentence(stack: Stack, *words: str) -> str:
    """The error of an `up` that must fail, without the lines around it."""
    failed = stack.run("up", *words, code=1)
    assert "Traceback" not in failed.err
    return failed.err


def test_a_wrong_checksum_is_refused_before_anything_of_it_runs(stack: Stack, machines: Machines, cloud: Cloud) -> None:
    """A mirror may be stale or hostile: what is not what we pinned is never executed."""
    stack.run("preview")  # starts the rehearsal's mirror
    files = stack.root.cloud / "artifacts"
    digests = {
        str(file.relative_to(files)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files.rglob("*")
        if file.is_file()
    }
    source = f"http://{cloud.host_address()}:{cloud.port(ARTIFACTS)}"
    for name in ("k3s", "k3s-airgap-images-amd64.tar.zst", "install.sh"):
        path = f"k3s/{versions.K3S}/{name}"
        wrong = {"source": source, "digests": {**digests, path: "0" * 64}}
        stack.write({**one_server(), "artifacts": wrong})
        error = sentence(stack)
        assert f"{path}: checksum is {digests[path]}, expected {'0' * 64}: refused" in error
        assert machines.run("node1", "command -v k3s || echo absent") == "absent"
        assert machines.run("node1", "systemctl list-unit-files 'k3s*' --no-legend | wc -l") == "0"


def test_a_volume_with_somebody_s_data_is_not_touched(stack: Stack, machines: Machines) -> None:
    """Formatting the wrong volume is the one mistake that nobody can take back."""
    tree = one_server()
    del tree["cluster"]
    stack.write(tree)
    stack.run("up")
    machines.run(
        "node1", "mkfs.ext4 -q -L family /dev/vdb && mount /dev/vdb /mnt && echo photos > /mnt/f && umount /mnt"
    )
    before = machines.run("node1", "sha256sum /dev/vdb", timeout=300)
    stack.write(one_server())
    error = sentence(stack)
    assert "node1-data" in error
    assert "/dev/vdb" in error
    assert machines.run("node1", "sha256sum /dev/vdb", timeout=300) == before


TOKEN = "/etc/rancher/k3s/agent-token"


def wanting_an_agent(stack: Stack) -> None:
    """A server that is there, and in the file an agent beside it."""
    tree = one_server()
    node = {k: v for k, v in tree["infra"]["nodes"]["node1"].items() if k != "volumes"}
    stack.write(tree)
    stack.run("up")
    stack.write(changed(tree, {"infra.nodes.agent1": {**node, "role": "agent", "address": "192.168.1.21"}}))


def assert_the_agent_joins(stack: Stack) -> None:
    stack.run("up")
    until("both nodes to be Ready", lambda: Kubectl.of(stack).ready() == {"node1": True, "agent1": True}, 90)


@pytest.mark.long  # a server, two restarts of it and two runs
def test_a_wrong_token_is_named(stack: Stack, machines: Machines) -> None:
    """In one sentence; the cluster that is there does not notice, and the next run with the right one joins."""
    wanting_an_agent(stack)
    # Another agent token on the server than in the stack: what the new agent is given is wrong then.
    machines.run("node1", f"cp {TOKEN} /root/; sed -i 's/^....../wrong!/' {TOKEN}; systemctl restart k3s", timeout=200)
    error = sentence(stack)
    assert re.search(r"agent1: step k3s: .*token", error)
    assert set(Kubectl.of(stack).ready()) == {"node1"}
    machines.run("node1", f"cp /root/agent-token {TOKEN}; systemctl restart k3s", timeout=200)
    assert_the_agent_joins(stack)


@pytest.mark.long  # it asks for minutes: a server that is switched on again takes some
def test_an_unreachable_server_is_named(stack: Stack, machines: Machines) -> None:
    """In one sentence, within a bound."""
    wanting_an_agent(stack)
    machines.run("node1", "systemctl stop k3s", timeout=200)
    begin = time.monotonic()
    error = sentence(stack)
    assert time.monotonic() - begin < 400
    assert "agent1: step k3s: no server answers at 192.168.1.11" in error
    machines.run("node1", "systemctl start k3s", timeout=200)
    assert_the_agent_joins(stack)
