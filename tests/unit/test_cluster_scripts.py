"""Branches of k3s's scripts that need no machine: versions, sentences, snapshots, other clusters."""

from hashlib import sha256
from pathlib import Path

import pytest

from tests.unit.test_prepare import bash

PARTS = ("k3s_checks.sh", "k3s_drain.sh", "k3s_life.sh")
KNOWN = {
    "role": "server",
    "first": True,
    "address": "192.168.1.11",
    "interface": "",
    "peers": (),
    "version": "v1.36.4+k3s1",
    "restore": "",
    "s3": False,
}


def run(folder: Path, call: str, **changes: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of functions of the scripts."""
    known = {**KNOWN, "snapshots": str(folder / "snapshots"), **changes}
    done = bash(folder, call, *PARTS, **known)  # type: ignore[arg-type]
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("v1.36.4+k3s1", "v1.38.0+k3s1", "one minor version at a time"),
        ("v1.36.4+k3s1", "v1.35.9+k3s1", "cannot go back"),
        ("v1.36.4+k3s1", "v1.37.0+k3s1", ""),
        ("v1.36.4+k3s1", "v1.36.3+k3s1", ""),
        ("", "v1.38.0+k3s1", ""),
    ],
)
def test_a_node_goes_up_by_one_minor_at_most(tmp_path: Path, before: str, after: str, words: str) -> None:
    """Kubernetes supports nothing else, and finds out too late."""
    call = f"installed_version() {{ echo '{before}'; }}\nis_node() {{ true; }}\ncheck_version_step"
    code, _, error = run(tmp_path, call, version=after)
    assert code == (65 if words else 0)
    assert words in error


SENTENCES = {
    "token CA hash does not match the Cluster CA certificate hash: a != b": "the token is not this cluster's",
    "https://a:6443/v1-k3s/server-bootstrap: 401 Unauthorized": "the server refused the token",
    "bootstrap data already found and encrypted with different token": "encrypted with",
    "etcd cluster join failed: duplicate node name found": "kubectl delete node node1",
    "Node password rejected, duplicate hostname": "kubectl delete node node1",
    "critical configuration value mismatch between servers: ClusterDomain": "other servers: ClusterDomain",
    'level=fatal msg="something new"': "k3s stopped: something new",
    "all is well": "",
}


@pytest.mark.parametrize("line", SENTENCES)
def test_what_k3s_logs_becomes_a_sentence(tmp_path: Path, line: str) -> None:
    """Its own lines name neither the cause nor the remedy."""
    code, out, _ = run(tmp_path, 'sentence "$line"', line=line)
    assert code == 0
    assert SENTENCES[line] in out
    assert bool(out) is bool(SENTENCES[line])


def test_a_taken_name_is_waited_for_and_a_wrong_token_is_not(tmp_path: Path) -> None:
    """The name is freed when the old Node is deleted; a token does not become right."""
    call = 'for line in "${lines[@]}"; do is_permanent "$line" && echo yes || echo no; done'
    lines = ("duplicate node name found", "401 Unauthorized")
    assert run(tmp_path, call, lines=lines)[1].split() == ["no", "yes"]


def test_a_node_that_joins_again_forgets_its_pods_network_once(tmp_path: Path) -> None:
    """Its new range of addresses does not fit the old bridge: it would be Ready, and start no pod."""
    fakes = "\n".join(f'{name}() {{ echo "{name} $*"; }}' for name in ("systemctl", "ip", "rm"))
    call = f'{fakes}\nservice=k3s-agent\ntouch "$root/k3s.rejoining"\nforget_pod_network\nforget_pod_network'
    code, out, error = run(tmp_path, f"{call}\ncommand rm $root/k3s.rejoining\nforget_pod_network", role="agent")
    assert code == 0, error
    assert out.splitlines()[:4] == [
        "systemctl stop k3s-agent",
        "ip link delete cni0",
        "ip link delete flannel.1",
        "rm -rf /var/lib/cni/networks/cbr0",
    ]


def test_snapshots_of_an_earlier_cluster_stop_a_fresh_first_server(tmp_path: Path) -> None:
    """A new cluster beside them would look as if all were lost."""
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "etcd-snapshot-1.zip").touch()
    code, _, error = run(tmp_path, "begin_or_restore")
    assert code == 65
    assert "leasehold:restore=latest" in error
    assert "etcd-snapshot-1.zip" in error


@pytest.mark.parametrize(("wanted", "code"), [("latest", 0), ("one", 0), ("none", 65)])
def test_a_snapshot_is_restored_by_name_or_the_newest(tmp_path: Path, wanted: str, code: int) -> None:
    """What is not there is refused before anything is removed."""
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "one").touch()
    found, out, _ = run(tmp_path, "begin_or_restore; echo $snapshot", restore=wanted)
    assert (found, out) == (code, str(tmp_path / "snapshots" / "one") if code == 0 else "")
    assert (tmp_path / "k3s.restoring").exists() is (code == 0)


@pytest.mark.parametrize(("ca", "code"), [(b"ours", 0), (b"theirs", 65)])
def test_a_machine_of_another_cluster_is_refused(tmp_path: Path, ca: bytes, code: int) -> None:
    """Its old certificates would be shown to ours."""
    (tmp_path / "tls").mkdir(parents=True)
    (tmp_path / "server" / "tls").mkdir(parents=True)
    (tmp_path / "server" / "tls" / "server-ca.crt").write_bytes(ca)
    token = f"K10{sha256(b'ours').hexdigest()}::server:canary"
    call = f"k3s_data={tmp_path}\njoining_token() {{ echo '{token}'; }}\ncheck_no_other_cluster"
    found, out, error = run(tmp_path, call)
    assert found == code
    assert "canary" not in out + error
