"""What has a stack's marks and is not in its state: told apart from other stacks', and handed to `pulumi import`."""

from types import SimpleNamespace
from typing import Any

import pytest

from infra import marked, recovery

CHAIN = "leasehold:infra:Infra$leasehold:infra:Network"
NETWORK = f"urn:pulumi:dev::leasehold::{CHAIN}$openstack:networking/network:Network::kvm-private"
VOLUME = (
    "urn:pulumi:dev::leasehold::leasehold:infra:Infra$leasehold:infra:Nodes$openstack:blockstorage/volume:Volume::data"
)


class Answer:
    """Of a service, with its clock."""

    def __init__(self, body: Any, status: int = 200) -> None:
        self.status_code, self.text = status, str(body)
        self.headers = {"Date": "Sun, 29 Nov 2026 12:00:00 GMT"}
        self._body = body

    def json(self) -> Any:
        return self._body


class Service:
    """A service by the paths that it answers."""

    def __init__(self, **lists: list[dict[str, Any]]) -> None:
        self.lists = {f"/{key.replace('_', '-')}": (key, rows) for key, rows in lists.items()}
        self.deleted: list[str] = []

    def get(self, path: str) -> Answer:
        base = path.removesuffix("/detail")
        if base in self.lists:
            return Answer({self.lists[base][0]: self.lists[base][1]})
        if base.count("/") == 1:
            return Answer({base.strip("/").replace("-", "_"): []})
        return Answer({}, 404 if path in self.deleted else 200)

    def delete(self, path: str) -> Answer:
        self.deleted.append(path)
        return Answer({}, 204)


def site(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(marked, "raise_from_response", lambda _: None)
    other = NETWORK.replace("pulumi:dev:", "pulumi:dev-2:")
    networks = [
        {"id": "n1", "name": "a", "description": NETWORK, "created_at": "2026-11-29T11:59:00Z"},
        {"id": "n2", "name": "b", "description": other, "created_at": "2026-11-29T11:59:00Z"},
        {"id": "n3", "name": "c", "description": "somebody's"},
    ]
    volumes = [{"id": "v1", "name": "d", "metadata": {"leasehold-urn": VOLUME}, "created_at": "2026-11-29T11:00:00"}]
    return SimpleNamespace(
        network=Service(networks=networks), compute=Service(), block_storage=Service(volumes=volumes)
    )


def test_only_this_stack_s_objects_are_found_and_what_holds_data_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack called `dev` must not remove what `dev-2` has."""
    there = site(monkeypatch)
    found = recovery.unknown(there, "dev", {"other"})
    assert [(one.id, one.logical, one.age.total_seconds()) for one in found] == [
        ("v1", "data", 3600),
        ("n1", "kvm-private", 60),
    ]
    assert recovery.unknown(there, "dev", {"v1", "n1"}) == []
    left = list(recovery.remove(there, found))
    assert [(one.id, recovery.command(one)) for one, _ in left] == [("v1", "openstack volume delete v1")]
    assert there.network.deleted == ["/networks/n1"]


def test_the_import_file_has_parents_and_the_provider_of_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imported at the top of the stack, they would get other URNs than the program gives them."""
    state = {
        "deployment": {
            "resources": [
                {"urn": "urn:pulumi:dev::leasehold::leasehold:infra:Infra$pulumi:providers:openstack::kvm", "id": "p"},
                {"urn": f"urn:pulumi:dev::leasehold::{CHAIN}::kvm"},
            ]
        }
    }
    there = site(monkeypatch)
    found = [one for one in recovery.unknown(there, "dev", recovery.ids(state)) if one.id == "n1"]
    file = recovery.import_file("kvm", found, [], state)
    (row,) = file["resources"]
    assert row["id"] == "n1"
    assert (row["type"], row["name"]) == ("openstack:networking/network:Network", "kvm-private")
    assert file["nameTable"][row["parent"]].endswith(f"{CHAIN}::kvm")
    assert file["nameTable"][row["provider"]].endswith("pulumi:providers:openstack::kvm")
