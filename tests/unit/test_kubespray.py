"""Kubespray's inventory and variables: every combination renders, nothing is ignored, and real Ansible takes them."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

import versions
from cluster.kubespray import render, variables
from tests.environments import PROJECT
from tests.unit.pairs import pairs_of, pairwise

AXES: Mapping[str, tuple[Any, ...]] = {
    "network_plugin": ("calico", "cilium", "flannel"),
    "servers": (1, 3, 5),
    "agents": (0, 1, 12),
    "gpus": (0, 2),
    "labels": ({}, {"team": "vision", "example.org/rack": "3"}),
    "port": (22, 2222),
    "mirrors": ({}, {"docker.io": ("https://mirror.example.org",)}, {"ghcr.io": ("http://a:5000", "https://b")}),
    "pod_cidr": ("10.42.0.0/16", "172.20.0.0/19"),
    "service_cidr": ("10.43.0.0/16", "10.43.0.0/20"),
    "version": ("1.33.10", "1.34.6", versions.KUBESPRAY_KUBERNETES),
    "api_addresses": ((), ("198.51.100.7", "node1")),
}
ROWS = pairwise(AXES)
CONFIGURATIONS = 300


def build(row: Mapping[str, Any]) -> tuple[list[render.Machine], render.Options]:
    """The machines and options of a row."""
    count = row["servers"] + row["agents"] + row["gpus"]
    machines = [
        render.Machine(
            name=f"node{n + 1}",
            role="server" if n < row["servers"] else "agent",
            address=f"192.168.{1 + n // 10}.{11 + n}",
            port=row["port"],
            labels=row["labels"],
            gpu=n >= count - row["gpus"],
        )
        for n in range(count)
    ]
    options = render.Options(
        version=row["version"],
        network_plugin=row["network_plugin"],
        pod_cidr=IPv4Network(row["pod_cidr"]),
        service_cidr=IPv4Network(row["service_cidr"]),
        mirrors=row["mirrors"],
        api_addresses=row["api_addresses"],
    )
    return machines, options


def rows() -> list[dict[str, Any]]:
    """All pairs, and more at random, always the same."""
    dice = random.Random(20261121)  # noqa: S311  no secret: the same rows every time
    more = [{name: dice.choice(values) for name, values in AXES.items()} for _ in range(CONFIGURATIONS - len(ROWS))]
    return ROWS + more


def names(machines: list[render.Machine], options: render.Options) -> set[str]:
    """Every variable that a rendering sets."""
    found = set(render.group_vars(machines, options))
    return found.union(*(render.host_vars(machine) for machine in machines))


def test_every_two_values_of_any_two_options_are_among_the_rows() -> None:
    """The generator is ours, so it is held against its definition."""
    seen = {
        pair
        for pair in pairs_of(AXES)
        if any(all(row[name] == AXES[name][index] for name, index in pair) for row in ROWS)
    }
    assert seen == set(pairs_of(AXES))


def test_every_combination_renders_and_survives_being_written() -> None:
    """300 configurations: the groups are complete, etcd is odd, and what is written reads as it was."""
    for row in rows():
        machines, options = build(row)
        tree, values = render.inventory(machines), render.group_vars(machines, options)
        assert [tree, values] == json.loads(json.dumps([tree, values]))
        children = tree["all"]["children"]
        assert len(children["etcd"]["hosts"]) == row["servers"] == len(children["kube_control_plane"]["hosts"])
        assert (
            set(children["kube_node"]["hosts"]) == {machine.name for machine in machines} == set(tree["all"]["hosts"])
        )
        members = [host["etcd_member_name"] for host in tree["all"]["hosts"].values() if "etcd_member_name" in host]
        assert len(set(members)) == row["servers"]


def test_every_two_options_together_are_valid_yaml() -> None:
    """The files are JSON, which Ansible reads as YAML: both must mean the same."""
    for row in ROWS:
        machines, options = build({**row, "agents": min(row["agents"], 1)})
        values = [render.inventory(machines), render.group_vars(machines, options)]
        assert yaml.safe_load(json.dumps(values)) == values


def test_nothing_is_set_that_the_release_does_not_read() -> None:
    """Kubespray ignores unknown names in silence (peers: dashboard and ingress settings that did nothing)."""
    own = {"ansible_host", "ansible_port", "ansible_user"}
    secret = set(render.secret_vars("x" * 64, digest="y"))
    rendered = {name for row in ROWS for name in names(*build(row))}
    assert rendered - own - variables.known() == set()
    assert secret <= variables.known()
    assert variables.known() == (rendered - own) | secret, "the list holds names that nothing sets"


def test_no_relic_of_older_releases_is_set() -> None:
    """The names that the source project set and v2.31 dropped."""
    relics = {
        "dashboard_enabled",
        "ingress_nginx_enabled",
        "docker_version",
        "kube_api_anonymous_auth",
        "deploy_netchecker",
    }
    assert relics.isdisjoint(variables.known())


def test_the_control_plane_is_hardened_in_every_combination() -> None:
    """There is no switch that takes hardening back, so it has to be there always."""
    wanted = {
        "kubernetes_audit": True,
        "kube_encrypt_secret_data": True,
        "kube_encryption_algorithm": "secretbox",
        "tls_min_version": "VersionTLS12",
        "remove_anonymous_access": True,
        "kube_profiling": False,
        "kube_read_only_port": 0,
        "kubelet_rotate_server_certificates": True,
        "kubelet_systemd_hardening": True,
        "kubelet_seccomp_default": True,
        "kube_pod_security_use_default": True,
        "kube_scheduler_bind_address": "127.0.0.1",
        "kube_controller_manager_bind_address": "127.0.0.1",
        "metrics_server_kubelet_insecure_tls": False,
        "auto_renew_certificates": True,
        "unsafe_show_logs": False,
    }
    for row in rows():
        values = render.group_vars(*build(row))
        assert wanted.items() <= values.items()
        assert {"NodeRestriction", "PodSecurity", "EventRateLimit"} <= set(
            values["kube_apiserver_enable_admission_plugins"]
        )
        assert not any(
            mirror["mirrors"][0]["skip_verify"] for mirror in values.get("containerd_registries_mirrors", [])
        )


def test_one_more_agent_changes_only_its_own_part() -> None:
    """What is everybody's must stay as it is, or one more agent would be a run over all nodes."""
    for row in ROWS:
        machines, options = build({**row, "agents": 3, "gpus": 0})
        more = render.Machine("extra", "agent", "192.168.1.200")
        assert render.group_vars([*machines, more], options) == render.group_vars(machines, options)
        before, after = render.inventory(machines)["all"]["hosts"], render.inventory([*machines, more])["all"]["hosts"]
        assert {name: host for name, host in after.items() if name != "extra"} == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"servers": 2}, "2 servers: etcd needs an odd number"),
        ({"servers": 0, "agents": 3}, "0 servers: etcd needs an odd number"),
        ({"network_plugin": "weave"}, "the network plugin weave is not known"),
        ({"version": "1.30.4"}, "Kubernetes 1.30.4 is not one that Kubespray"),
        ({"version": "v1.35.4"}, "Kubernetes v1.35.4 is not one that Kubespray"),
        ({"version": "1.36.0"}, "Kubernetes 1.36.0 is not one that Kubespray"),
        ({"pod_cidr": "10.43.0.0/17"}, "10.43.0.0/17 and the service network 10.43.0.0/"),
        ({"pod_cidr": "10.42.0.0/22"}, "has room for 4 nodes"),
        ({"pod_cidr": "10.42.0.0/25"}, "has room for 0 nodes"),
        ({"pod_cidr": "192.168.0.0/16"}, "inside the pod network 192.168.0.0/16"),
        ({"service_cidr": "192.168.1.0/24"}, "inside the service network 192.168.1.0/24"),
    ],
)
def test_what_cannot_work_is_refused_whatever_else_is_chosen(change: dict[str, Any], sentence: str) -> None:
    """Each mistake in every pairwise row: some 200 refusals, each naming the value."""
    for row in ROWS:
        machines, options = build({**row, "agents": 12, **change})
        with pytest.raises(ValueError, match=sentence.replace(".", r"\.")):
            render.group_vars(machines, options)


