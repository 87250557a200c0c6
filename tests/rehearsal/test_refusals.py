"""What a site refuses is said before anything is created, or, where only the site can say it, in plain words."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

import config
from infra import blazar, preflight, rules
from infra.lease import LeaseProvider
from infra.login import access, connect
from rehearsal.cloud import Cloud, plan
from rehearsal.environment import EnvironmentFile
from rehearsal.paths import PROJECT, Root
from tests.environments import changed, dev
from tests.rehearsal.stack import Stack

WRONG = {
    "infra.nodes.node1.image": ("CC-Ubuntu99.04", "no such image at the site"),
    "infra.leases.platform.flavor": ("m1.mediun", "no such flavor at the site"),
    "infra.volumes.node1-data.type": ("nvme", "no such volume type at the site"),
    "infra.sites.kvm.shared_network": ("sharednet9", "no such network at the site"),
    "infra.sites.kvm.floating_ip": ("129.114.26.10", "the project holds no such floating IP"),
}
Login = Callable[..., None]


def lines(tree: dict[str, Any]) -> list[str]:
    found = config.validate(tree, [rules.check, preflight.for_stack("dev")])[1]
    return [str(problem) for problem in sorted(set(found))]


@pytest.fixture(autouse=True)
def _shipped_site(cloud: Cloud) -> None:
    """The site of the shipped environment, whatever an earlier environment file made of it."""
    cloud.up(plan(EnvironmentFile.read(PROJECT / "Pulumi.dev.yaml").config))


@pytest.fixture
def login(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Login]:
    """Log in with another application credential than the rehearsal's own."""
    entry = yaml.safe_load(Path(cloud.environment()["OS_CLIENT_CONFIG_FILE"]).read_text())["clouds"]["rehearsal"]
    connection = connect("rehearsal", "KVM@TACC")
    user = access(connection).user_id
    made = []

    def use(**options: Any) -> None:
        body = {"name": f"test-{time.monotonic_ns()}", **options}
        answer = connection.session.post(
            f"{entry['auth']['auth_url'].rstrip('/')}/users/{user}/application_credentials",
            json={"application_credential": body},
        ).json()["application_credential"]
        made.append(answer["id"])
        auth = {"application_credential_id": answer["id"], "application_credential_secret": answer["secret"]}
        changed_entry = {**entry, "auth": {"auth_url": entry["auth"]["auth_url"], **auth}}
        file = tmp_path / "clouds.yaml"
        file.write_text(yaml.safe_dump({"clouds": {"rehearsal": changed_entry}}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))

    yield use
    for credential in made:
        connection.session.delete(
            f"{entry['auth']['auth_url'].rstrip('/')}/users/{user}/application_credentials/{credential}"
        )


def test_unknown_names_are_refused_all_at_once_and_nothing_is_created(root: Root, cloud: Cloud, tmp_path: Path) -> None:
    """The site's own objections, in the same list as the file's."""
    before = cloud.inventory()
    stack = Stack(root, "wrong", tmp_path / "Pulumi.wrong.yaml")
    tree = changed(dev(), {key: value for key, (value, _) in WRONG.items()})
    stack.write(changed(tree, {"infra.nodes.node2.adress": "192.168.1.99"}))
    refused = stack.run("up", code=2)
    for key, (value, rule) in WRONG.items():
        assert f"{key} = {value}: {rule}" in refused.err
    assert "infra.nodes.node2.adress = 192.168.1.99: unknown key; did you mean address?" in refused.err
    assert cloud.inventory() == before


def test_an_unknown_region_is_refused(root: Root, cloud: Cloud, tmp_path: Path) -> None:  # noqa: ARG001
    """A typing mistake in a region leads to another site's catalogue, or to none."""
    stack = Stack(root, "wrong", tmp_path / "Pulumi.wrong.yaml")
    stack.write(changed(dev(), {"infra.sites.kvm.region": "KVM@TAC"}))
    assert "infra.sites.kvm.region = KVM@TAC: no such region" in stack.run("up", code=2).err


