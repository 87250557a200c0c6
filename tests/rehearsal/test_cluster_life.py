"""What becomes of the cluster when machines, versions and secrets change: nothing is lost, one `up` repairs it.

On the deployment of test_cluster.py, in the order of the file; the last test removes it with a dead control plane.
"""

import hashlib
import json
import time
from typing import Any

import pytest
import yaml

from rehearsal.cloud import Cloud
from tests.environments import changed, cluster_only
from tests.rehearsal.cluster import Kubectl, Machines, until
from tests.rehearsal.stack import Stack

NODES = {"node1", "node2", "node3", "gpu1"}
SERVERS = ("node1", "node2", "node3")
K3S = "k3s kubectl --kubeconfig /etc/rancher/k3s/k3s.yaml --request-timeout=2s"
WRITES_BACK = 10.0
DETECTED, REPLACED = 60.0, 180.0
RESTORED = 600.0


def members(machines: Machines, server: str) -> list[dict[str, Any]]:
    """etcd's members as a server sees them."""
    tls = "/var/lib/rancher/k3s/server/tls/etcd"
    etcdctl = f"/var/lib/rancher/k3s/data/current/bin/etcdctl --cacert {tls}/server-ca.crt"
    found = machines.run(server, f"{etcdctl} --cert {tls}/client.crt --key {tls}/client.key member list -w json")
    listed: list[dict[str, Any]] = json.loads(found)["members"]
    return listed


def content(kubectl: Kubectl) -> str:
    """Hash of what users wrote: objects without what the server adds."""
    listed = kubectl.get("configmaps,secrets", "-n", "life")["items"]
    plain = [
        (o["kind"], o["metadata"]["name"], o.get("data")) for o in listed if o["metadata"]["name"] != "kube-root-ca.crt"
    ]
    assert len(plain) >= 100
    return hashlib.sha256(json.dumps(sorted(plain, key=str), sort_keys=True).encode()).hexdigest()


@pytest.fixture(scope="module")
def written(kubectl: Kubectl) -> str:
    """A hundred objects that nothing may lose; their hash."""
    kubectl.wait_ready(NODES)
    objects: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "life"}}]
    objects += [
        {
            "apiVersion": "v1",
            "kind": "Secret" if n % 2 else "ConfigMap",
            "metadata": {"name": f"object-{n}", "namespace": "life"},
            ("stringData" if n % 2 else "data"): {"value": hashlib.sha256(str(n).encode()).hexdigest()},
        }
        for n in range(100)
    ]
    kubectl.apply("---\n".join(yaml.safe_dump(o) for o in objects))
    return content(kubectl)


@pytest.fixture(autouse=True)
def in_order(written: str) -> None:
    """Every test starts from a cluster with the objects."""
    assert written


@pytest.mark.parametrize("victim", [pytest.param("node3", marks=pytest.mark.long), "node1"])
def test_a_killed_server_is_survived_and_replaced_in_one_up(
    cluster: Stack, machines: Machines, kubectl: Kubectl, written: str, victim: str
) -> None:
    """Any server, the first one and bastion included: writes go on within 10 s, one `up` brings three members back."""
    witness = next(name for name in SERVERS if name != victim)
    before = {m["ID"] for m in members(machines, witness)}
    machines.kill(victim)
    begin = time.monotonic()
    write = f"{K3S} create configmap after-{victim}-$RANDOM$RANDOM -n default"
    until("the API to take writes", lambda: machines.run(witness, write, timeout=10), 60, 0.1)
    took = time.monotonic() - begin
    print(f"{victim} killed: API writes again after {took:.1f} s")
    assert took <= WRITES_BACK
    # The agent goes on over its own balancer, whichever server it was joined by.
    own = f"{K3S.replace('/etc/rancher/k3s/k3s.yaml', '/var/lib/rancher/k3s/agent/kubelet.kubeconfig')} get node gpu1"
    until("the agent to reach the API", lambda: machines.run("gpu1", own, timeout=10), 20, 0.2)
    machines.lose(victim)
    begin = time.monotonic()
    done = cluster.run("up")
    took = time.monotonic() - begin
    print(f"{victim} lost: replaced by one up in {took:.0f} s")
    assert took <= REPLACED
    assert f"Instance {victim}" in done.names("create")
    kubectl.wait_ready(NODES)
    after = members(machines, witness)
    assert sorted(m["name"].rsplit("-", 1)[0] for m in after) == list(SERVERS)
    assert not any(m.get("isLearner") for m in after)
    assert len({m["ID"] for m in after} & before) == 2
    assert content(kubectl) == written
    assert "nothing changed" in cluster.run("up", "--expect-no-changes").out