def test_names_and_addresses_that_are_used_twice_are_refused() -> None:
    """Ansible would merge two hosts of one name in silence."""
    twice = [render.Machine("a", "server", "192.168.1.1"), render.Machine("a", "agent", "192.168.1.1")]
    found = "; ".join(render.problems(twice, render.Options()))
    assert "name a is given to several machines" in found
    assert "address 192.168.1.1 is given to several machines" in found


def ansible(folder: Path, *words: str) -> str:
    """Run one of Ansible's programs, away from this user's settings; its stdout."""
    keep = {
        "HOME": str(folder),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }
    program, *rest = words
    run = [str(Path(sys.executable).parent / program), *rest]
    done = subprocess.run(run, cwd=folder, env=keep, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a rendered inventory: three servers, agents and GPUs, mirrors, flannel."""
    folder = tmp_path_factory.mktemp("kubespray")
    machines, options = build({name: values[-1] for name, values in AXES.items()} | {"servers": 3, "agents": 1})
    settings = folder / "inventory" / "group_vars" / "all"
    settings.mkdir(parents=True)
    (settings / "settings.json").write_text(json.dumps(render.group_vars(machines, options)))
    (folder / "inventory" / "hosts.json").write_text(json.dumps(render.inventory(machines)))
    return folder


def test_real_ansible_reads_the_inventory_as_it_was_meant(written: Path) -> None:
    """A round trip through ansible-inventory: groups, host variables, and types of all group variables."""
    machines, options = build({name: values[-1] for name, values in AXES.items()} | {"servers": 3, "agents": 1})
    told = json.loads(ansible(written, "ansible-inventory", "-i", "inventory/hosts.json", "--list"))
    assert told["kube_control_plane"]["hosts"] == told["etcd"]["hosts"] == ["node1", "node2", "node3"]
    assert sorted(told["k8s_cluster"]["children"]) == ["kube_control_plane", "kube_node"]
    values = render.group_vars(machines, options)
    for machine in machines:
        assert told["_meta"]["hostvars"][machine.name] == {**values, **render.host_vars(machine)}


def test_real_ansible_takes_the_playbooks_with_the_inventory(written: Path) -> None:
    """Syntax of every playbook that is ever run, for a tree with a release's groups, or for a release given by path."""
    tree = Path(os.environ.get("LEASEHOLD_KUBESPRAY", PROJECT / "tests" / "data" / "kubespray-tree"))
    books = ["cluster.yml", "scale.yml", "remove-node.yml", "upgrade-cluster.yml", "playbooks/facts.yml"]
    inventory = str(written / "inventory" / "hosts.json")
    told = ansible(
        written, "ansible-playbook", "-i", inventory, "--syntax-check", *(str(tree / book) for book in books)
    )
    assert told.count("playbook: ") == len(books)


def test_what_a_release_asserts_of_its_variables_holds(written: Path) -> None:
    """The tree's roles assert, on every host, what the release's first role does: real Ansible evaluates them."""
    tree = PROJECT / "tests" / "data" / "kubespray-tree"
    inventory = str(written / "inventory" / "hosts.json")
    told = ansible(written, "ansible-playbook", "-i", inventory, "--forks", "10", str(tree / "cluster.yml"))
    assert "failed=0" in told
    assert "failed=1" not in told
