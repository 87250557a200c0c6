"""Which playbooks run, from what the stack wants and what the cluster says of itself."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster.kubespray import plan, render

WANTED_VERSION = "1.35.4"
Machines = list[render.Machine]


def machine(name: str, role: str = "agent") -> render.Machine:
    return render.Machine(name, role, f"192.168.1.{10 + sum(map(ord, name)) % 200}")


SERVERS = [machine(f"server{n}", "server") for n in (1, 2, 3)]
AGENTS = [machine(f"agent{n}") for n in (1, 2)]
ALL = [*SERVERS, *AGENTS]


def asked(machines: Machines = ALL, version: str = WANTED_VERSION, settings: str = "same") -> dict[str, Any]:
    """What the stack asks for."""
    return {"version": version, "release": "a", "settings": settings, "machines": render.described(machines)}


def there(machines: Machines = ALL, version: str = WANTED_VERSION) -> dict[str, plan.Node]:
    """What the cluster says."""
    return {m.name: plan.Node(f"v{version}", m.role, m.address) for m in machines}


def playbooks(*args: Any) -> list[str]:
    return [play.playbook for play in plan.plan(*args)]


def test_the_first_run_makes_a_cluster() -> None:
    """Nothing is there, so nothing can be compared."""
    assert playbooks(asked(), {}, {}, {m.name for m in ALL}) == ["cluster.yml"]


def test_a_new_agent_is_added_alone() -> None:
    """The others' nodes are not touched (kubespray#3651: adding one node costs a full run)."""
    plays = plan.plan(asked(), asked(ALL[:-1]), there(ALL[:-1]), {"agent2"})
    assert [play.playbook for play in plays] == ["playbooks/facts.yml", "scale.yml"]
    assert plays[1].words()[-2:] == ["--limit", "agent2,localhost"]


def test_a_new_server_takes_the_whole_playbook() -> None:
    """scale.yml has no part for the control plane: the release's docs/operations/nodes.md."""
    assert playbooks(asked(), asked(ALL[1:]), there(ALL[1:]), {"server1"}) == ["cluster.yml"]


def test_changed_settings_are_every_node_s() -> None:
    """Also together with a new agent: one full run does both."""
    assert playbooks(asked(settings="new"), asked(), there(), set()) == ["cluster.yml"]
    assert playbooks(asked(settings="new"), asked(ALL[:-1]), there(ALL[:-1]), {"agent2"}) == ["cluster.yml"]


def test_who_leaves_is_drained_and_reset_first() -> None:
    """Its machine is still there: Pulumi deletes it after the commands."""
    (play,) = plan.plan(asked(ALL[:-1]), asked(), there(), set())
    assert (play.playbook, play.inventory) == ("remove-node.yml", plan.LEAVING)
    assert play.extra == {"node": "agent2", "skip_confirmation": True}


def test_a_server_that_leaves_is_taken_out_of_every_other_one() -> None:
    """The API servers name the etcd members, so they are written anew."""
    smaller = [SERVERS[1], *AGENTS]
    assert playbooks(asked(smaller), asked(), there(), set()) == ["remove-node.yml", "remove-node.yml", "cluster.yml"]


def test_a_replaced_machine_is_removed_without_being_asked_and_joins_again() -> None:
    """A machine under an old name knows nothing of the cluster, and the cluster still lists it."""
    plays = plan.plan(asked(), asked(), there(), {"agent1"})
    assert [play.playbook for play in plays] == ["remove-node.yml", "playbooks/facts.yml", "scale.yml"]
    assert plays[0].extra["reset_nodes"] is False
    assert plays[0].extra["allow_ungraceful_removal"] is True


def test_a_replaced_first_server_does_not_lead_the_run() -> None:
    """The first of the inventory makes the others join: it must be one that is in the cluster."""
    plays = plan.plan(asked(), asked(), there(), {"server1"})
    assert [play.playbook for play in plays] == ["remove-node.yml", "cluster.yml"]
    hosts = plan.inventories(asked(), asked(), there(), {"server1"})[plan.HOSTS]
    assert list(hosts["all"]["children"]["kube_control_plane"]["hosts"]) == ["server2", "server3", "server1"]


