"""The local cloud: what a person sees of it from outside. Needs root; the cloud is started once for the module."""

import base64
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openstack
import pytest
import yaml

from rehearsal.cloud import Cloud, CloudError, SitePlan, network, plan
from rehearsal.cloud.process import marked
from rehearsal.cloud.services import rules
from rehearsal.cloud.services.rules import Interface, Port, Router, Rule, Site, World
from rehearsal.paths import PROJECT, Root

SSH = (
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=3"),
)
USER_DATA = """#cloud-config
ssh_authorized_keys: [{key}]
write_files:
- {{path: /etc/canary, content: {name}}}
runcmd:
- [systemd-run, --unit=web, python3, -m, http.server, "80"]
- [systemd-run, --unit=closed, python3, -m, http.server, "8080"]
"""


def until(what: str, check: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def dev_plan() -> SitePlan:
    return plan(yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text())["config"])


@dataclass
class Tenant:
    """A user of the cloud with one network, one security group and machines with a floating IP each."""

    cloud: Cloud
    key: Path
    made: list[Callable[[], Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.api = openstack.connect(config_files=None, load_envvars=False, **self._login())
        self.group = self.api.network.create_security_group(name="test")
        for port, prefix in ((22, "203.0.113.0/24"), (80, "0.0.0.0/0")):
            self.api.network.create_security_group_rule(
                security_group_id=self.group.id,
                direction="ingress",
                ethertype="IPv4",
                protocol="tcp",
                port_range_min=port,
                port_range_max=port,
                remote_ip_prefix=prefix,
            )

    def _login(self) -> dict[str, Any]:
        entry = yaml.safe_load(self.cloud.clouds_yaml.read_text())["clouds"]["rehearsal"]
        return {"load_yaml_config": False, "auth_type": entry["auth_type"], "auth": entry["auth"]} | {
            "region_name": entry["region_name"]
        }

    @staticmethod
    def named(things: Iterable[Any], name: str) -> str:
        """Id of the one with this name."""
        return next(str(thing.id) for thing in things if thing.name == name)

    def machine(self, name: str) -> tuple[Any, str]:
        """A machine on the shared network; its server and its floating IP."""
        shared = self.named(self.api.network.networks(), "sharednet1")
        port = self.api.network.create_port(network_id=shared, security_group_ids=[self.group.id])
        text = USER_DATA.format(key=self.key.with_suffix(".pub").read_text().strip(), name=name)
        server = self.server(name, port, text)
        public = self.named(self.api.network.networks(), "public")
        floating = self.api.network.create_ip(floating_network_id=public, port_id=port.id)
        return server, str(floating.floating_ip_address)

    def server(self, name: str, port: Any, user_data: str) -> Any:
        made = self.api.compute.create_server(
            name=name,
            image_id=self.named(self.api.image.images(), "CC-Ubuntu24.04"),
            flavor_id=self.named(self.api.compute.flavors(), "m1.medium"),
            user_data=base64.b64encode(user_data.encode()).decode(),
            networks=[{"port": port.id}],
        )
        return self.api.compute.wait_for_server(made, wait=120, interval=0.3)

    def ssh(self, address: str, command: str, check: bool = True) -> str:
        done = subprocess.run(
            ["ssh", *SSH, "-i", str(self.key), f"cc@{address}", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def boot(self, address: str, name: str) -> None:
        until(f"{name} answers", lambda: self.ssh(address, "cat /etc/canary", check=False) == name)
        until("cloud-init", lambda: "done" in self.ssh(address, "cloud-init status --wait", check=False))


def reaches(address: str, port: int, space: str | None = None) -> bool:
    """Whether a TCP connection opens, from this computer or from a namespace."""
    if space is None:
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex((address, port)) == 0
    command = ["ip", "netns", "exec", space, "timeout", "2", "bash", "-c", f"</dev/tcp/{address}/{port}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    if os.geteuid() != 0:
        pytest.skip("the local cloud needs root")
    # A root of its own: these tests kill and end what the others use, and the two must not disturb each other.
    given = os.environ.get("LEASEHOLD_TEST_ROOT") or str(PROJECT / ".rehearsal-test")
    root = Root(Path(f"{given}-cloud").resolve())
    made = Cloud(root, lambda _: None)
    made.up(dev_plan())
    made.reset()
    yield made
    made.up(dev_plan())  # whatever the last test has left
    made.reset()
    made.down()
    subprocess.run(["rm", "-rf", "--one-file-system", str(root.path)], check=True)


@pytest.fixture(scope="module")
def tenant(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    key = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return Tenant(cloud, key)


@pytest.fixture(scope="module")
def machine(tenant: Tenant) -> tuple[str, str]:
    """Id and address of a machine that has booted."""
    server, address = tenant.machine("one")
    tenant.boot(address, "one")
    return server.id, address


class TestSecurityGroups:
    """The incident: on a cloud without enforcement a missing rule is noticed at the first real deployment only."""

    def test_open_to_operators(self, machine: tuple[str, str]) -> None:
        assert reaches(machine[1], 22)
        until("port 80", lambda: reaches(machine[1], 80))

    def test_closed_port_is_closed(self, machine: tuple[str, str], tenant: Tenant) -> None:
        until("listener", lambda: ":8080" in tenant.ssh(machine[1], "ss -ltn"))
        assert not reaches(machine[1], 8080)

    def test_others_reach_public_ports_only(self, cloud: Cloud, machine: tuple[str, str]) -> None:
        assert reaches(machine[1], 80, cloud.outsider())
        assert not reaches(machine[1], 22, cloud.outsider())
        assert not reaches(machine[1], 8080, cloud.outsider())

    def test_a_rule_opens_and_closes(self, cloud: Cloud, tenant: Tenant, machine: tuple[str, str]) -> None:
        rule = tenant.api.network.create_security_group_rule(
            security_group_id=tenant.group.id,
            direction="ingress",
            protocol="tcp",
            port_range_min=8080,
            port_range_max=8080,
        )
        until("opened", lambda: reaches(machine[1], 8080, cloud.outsider()), 5)
        tenant.api.network.delete_security_group_rule(rule)
        until("closed", lambda: not reaches(machine[1], 8080, cloud.outsider()), 5)

    def test_this_computer_is_an_operator(self, tenant: Tenant, machine: tuple[str, str]) -> None:
        assert tenant.ssh(machine[1], "echo $SSH_CLIENT").split()[0] == "203.0.113.10"

    def test_machines_reach_this_computer(self, cloud: Cloud, tenant: Tenant, machine: tuple[str, str]) -> None:
        with socket.create_server((cloud.host_address(), 0)) as listener:
            port = listener.getsockname()[1]
            tenant.ssh(machine[1], f"timeout 3 bash -c '</dev/tcp/{cloud.host_address()}/{port}'")


class TestMachines:
    def test_console_and_power(self, tenant: Tenant, machine: tuple[str, str]) -> None:
        compute, (server, address) = tenant.api.compute, machine
        assert "cloud-init" in compute.get_server_console_output(server)["output"]
        compute.stop_server(server)
        until("stopped", lambda: compute.get_server(server).status == "SHUTOFF")
        assert not reaches(address, 22)
        compute.start_server(server)
        until("started", lambda: compute.get_server(server).status == "ACTIVE")
        until("answers", lambda: reaches(address, 22))

    def test_reboot_keeps_the_disk(self, tenant: Tenant, machine: tuple[str, str]) -> None:
        server, address = machine
        tenant.ssh(address, "sudo touch /var/kept && sync")
        tenant.api.compute.reboot_server(server, "HARD")
        until("rebooted", lambda: tenant.api.compute.get_server(server).status == "ACTIVE")
        until("answers", lambda: tenant.ssh(address, "ls /var/kept", check=False) == "/var/kept")

    def test_rebuild_starts_anew(self, tenant: Tenant, machine: tuple[str, str]) -> None:
        server, address = machine
        tenant.ssh(address, "sudo touch /var/gone && sync")
        image = tenant.named(tenant.api.image.images(), "CC-Ubuntu22.04")
        tenant.api.compute.rebuild_server(server, image=image)
        until("rebuilt", lambda: tenant.api.compute.get_server(server).status == "ACTIVE")
        tenant.boot(address, "one")
        assert tenant.ssh(address, "ls /var/gone", check=False) == ""


def test_a_volume_outlives_its_machine(tenant: Tenant) -> None:
    compute, storage = tenant.api.compute, tenant.api.block_storage
    volume = storage.create_volume(size=2, name="data", volume_type="ceph-ssd")
    storage.wait_for_status(volume, "available", interval=0.3)
    first, address = tenant.machine("first")
    tenant.boot(address, "first")
    attached = compute.create_volume_attachment(first, volume_id=volume.id)
    assert attached.device == "/dev/vdb"
    until("attached", lambda: storage.get_volume(volume.id).status == "in-use")
    tenant.ssh(
        address, "sudo mkfs.ext4 -q /dev/vdb && sudo mount /dev/vdb /mnt && echo kept | sudo tee /mnt/file && sync"
    )
    compute.delete_server(first)  # with the volume mounted: as when a lease ends
    compute.wait_for_delete(first, interval=0.3)
    until("released", lambda: storage.get_volume(volume.id).status == "available")
    second, address = tenant.machine("second")
    tenant.boot(address, "second")
    compute.create_volume_attachment(second, volume_id=volume.id)
    until("attached", lambda: storage.get_volume(volume.id).status == "in-use")
    assert tenant.ssh(address, "sudo mount /dev/vdb /mnt && cat /mnt/file") == "kept"


def _lease(tenant: Tenant) -> Any:
    base = tenant.api.session.get_endpoint(service_type="reservation", interface="public")
    end = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%d %H:%M")
    flavor = tenant.named(tenant.api.compute.flavors(), "m1.medium")
    reservation = {"resource_type": "flavor:instance", "flavor_id": flavor, "amount": 1, "affinity": None}
    body = {"name": "test", "start_date": "now", "end_date": end, "events": [], "reservations": [reservation]}
    return tenant.api.session.post(f"{base}/leases", json=body, raise_exc=False)


def test_lease_needs_trusts_for_application_credentials(cloud: Cloud, tenant: Tenant) -> None:
    """Keystone 30 refuses them by default, and Blazar then answers 500: the program has to say so."""
    cloud.up(dev_plan(), trusts_for_application_credentials=False)
    assert _lease(tenant).status_code == 500
    cloud.up(dev_plan())
    answer = _lease(tenant)
    assert answer.status_code == 201
    base = tenant.api.session.get_endpoint(service_type="reservation", interface="public")
    url = f"{base}/leases/{answer.json()['lease']['id']}"
    until("lease is active", lambda: tenant.api.session.get(url).json()["lease"]["status"] == "ACTIVE")
    tenant.api.session.delete(url)


def _folder(cloud: Cloud) -> Path:
    return cloud.clouds_yaml.parent / "cloud"


def test_no_password_is_readable_by_others(cloud: Cloud) -> None:
    secrets = json.loads((_folder(cloud) / "state.json").read_text())["passwords"].values()
    listing = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert not any(secret in listing for secret in secrets)
    assert cloud.clouds_yaml.stat().st_mode & 0o077 == 0
    assert _folder(cloud).stat().st_mode & 0o077 == 0
    for file in (_folder(cloud) / "etc").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_state_survives_a_restart(cloud: Cloud, tenant: Tenant, machine: tuple[str, str]) -> None:
    before = cloud.inventory()
    tenant.ssh(machine[1], "sudo touch /var/survives && sync")
    name = Root(cloud.clouds_yaml.parent).name
    cloud.down()
    assert marked(str(_folder(cloud))) == []
    assert network.spaces(name) == []
    assert not Path("/sys/class/net", network.link(name)).exists()
    cloud.down()  # and once more, when nothing runs
    cloud.up(dev_plan())
    until("machine", lambda: tenant.ssh(machine[1], "ls /var/survives", check=False) == "/var/survives")
    until("same inventory", lambda: cloud.inventory() == before)


@pytest.mark.parametrize("victims", ["mariadb", "everything"])
def test_recovers_from_kill(cloud: Cloud, machine: tuple[str, str], victims: str) -> None:
    before = cloud.inventory()
    found = marked(str(_folder(cloud)))
    if victims == "mariadb":
        found = [int((_folder(cloud) / "run/mariadb.pid").read_text())]
    for pid in found:
        os.kill(pid, 9)
    cloud.up(dev_plan())
    until("machine", lambda: reaches(machine[1], 22))
    until("same inventory", lambda: cloud.inventory() == before)


def test_another_root_has_no_cloud(cloud: Cloud, tmp_path: Path) -> None:
    other = Cloud(Root(tmp_path / "other"), lambda _: None)
    with pytest.raises(CloudError, match="no cloud"):
        other.inventory()
    other.down()
    assert cloud.admin().identity is not None


def test_reset_empties_the_cloud_quickly(cloud: Cloud, machine: tuple[str, str]) -> None:
    assert cloud.inventory()["servers"]
    begin = time.monotonic()
    cloud.reset()
    assert time.monotonic() - begin <= 10
    assert not any(cloud.inventory().values())
    assert not reaches(machine[1], 22)
    name = network.namespace(Root(cloud.clouds_yaml.parent).name)
    assert sorted(network.spaces(Root(cloud.clouds_yaml.parent).name)) == [name, f"{name}-out"]
    loops = subprocess.run(["losetup", "-l"], capture_output=True, text=True, check=True).stdout
    assert str(_folder(cloud)) not in loops


class TestPlan:
    """Pure: no cloud is needed."""

    def test_known_site_is_strict(self) -> None:
        found = dev_plan()
        assert found.regions == ("KVM@TACC",)
        assert "g1.h100.pci.1" in {flavor.name for flavor in found.flavors}
        assert found.operator_address == "203.0.113.10"
        infra = {"sites": {"a": {"region": "KVM@TACC"}}, "nodes": {"n": {"image": "Mine"}}}
        assert "Mine" not in plan({"leasehold:infra": infra}).images

    def test_generic_site_has_what_is_named(self) -> None:
        infra = {
            "sites": {"a": {"region": "RegionOne", "shared_network": "net", "zones": ["z1"]}},
            "nodes": {"n": {"image": "Mine", "flavor": "huge"}},
        }
        found = plan({"leasehold:infra": infra})
        assert (found.images, found.zones, found.shared_networks[0][0]) == (("Mine",), ("z1",), "net")
        assert found.flavors[0].name == "huge"

    @pytest.mark.parametrize(
        "config",
        [{}, {"leasehold:infra": None}, {"leasehold:infra": {"sites": [], "nodes": {"n": 1}, "access": "no"}}],
    )
    def test_never_raises(self, config: dict[str, Any]) -> None:
        assert SitePlan.from_json(json.loads(json.dumps(plan(config).to_json()))) == plan(config)

    def test_unknown_site_is_not_made(self) -> None:
        found = plan({"leasehold:infra": {"sites": {"a": {"region": "KVM@NOWHERE"}}}})
        assert (found.regions, found.missing_regions) == (("RegionOne",), ("KVM@NOWHERE",))

    def test_outsider_is_no_operator(self) -> None:
        infra = {"access": {"admin_cidrs": ["198.51.100.0/24", "192.0.2.0/25"]}}
        assert plan({"leasehold:infra": infra}).outsider_address == "203.0.113.2"


class TestRules:
    """Pure: the filter as text."""

    SITE = Site("198.18.1.2", "203.0.113.10")
    PORT = Port("aaaaaaaa-1", "network-one", ("10.0.0.5",), (), True, ("g",))

    def render(self, *found: Rule, **more: Any) -> str:
        return rules.render(World(self.SITE, (self.PORT,), {"g": found}, **more))

    def test_default_is_drop(self) -> None:
        text = self.render()
        assert re.search(r"chain gi_g \{\n\}", text)
        assert "policy drop" in text

    def test_operator_is_recognised_before_it_is_renamed(self) -> None:
        text = self.render(Rule("ingress", "tcp", 22, 22, "203.0.113.0/24"))
        assert "ip saddr { 203.0.113.0/24, 198.18.1.2 } tcp dport 22 accept" in text
        assert "198.18.1.2 }" not in self.render(Rule("ingress", "tcp", 22, 22, "192.0.2.0/24"))

    def test_group_members_are_the_remote_end(self) -> None:
        assert "ip saddr { 10.0.0.5 } accept" in self.render(Rule("ingress", group="g"))
        assert "chain gi_g {\n}" in self.render(Rule("ingress", group="nobody"))

    def test_without_egress_rule_nothing_leaves(self) -> None:
        assert "chain ge_g {\n}" in self.render(Rule("ingress"))
        assert "chain ge_g {\n  goto admitted" in self.render(Rule("egress"))

    def test_router_joins_its_networks_only(self) -> None:
        legs = tuple(
            Interface(n, f"10.{i}.0.1", f"10.{i}.0.0/24") for i, n in enumerate(("network-one", "network-two"))
        )
        text = self.render(routers=(Router("r", "198.18.1.9", legs),))
        assert '"br-network-one" . "br-network-two"' in text
        assert "ip saddr 10.1.0.0/24 snat to 198.18.1.9" in text