def test_a_missing_credential_is_refused(cloud: Cloud) -> None:  # noqa: ARG001
    """Neither clouds.yaml nor OS_* says how to log in."""
    found = lines(changed(dev(), {"infra.sites.kvm.cloud": "nowhere"}))
    assert len(found) == 1
    assert "infra.sites.kvm.cloud = nowhere: credential missing" in found[0]


def test_an_expired_credential_is_refused(login: Login) -> None:
    """Keystone answers 401 and does not say why."""
    ends = datetime.now(UTC) + timedelta(seconds=2)
    login(unrestricted=True, expires_at=ends.strftime("%Y-%m-%dT%H:%M:%S"))
    time.sleep(3)
    found = lines(dev())
    assert len(found) == 1
    assert "credential refused: it is wrong, deleted or expired" in found[0]


def test_a_credential_that_ends_before_the_lease_is_refused(login: Login) -> None:
    """`destroy` could not log in any more."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    login(unrestricted=True, expires_at=ends.strftime("%Y-%m-%dT%H:%M:%S"))
    assert any("before the last lease ends" in line for line in lines(dev()))


def test_a_restricted_credential_is_refused(login: Login) -> None:
    """Blazar would answer a bare 500 (ChameleonCloud/docs, cli_reservations)."""
    login(unrestricted=False)
    found = lines(dev())
    assert len(found) == 1
    assert "restricted, and Blazar needs an unrestricted one" in found[0]


def test_every_shortfall_is_named_within_five_seconds(cloud: Cloud) -> None:
    """Before the first create, and with what is missing."""
    admin, project = cloud.admin(), access(connect("rehearsal", "KVM@TACC")).project_id
    compute, volume, network = admin.compute, admin.block_storage, admin.network
    old = {
        "compute": compute.get(f"/os-quota-sets/{project}").json()["quota_set"],
        "network": network.get(f"/quotas/{project}").json()["quota"],
        "volume": volume.get(f"/os-quota-sets/{project}").json()["quota_set"],
    }
    low_compute = {"instances": 3, "cores": 7, "ram": 10_000}
    low_volume = {"volumes": 2, "gigabytes": 100}
    low_network = {"port": 5, "floatingip": 0, "security_group": 2}
    try:
        compute.put(f"/os-quota-sets/{project}", json={"quota_set": low_compute})
        volume.put(f"/os-quota-sets/{project}", json={"quota_set": low_volume})
        network.put(f"/quotas/{project}", json={"quota": low_network})
        begin = time.monotonic()
        found = "\n".join(lines(changed(dev(), {"infra.leases.gpu.count": 500})))
        assert time.monotonic() - begin < 5
    finally:
        compute.put(f"/os-quota-sets/{project}", json={"quota_set": {k: old["compute"][k] for k in low_compute}})
        volume.put(f"/os-quota-sets/{project}", json={"quota_set": {k: old["volume"][k] for k in low_volume}})
        network.put(f"/quotas/{project}", json={"quota": {k: old["network"][k] for k in low_network}})
    for what in (
        "instances",
        "cores",
        "RAM (MB)",
        "volumes",
        "volume gigabytes",
        "ports",
        "floatingips",
        "security groups",
    ):
        assert f"quota of {what}: the environment needs" in found, what
    assert "infra.leases.gpu.count = 500: the site can reserve" in found


def test_a_site_that_refuses_leases_to_application_credentials_is_named_as_that(cloud: Cloud) -> None:
    """Keystone 30 refuses trusts to them by default; Blazar then answers 500 and says nothing."""
    site = plan(EnvironmentFile.read(PROJECT / "Pulumi.dev.yaml").config)
    cloud.up(site, trusts_for_application_credentials=False)
    props = {"name": "leasehold-x", "region": "KVM@TACC", "flavor": "m1.small", "count": 1.0, "hours": 1.0}
    try:
        with pytest.raises(blazar.BlazarError, match="refuses leases to application credentials"):
            LeaseProvider().create(props)
    finally:
        cloud.up(site)
    assert cloud.inventory()["leases"] == []