def test_who_leaves_is_still_in_the_inventory_that_removes_it() -> None:
    """Without it the playbook would match no host, and do nothing. A bastion made anew has no memory of it."""
    for applied in (asked(), {}):
        found = plan.inventories(asked(ALL[:-1]), applied, there(), set())
        assert "agent2" not in found[plan.HOSTS]["all"]["hosts"]
        assert found[plan.LEAVING]["all"]["hosts"]["agent2"]["ip"] == AGENTS[1].address


def test_a_newer_version_is_an_upgrade() -> None:
    """cluster.yml would restart every server at once."""
    assert playbooks(asked(), asked(version="1.34.6"), there(version="1.34.6"), set()) == ["upgrade-cluster.yml"]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [("1.33.10", "1.34 has to come before 1.35.4"), ("1.35.5", "it cannot go back"), ("1.36.0", "it cannot go back")],
)
def test_a_step_back_or_over_a_minor_is_refused(found: str, sentence: str) -> None:
    """Kubernetes supports neither."""
    with pytest.raises(plan.Refused, match=sentence):
        plan.plan(asked(), asked(version=found), there(version=found), set())


def test_losing_every_server_at_once_is_refused() -> None:
    """A run would make an empty cluster beside the agents of the old one."""
    with pytest.raises(plan.Refused, match="none of the servers"):
        plan.plan(asked(), asked(), there(), {"server1", "server2", "server3"})


def test_nothing_to_do_is_a_run_that_repairs() -> None:
    """The command runs only when something changed; what, a cluster may not show (a rotated key, a half-done run)."""
    assert playbooks(asked(), asked(), there(), set()) == ["cluster.yml"]


def test_the_program_writes_words_that_a_shell_reads_back(tmp_path: Path) -> None:
    """As on the bastion: a process of its own, files in, files out."""
    nodes = [
        {
            "metadata": {"name": m.name, "labels": {plan.CONTROL_PLANE: ""} if m.role == "server" else {}},
            "status": {
                "nodeInfo": {"kubeletVersion": f"v{WANTED_VERSION}"},
                "addresses": [{"type": "Hostname", "address": m.name}, {"type": "InternalIP", "address": m.address}],
            },
        }
        for m in ALL
    ]
    (tmp_path / "wanted.json").write_text(json.dumps(asked(ALL[:-1])))
    (tmp_path / "nodes.json").write_text(json.dumps({"items": nodes}))
    (tmp_path / "fresh").write_text("")
    subprocess.run([sys.executable, plan.__file__, str(tmp_path)], check=True, timeout=20)
    first, second = [shlex.split(line) for line in (tmp_path / "plays").read_text().splitlines()]
    assert first[:3] == ["--inventory", "inventory/leaving.json", "remove-node.yml"]
    assert json.loads(first[4])["node"] == "agent2"
    assert second[2] == "cluster.yml", "without a memory of the last run, all settings may be new"
    assert json.loads((tmp_path / plan.LEAVING).read_text())["all"]["hosts"]["agent2"]["ip"] == AGENTS[1].address


def test_the_program_refuses_with_one_sentence(tmp_path: Path) -> None:
    """It ends as the error of `pulumi up`."""
    (tmp_path / "wanted.json").write_text(json.dumps(asked()))
    node = {"nodeInfo": {"kubeletVersion": "v1.36.0"}, "addresses": [{"type": "InternalIP", "address": "192.168.1.11"}]}
    (tmp_path / "nodes.json").write_text(json.dumps({"items": [{"metadata": {"name": "server1"}, "status": node}]}))
    done = subprocess.run(
        [sys.executable, plan.__file__, str(tmp_path)], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "kubespray: server1 runs Kubernetes v1.36.0, newer than 1.35.4; it cannot go back: set a newer one\n"
    )
    assert not (tmp_path / "plays").exists()
