"""The bastion's side of Kubespray, run for real in bash with stand-ins for SSH, systemd and Ansible's install."""

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from cluster.kubespray import render, script, variables
from config import Download

ROOT = "/var/lib/leasehold"
PATH = "kubespray/v2.31.0.tar.gz"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFtIbAVpCLbcl4LqrcTwkPhvcvMFkPpSx8z8wKLqGTlm"
SECRETS = {"ssh_key": "PRIVATE-canary", "variables": '{"kube_encrypt_token": "canary"}'}
MACHINES = (
    render.Machine("node1", "server", "192.168.1.11"),
    render.Machine("node2", "agent", "192.168.1.12"),
)

SSH = """#!/bin/bash
printf '%s\\n' "$*" >>"$STATE/ssh.log"
for word; do case $word in *@*) address=${word#*@} ;; esac; done
[ ! -e "$STATE/down-$address" ] || { echo "ssh: connect to host $address port 22: refused" >&2; exit 255; }
case ${*: -1} in
  "test -e"*) [ -e "$STATE/joined-$address" ] ;;
  *"get nodes -o json") [ -s "$STATE/nodes.json" ] && cat "$STATE/nodes.json" ;;
  *"wait --for"*) ;;
  *admin.conf) echo "kubeconfig: admin" ;;
esac
"""
PLAYBOOK = """#!/bin/bash
printf '%s\\n' "$*" >>"$STATE/plays.log"
[ ! -e "$STATE/fail" ] || {
  printf 'TASK [etcd : Join] ****\\nfatal: [node2]: FAILED! => {"msg": "a secret"}\\n'
  exit 2
}
"""


