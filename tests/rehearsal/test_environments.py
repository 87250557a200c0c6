"""Other environments than the shipped one: two sites with bare metal, and machines that exist already."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rehearsal.cloud import Cloud, plan
from rehearsal.paths import Root
from tests.environments import changed
from tests.rehearsal.cluster import Machines, until
from tests.rehearsal.stack import Stack, fresh, small, ssh_of


def two_sites() -> dict[str, Any]:
    """A node at KVM@TACC, and a GPU node on bare metal at CHI@UC."""
    return changed(
        small(),
        {
            "infra.sites.uc": {
                "kind": "baremetal",
                "region": "CHI@UC",
                "private_cidr": "10.20.0.0/24",
                "bastion": "metal",
            },
            "infra.leases.metal": {"site": "uc", "node_type": "gpu_rtx_6000", "hours": 24},
            "infra.nodes.node1.site": "kvm",
            "infra.nodes.metal": {
                "role": "agent",
                "address": "10.20.0.11",
                "lease": "metal",
                "image": "CC-Ubuntu24.04-CUDA",
                "gpu": True,
            },
            "infra.volumes.node1-data.site": "kvm",
        },
    )


@dataclass(frozen=True)
class Others(Machines):
    """The machines of the site's administrator, by their names: to the stack they are somebody else's."""

    def ids(self) -> dict[str, str]:
        return {server.name: server.id for server in self.cloud.admin().compute.servers()}


LISTENING = (22, 80, 443, 2379, 6443, 8080, 10250)
"""Ports on which every machine of the test answers, if one gets there."""
WEB = {80, 443}


def listen(machines: Machines) -> None:
    """Let every machine of the stack answer at all of the ports."""
    ports = " ".join(map(str, LISTENING[1:]))
    for name in machines.ids():
        machines.run(name, f"for p in {ports}; do systemd-run -q python3 -m http.server $p; done; sleep 1")


def knock(address: str) -> str:
    """Shell that prints the ports of an address that answer."""
    one = f"timeout 3 bash -c '</dev/tcp/{address}/'$p 2>/dev/null && echo $p"
    return f"for p in {' '.join(map(str, LISTENING))}; do ({one}) & done; wait"


@contextmanager
def stranger(cloud: Cloud, root: Root) -> Iterator[Callable[[str], set[int]]]:
    """Somebody else's machine on the site's shared network: what ports of an address answer it."""
    site: Any = cloud.admin()
    image = next(i.id for i in site.image.images() if i.name == "CC-Ubuntu24.04")
    flavor, shared = site.compute.find_flavor("m1.small").id, site.network.find_network("sharednet1").id
    server = site.compute.create_server(name="stranger", image_id=image, flavor_id=flavor, networks=[{"uuid": shared}])
    try:
        site.compute.wait_for_server(server, wait=120)
        others = Others(cloud, root, "")
        until("its network", lambda: others.run(server.name, "ip -4 -o addr show scope global"), 60)
        yield lambda address: {int(port) for port in others.run(server.name, knock(address)).split()}
    finally:
        site.compute.delete_server(server)
        site.compute.wait_for_delete(server, wait=60)


@pytest.mark.long
def test_strangers_on_the_shared_network_and_outside_reach_the_web_ports_alone(
    root: Root, cloud: Cloud, tmp_path: Path
) -> None:
    """By security groups at KVM@TACC, and without them, by the host's own firewall, on bare metal at CHI@UC."""
    with fresh(root, cloud, "two", tmp_path, two_sites()) as stack:
        stack.run("up")
        machines = Machines(cloud, root, "two")
        listen(machines)
        outputs, network = stack.outputs(), cloud.admin().network
        on_shared = [
            ip["ip_address"]
            for port in network.ports(device_id=machines.ids()["node1"])
            for ip in port.fixed_ips
            if not ip["ip_address"].startswith("192.168.")
        ]
        assert on_shared
        with stranger(cloud, root) as reached:
            assert {address: reached(address) for address in on_shared} == dict.fromkeys(on_shared, WEB)
            assert [reached(host["address"]) for host in outputs["hosts"]] == [set(), set()]
        for address in outputs["floating_ips"].values():
            words = ["ip", "netns", "exec", cloud.outsider(), "bash", "-c", knock(address)]
            answered = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split()
            assert set(map(int, answered)) == WEB, address