@pytest.mark.long
def test_a_volume_that_somebody_detached_is_missed_and_comes_back_with_one_up(
    cluster: Stack, machines: Machines, kubectl: Kubectl, written: str
) -> None:
    """Without it the node does not start, and nothing is written where it was; with it the node goes on by itself."""
    machines.run("node3", "echo yes > /var/lib/leasehold/data/kept && sync")
    compute, server = machines.cloud.admin().compute, machines.ids()["node3"]
    for attachment in compute.volume_attachments(server):
        compute.delete_volume_attachment(server, attachment.volume_id)
    until("the volume to be detached", lambda: not list(compute.volume_attachments(server)), 60)
    machines.reboot("node3")
    begin = time.monotonic()
    until("the node to be missed", lambda: not kubectl.ready()["node3"], 120)
    missed = time.monotonic() - begin
    until("the machine to be on", lambda: machines.run("node3", "systemctl is-system-running --wait || true"), 180)
    assert machines.run("node3", "ls /var/lib/leasehold/data") == ""
    begin = time.monotonic()
    done = cluster.run("up")
    kubectl.wait_ready(NODES)
    print(
        f"measured: a volume away, its node missed after {missed:.0f} s, back {time.monotonic() - begin:.0f} s after up"
    )
    assert missed <= DETECTED
    assert done.names("create") == {"VolumeAttach node3-data-attach"}
    assert machines.run("node3", "cat /var/lib/leasehold/data/kept") == "yes"
    assert content(kubectl) == written
    assert "nothing changed" in cluster.run("up", "--expect-no-changes").out


@pytest.mark.long
def test_an_upgrade_goes_server_by_server_and_drains_each(
    cluster: Stack, machines: Machines, kubectl: Kubectl, written: str
) -> None:
    """Never two servers at a time; the agents follow when all servers have it."""
    newer = "v1.36.5+k3s1"
    cluster.write(changed(cluster_only(), {"cluster.version": newer}))
    done = cluster.run("up")
    assert done.count("update") >= 4
    kubectl.wait_ready(NODES)
    for name in sorted(NODES):
        assert newer in machines.run(name, "k3s --version")
    starts = {}
    for name in sorted(NODES):
        unit = "k3s-agent" if name == "gpu1" else "k3s"
        stamp = machines.run(name, f"systemctl show -P ActiveEnterTimestampMonotonic {unit}")
        starts[name] = int(stamp)
    assert starts["node1"] < starts["node2"] < starts["node3"] < starts["gpu1"]
    assert not [n["metadata"]["name"] for n in kubectl.get("nodes")["items"] if n["spec"].get("unschedulable")]
    assert content(kubectl) == written
    assert "nothing changed" in cluster.run("up", "--expect-no-changes").out


@pytest.mark.long  # a minute and more; tests/unit/test_cluster_scripts.py has the refusal itself
def test_an_upgrade_that_skips_a_minor_is_refused(cluster: Stack, machines: Machines) -> None:
    """Kubernetes supports one minor at a time; the node says so before it touches anything."""
    cluster.write(changed(cluster_only(), {"cluster.version": "v1.38.0+k3s1"}))
    refused = cluster.run("up", code=1)
    assert "one minor" in refused.err
    cluster.write(changed(cluster_only(), {"cluster.version": "v1.36.5+k3s1"}))
    cluster.run("up")
    assert "v1.36.5" in machines.run("node1", "k3s --version")


@pytest.mark.long
def test_rotated_tokens_and_certificates_reach_every_node(cluster: Stack, machines: Machines, written: str) -> None:
    """By one number in the environment each; the old token joins nobody any more."""
    base = {"cluster.version": "v1.36.5+k3s1"}
    old = machines.run("node1", "cat /var/lib/rancher/k3s/server/token")
    tls = "/var/lib/rancher/k3s/server/tls/serving-kube-apiserver.crt"
    serial = machines.run("node1", f"openssl x509 -in {tls} -noout -serial")
    cluster.write(changed(cluster_only(), base | {"cluster.rotation": {"token": 2, "certificates": 2}}))
    cluster.run("up")
    tokens = {machines.run(name, "cat /var/lib/rancher/k3s/server/token") for name in SERVERS}
    assert len(tokens) == 1
    assert old not in tokens
    assert machines.run("node1", f"openssl x509 -in {tls} -noout -serial") != serial
    Kubectl.of(cluster).wait_ready(NODES)
    assert content(Kubectl.of(cluster)) == written
    assert "nothing changed" in cluster.run("up", "--expect-no-changes").out
    # A node that comes now joins with the new token.
    machines.lose("gpu1")
    cluster.run("up")
    Kubectl.of(cluster).wait_ready(NODES)


def test_a_lost_control_plane_is_restored_from_its_last_snapshot_by_one_command(
    cluster: Stack, machines: Machines, written: str
) -> None:
    """All three servers are gone; their data volumes hold the snapshots."""
    machines.run("node1", "k3s etcd-snapshot save --name before-the-loss")
    machines.lose(*SERVERS)
    refused = cluster.run("up", code=1)
    assert "snapshot" in refused.err
    assert "restore" in refused.err
    begin = time.monotonic()
    cluster.run("up", "--config", "leasehold:restore=latest")
    kubectl = Kubectl.of(cluster)
    kubectl.wait_ready(NODES, 120)
    took = time.monotonic() - begin
    print(f"restored after {took:.0f} s")
    assert took <= RESTORED
    assert content(kubectl) == written
    assert len(members(machines, "node2")) == 3


def test_refresh_and_destroy_work_with_the_control_plane_dead(cluster: Stack, machines: Machines, cloud: Cloud) -> None:
    """A broken cluster must not keep its machines and addresses alive."""
    for name in SERVERS:
        machines.run(name, "systemctl stop k3s; k3s-killall.sh || true", check=False)
    cluster.run("refresh")
    cluster.run("destroy")
    left = {kind: objects for kind, objects in cloud.inventory().items() if objects}
    assert not {"servers", "volumes", "ports"} & set(left), left