def release(names: frozenset[str]) -> bytes:
    """An archive with a release's layout, whose roles mention these names."""
    files = {
        "kubespray-x/cluster.yml": "",
        "kubespray-x/playbooks/cluster.yml": "",
        "kubespray-x/roles/kubespray_defaults/defaults/main/main.yml": "".join(
            f"{name}: x\n" for name in sorted(names)
        ),
        "kubespray-x/roles/kubespray_defaults/vars/main/checksums.yml": "kubelet_checksums: {amd64: {1.35.4: 0}}",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


class Bastion:
    """A folder that stands for the machine."""

    def __init__(self, folder: Path, names: frozenset[str]) -> None:
        self.root, self.state, self.bin = folder / "root", folder / "state", folder / "bin"
        for made in (self.state, self.bin, *(self.root / part for part in ("steps", "results", "secrets/kubespray"))):
            made.mkdir(parents=True)
        for name, text in SECRETS.items():
            (self.root / "secrets" / "kubespray" / name).write_text(text)
        self.program(self.bin / "ssh", SSH)
        self.program(self.bin / "systemctl", "#!/bin/sh\n")
        lock = hashlib.sha256((script.HERE / "ansible.lock").read_bytes()).hexdigest()[:16]
        self.folder = self.root / "kubespray"
        self.program(self.folder / f"ansible-{lock}" / "bin" / "ansible-playbook", PLAYBOOK)
        (self.folder / f"ansible-{lock}" / "installed").touch()
        content = release(names)
        (self.folder / "release.tar.gz").write_bytes(content)
        self.download = Download(PATH, "http://127.0.0.1:1/none", hashlib.sha256(content).hexdigest())

    @staticmethod
    def program(file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def joined(self, *machines: render.Machine, version: str = "v1.35.4") -> None:
        """Say that machines are nodes."""
        items = []
        for machine in machines:
            (self.state / f"joined-{machine.address}").touch()
            labels = {"node-role.kubernetes.io/control-plane": ""} if machine.role == "server" else {}
            address = [{"type": "InternalIP", "address": machine.address}]
            status = {"nodeInfo": {"kubeletVersion": version}, "addresses": address}
            items.append({"metadata": {"name": machine.name, "labels": labels}, "status": status})
        (self.state / "nodes.json").write_text(json.dumps({"items": items}))

    def run(self, machines: tuple[render.Machine, ...] = MACHINES, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the unit's script, as systemd would."""
        run = script.Run(
            bastion="node1",
            machines=machines,
            host_keys=tuple(KEY for _ in machines),
            identities=tuple(machine.name for machine in machines),
            options=render.Options(**options),
            release=self.download,
        )
        body = re.search(r"<<'(\w*-?SCRIPT\w*)'[^\n]*\n(.*?)\n\1\n", script.script(run), re.DOTALL)
        assert body is not None
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "STATE": str(self.state)}
        words = [
            "bash",
            "-c",
            body[2].replace(ROOT, str(self.root)),
            "step",
            hashlib.sha256(body[2].encode()).hexdigest(),
        ]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)

    def plays(self) -> list[str]:
        """Playbooks that ran, with what came after them."""
        log = self.state / "plays.log"
        return [line.partition(".yml ")[0].rpartition("/")[2] for line in self.lines(log)] if log.exists() else []

    @staticmethod
    def lines(log: Path) -> list[str]:
        return [re.sub(r"^--inventory \S+ ", "", line) + " " for line in log.read_text().splitlines()]


@pytest.fixture
def bastion(tmp_path: Path) -> Bastion:
    return Bastion(tmp_path, variables.known())


def test_a_run_makes_the_cluster_and_tells_the_kubeconfig(bastion: Bastion) -> None:
    """From the archive to the result, with every key pinned and no secret in an argument or a log."""
    done = bastion.run()
    assert done.returncode == 0, done.stderr
    assert bastion.plays() == ["cluster"]
    result = (bastion.root / "results" / "kubespray").read_text()
    assert script.parse(result) == "kubeconfig: admin\n"
    said = done.stdout + done.stderr + "".join((bastion.state / log).read_text() for log in ("ssh.log", "plays.log"))
    assert "canary" not in said
    for call in (bastion.state / "ssh.log").read_text().splitlines():
        assert "StrictHostKeyChecking=yes" in call
        assert "GlobalKnownHostsFile=/dev/null" in call
    settings = (bastion.folder / "ansible.cfg").read_text()
    assert "host_key_checking = True" in settings
    assert "StrictHostKeyChecking=yes" in settings
    assert (bastion.folder / "known_hosts").read_text().splitlines()[1] == f"192.168.1.12 {KEY}"


def test_secrets_are_in_files_of_root_only(bastion: Bastion) -> None:
    """Kubespray's own way leaves them in a folder that everybody may enter."""
    bastion.run()
    for file in ("ssh_key", "inventory/group_vars/all/secrets.json"):
        assert (bastion.folder / file).stat().st_mode & 0o077 == 0
    readable = [path for path in bastion.folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    holding = [path for path in readable if b"canary" in path.read_bytes()]
    assert holding == []


def test_a_second_run_asks_the_cluster_and_adds_only_what_is_new(bastion: Bastion) -> None:
    """Memory of the last run and the cluster's own word decide together."""
    bastion.run()
    bastion.joined(*MACHINES)
    done = bastion.run((*MACHINES, render.Machine("node3", "agent", "192.168.1.13")))
    assert done.returncode == 0, done.stderr
    assert bastion.plays() == ["cluster", "facts", "scale"]
    assert (bastion.state / "plays.log").read_text().splitlines()[-1].endswith("--limit node3,localhost")


def test_a_name_that_the_release_does_not_know_stops_before_anything_runs(tmp_path: Path) -> None:
    """Also for a release that the environment gives: Kubespray would ignore the setting in silence."""
    bastion = Bastion(tmp_path, variables.known() - {"kubernetes_audit"})
    done = bastion.run()
    assert done.returncode == 65
    assert f"{PATH} does not know: kubernetes_audit" in done.stderr
    assert bastion.plays() == []
    assert not (bastion.state / "ssh.log").exists()


def test_a_version_without_checksums_stops_before_anything_runs(bastion: Bastion) -> None:
    """The release would fail half-way, on every node."""
    done = bastion.run(version="1.34.99")
    assert done.returncode == 65
    assert f"{PATH} has no checksums for Kubernetes 1.34.99" in done.stderr
    assert bastion.plays() == []


def test_a_machine_that_does_not_answer_is_named(bastion: Bastion) -> None:
    """Ansible would fail late, with a page of output; another try may find it up."""
    (bastion.state / "down-192.168.1.12").touch()
    done = bastion.run()
    assert done.returncode == 1
    assert "node2 does not answer on SSH from node1: ssh: connect to host 192.168.1.12 port 22: refused" in done.stderr
    assert bastion.plays() == []


def test_a_failed_playbook_says_where_and_not_what(bastion: Bastion) -> None:
    """Ansible's messages may hold secrets, so they stay in a file of the bastion."""
    (bastion.state / "fail").touch()
    done = bastion.run()
    assert done.returncode == 1
    error = (bastion.root / "results" / "kubespray.error").read_text()
    assert error.startswith("cluster.yml failed at the task “etcd : Join” on node2; what Ansible said is in ")
    assert "a secret" not in done.stderr + done.stdout
    assert not (bastion.folder / "applied.json").exists()


def test_what_is_refused_ends_with_the_plan_s_sentence(bastion: Bastion) -> None:
    """A refusal is no reason to try again."""
    bastion.joined(*MACHINES, version="v1.36.0")
    done = bastion.run()
    assert done.returncode == 65
    assert "kubespray: node1 runs Kubernetes v1.36.0, newer than 1.35.4" in done.stderr
    assert bastion.plays() == []


def test_letting_the_bastion_in_keeps_the_other_keys_and_repeats_nothing(tmp_path: Path) -> None:
    """The same file holds the stack's own key and those of people."""
    keys = tmp_path / ".ssh" / "authorized_keys"
    keys.parent.mkdir()
    keys.write_text("ssh-ed25519 OTHER me\n")
    for key in ("ssh-ed25519 ONE a", "ssh-ed25519 TWO b"):
        words = ["sh", "-c", script.admit(key)]
        subprocess.run(words, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, check=True, timeout=20)
    assert keys.read_text() == "ssh-ed25519 OTHER me\nrestrict ssh-ed25519 TWO leasehold kubespray\n"
    assert keys.stat().st_mode & 0o077 == 0


def test_secrets_travel_on_stdin_only() -> None:
    """The script is shown in errors of the provider, and stored in the state in clear."""
    run = script.Run("node1", MACHINES, (KEY, KEY), ("a", "b"), render.Options(), Download(PATH, "https://x", "0" * 64))
    told = json.loads(script.secrets("s" * 64, "PRIVATE"))
    values = json.loads(told["variables"])
    assert (len(values["kube_encrypt_token"]), len(values["kubeadm_certificate_key"])) == (32, 64)
    assert int(values["kubeadm_certificate_key"], 16)
    for secret in ("s" * 32, values["kubeadm_certificate_key"], "PRIVATE"):
        assert secret not in script.script(run)


def test_the_script_of_200_nodes_can_be_carried() -> None:
    """It travels as one argument of a program, which Linux bounds."""
    machines = tuple(
        render.Machine(f"node{n}", "server" if n < 3 else "agent", f"10.0.{n // 250}.{1 + n % 250}") for n in range(200)
    )
    identities = tuple(f"6f9619ff-8b86-d011-b42d-00c04fc9{n:04d}" for n in range(200))
    options = render.Options(pod_cidr=IPv4Network("10.128.0.0/12"))
    run = script.Run("node0", machines, (KEY,) * 200, identities, options, Download(PATH, "https://x", "0" * 64))
    assert len(script.script(run)) < 128 * 1024