@pytest.mark.long
def test_two_sites_and_existing_machines_are_deployed(root: Root, cloud: Cloud, tmp_path: Path) -> None:
    """Both kinds of lease, a router, a host firewall; then the same machines once more, as somebody's own."""
    cloud.reset()
    before = cloud.inventory()
    stack = Stack(root, "two", tmp_path / "Pulumi.two.yaml")
    stack.write(two_sites())
    stack.run("up")
    assert {lease["status"] for lease in cloud.inventory()["leases"]} == {"ACTIVE"}
    ssh = ssh_of(stack)
    assert {ssh.run(name, "hostname") for name in ("node1", "metal")} == {"node1", "metal"}
    assert "policy drop" in ssh.run("metal", "sudo nft list ruleset")
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out

    outputs = stack.outputs()
    machines = {
        host["name"]: {
            "role": "server" if host["name"] == "node1" else "agent",
            "address": host["ssh_host"],
            "private_address": host["address"],
            "host_key": host["host_key"].strip(),
        }
        for host in outputs["hosts"]
    }
    own = Stack(root, "own", tmp_path / "Pulumi.own.yaml")
    key = ssh.config.with_name("key")
    own.write({"infra": {"kind": "hosts", "machines": machines, "private_key_file": str(key)}})
    done = own.run("up")
    assert done.names("create") >= {"Command node1-ready", "Command metal-ready"}
    assert not [name for name in done.names("create") if name.startswith(("Instance", "Network"))]
    assert {host["name"] for host in own.outputs()["hosts"]} == {"node1", "metal"}
    assert "nothing changed" in own.run("up").out
    own.run("destroy")

    stack.run("destroy")
    assert cloud.inventory() == before


@pytest.mark.long
def test_two_rehearsals_do_not_disturb_each_other(root: Root, cloud: Cloud) -> None:
    """Two checkouts on one computer: own ports, namespaces, databases; the end of one is nothing to the other."""
    site = plan({"leasehold:infra": small()["infra"]})
    before, links = cloud.inventory(), sorted(os.listdir("/sys/class/net"))
    other = Cloud(Root(root.path.with_name(f"{root.path.name}-other")), lambda _: None)
    try:
        other.up(site)
        assert other.environment() != cloud.environment()
        assert not any(other.inventory().values())
        assert len(os.listdir("/sys/class/net")) == len(links) + 1
        other.reset()
        assert cloud.inventory() == before
    finally:
        other.down()
    assert sorted(os.listdir("/sys/class/net")) == links
    assert cloud.inventory() == before
    subprocess.run(["rm", "-rf", "--one-file-system", str(root.path.with_name(f"{root.path.name}-other"))], check=True)


def test_the_command_line_keeps_its_promises(root: Root, cloud: Cloud, tmp_path: Path) -> None:
    """Exit codes, JSON that is JSON, and a report of what was real."""
    cloud.reset()
    stack = Stack(root, "cli", tmp_path / "Pulumi.cli.yaml")
    assert "not YAML" in broken(stack, "config: [").err
    assert "given twice" in broken(stack, "config:\n  leasehold:infra: {}\n  leasehold:infra: {}\n").err
    assert stack.run("report", code=2).code == 2
    stack.write(small())
    unexpected = stack.run("up", "--expect-no-changes", code=3)
    assert unexpected.count("create") > 0
    assert json.loads(stack.run("preview", "--json").out)["counts"].keys() == {"same"}
    report = json.loads(stack.run("report", "--json").out)
    kinds = {part["name"]: part["kind"] for part in report["parts"]}
    assert kinds["engine"] == "stand-in"
    assert kinds["machines"] == "stand-in"
    assert kinds["keystone"] == "real"
    refused = stack.run("destroy", "--keep-protected", code=1)
    assert "protect" in refused.out + refused.err
    stack.run("destroy")


def broken(stack: Stack, text: str) -> Any:
    """Try an environment file with this text."""
    stack.file.write_text(text)
    return stack.run("up", code=2)
