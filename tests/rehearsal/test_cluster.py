"""The main job, second half: the shipped environment, unchanged, ends as a Kubernetes cluster that works.

The tests run in the order of the file, on one deployment, as a team would use it. What becomes of it when
machines are lost is in test_cluster_life.py, on the same deployment.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster import leave
from infra import blazar
from rehearsal.cloud import Cloud
from rehearsal.kubernetes import names
from rehearsal.paths import PROJECT
from tests.environments import changed, cluster_only
from tests.rehearsal.cluster import Kubectl, Machines, until
from tests.rehearsal.stack import Run, Stack

NODES = {"node1", "node2", "node3", "gpu1"}
SERVERS = {"node1", "node2", "node3"}
NODE4 = {"role": "agent", "address": "192.168.1.20", "lease": "platform", "image": "CC-Ubuntu24.04"}
IMAGE = names.BUSYBOX
SPREAD = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: proof}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: web, namespace: proof}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      tolerations: [{{operator: Exists}}]
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {IMAGE}
        command: [sh, -c, 'mkdir /www && echo $NODE > /www/index.html && echo serving && exec httpd -f -p 8000 -h /www']
        env: [{{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]
        readinessProbe: {{httpGet: {{path: /, port: 8000}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: proof}}
spec:
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8000}}]
"""
KEEPER = f"""
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: kept, namespace: proof}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 10Mi}}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: keeper, namespace: proof}}
spec:
  serviceName: keeper
  selector: {{matchLabels: {{app: keeper}}}}
  template:
    metadata: {{labels: {{app: keeper}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: keeper
        image: {IMAGE}
        command: [sleep, '100000']
        volumeMounts: [{{name: kept, mountPath: /kept}}]
      volumes: [{{name: kept, persistentVolumeClaim: {{claimName: kept}}}}]
"""


def test_every_node_is_ready_under_its_name_with_its_address(cluster: Stack, kubectl: Kubectl) -> None:
    """The report of `make rehearse` ends here: a cluster of all machines."""
    kubectl.wait_ready(NODES)
    wanted = {host["name"]: host["address"] for host in cluster.outputs()["hosts"]}
    for node in kubectl.get("nodes")["items"]:
        name = node["metadata"]["name"]
        addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
        assert addresses["InternalIP"] == wanted[name]
        is_server = "node-role.kubernetes.io/control-plane" in node["metadata"]["labels"]
        assert is_server == (name in SERVERS)


def test_the_kubeconfig_is_a_secret_and_speaks_to_the_public_address(cluster: Stack) -> None:
    """From outside, by the address that administrators may reach, with the cluster's own CA."""
    assert cluster.outputs()["kubeconfig"] == "[secret]"
    config = yaml.safe_load(cluster.outputs(secrets=True)["kubeconfig"])
    address = cluster.outputs()["floating_ips"]["kvm"]
    (entry,) = config["clusters"]
    assert entry["cluster"]["server"] == f"https://{address}:6443"
    assert entry["cluster"]["certificate-authority-data"]
    assert "insecure-skip-tls-verify" not in entry["cluster"]


def test_the_api_answers_administrators_only(cluster: Stack, cloud: Cloud) -> None:
    """Port 6443 is open to admin_cidrs, and dropped for everybody else; anonymous callers get 401."""
    address = cluster.outputs()["floating_ips"]["kvm"]
    asked = ["curl", "-sk", "--max-time", "3", "-o", "/dev/null", "-w", "%{http_code}", f"https://{address}:6443/api"]
    assert subprocess.run(asked, capture_output=True, text=True, check=False).stdout == "401"
    outsider = ["ip", "netns", "exec", cloud.outsider()]
    assert subprocess.run([*outsider, *asked], capture_output=True, text=True, check=False).stdout == "000"


def test_a_workload_on_all_nodes_serves_through_a_service_by_its_dns_name(kubectl: Kubectl) -> None:
    """Pod network, kube-proxy and CoreDNS, from every node to every node."""
    kubectl.apply(SPREAD)
    kubectl.run("rollout", "status", "daemonset/web", "-n", "proof", "--timeout=90s", timeout=100)
    pods = {p["spec"]["nodeName"]: p["metadata"]["name"] for p in kubectl.get("pods", "-n", "proof")["items"]}
    assert set(pods) == NODES
    ask = "for i in $(seq 40); do timeout 2 wget -qO- http://web.proof.svc.cluster.local; done | sort -u"
    for pod in pods.values():

        def all_answer(asker: str = pod) -> bool:
            answers = kubectl.run("exec", "-n", "proof", asker, "--", "sh", "-c", ask, timeout=100)
            return set(answers.split()) == NODES

        # Each node's kube-proxy learns of the last endpoint at its own time.
        until(f"all nodes to answer {pod}", all_answer, 60)


def test_logs_and_exec_work_on_every_node(kubectl: Kubectl) -> None:
    """Both go from the API server to the kubelet of the node, with certificates that both check."""
    for pod in kubectl.get("pods", "-n", "proof", "-l", "app=web")["items"]:
        name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
        assert kubectl.run("logs", "-n", "proof", name) == "serving"
        assert kubectl.run("exec", "-n", "proof", name, "--", "cat", "/www/index.html") == node


def test_a_volume_claim_keeps_its_data_over_a_restart_of_its_pod(kubectl: Kubectl, machines: Machines) -> None:
    """And the data lie on the node's data volume, which outlives the node."""
    kubectl.apply(KEEPER)
    kubectl.run("rollout", "status", "statefulset/keeper", "-n", "proof", "--timeout=90s", timeout=100)
    kubectl.run("exec", "-n", "proof", "keeper-0", "--", "sh", "-c", "echo precious > /kept/f")
    before = kubectl.get("pod", "keeper-0", "-n", "proof")["metadata"]["uid"]
    kubectl.run("delete", "pod", "keeper-0", "-n", "proof")
    kubectl.run("rollout", "status", "statefulset/keeper", "-n", "proof", "--timeout=90s", timeout=100)
    pod = kubectl.get("pod", "keeper-0", "-n", "proof")
    assert pod["metadata"]["uid"] != before
    assert kubectl.run("exec", "-n", "proof", "keeper-0", "--", "cat", "/kept/f") == "precious"
    source = machines.run(pod["spec"]["nodeName"], "findmnt -no SOURCE --target /var/lib/rancher/k3s/storage")
    assert source.startswith("/dev/vdb"), source


def test_secrets_are_encrypted_at_rest(kubectl: Kubectl, machines: Machines) -> None:
    """A stolen disk or snapshot must not give them away."""
    kubectl.run("create", "secret", "generic", "canary", "-n", "proof", "--from-literal=word=c4n4ry-at-rest")
    found = machines.run("node1", "grep -c 'c4n4ry-at-rest' /var/lib/rancher/k3s/server/db/etcd/member/snap/db || true")
    assert found == "0"


def test_the_gpu_node_offers_its_gpu_and_a_job_has_run_on_it(kubectl: Kubectl) -> None:
    """Driver, toolkit, runtime, RuntimeClass, device plugin: a Job that asks for a GPU shows nvidia-smi's table."""
    node = kubectl.get("node", "gpu1")
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert [t["key"] for t in node["spec"].get("taints", [])] == ["nvidia.com/gpu"]
    job = kubectl.get("job", "nvidia-smi", "-n", "leasehold-gpu")
    assert job["status"]["succeeded"] == 1
    log = kubectl.run("logs", "-n", "leasehold-gpu", "job/nvidia-smi")
    assert "H100" in log


def test_a_second_up_changes_nothing_and_opens_no_ssh_connection(cluster: Stack, machines: Machines) -> None:
    """What is there is not done again."""
    before = machines.logins()
    again = cluster.run("up", "--expect-no-changes")
    assert "nothing changed" in again.out
    assert machines.logins() == before


def test_no_secret_is_in_a_process_list_a_script_user_data_or_a_log(
    cluster: Stack, machines: Machines, first_cluster_up: Run
) -> None:
    """The tokens, the kubeconfig's key and the login key are the canaries."""
    outputs = cluster.outputs(secrets=True)
    key = next(u["user"]["client-key-data"] for u in yaml.safe_load(outputs["kubeconfig"])["users"])
    token = machines.run("node1", "cat /var/lib/rancher/k3s/server/token").rsplit(":", 1)[-1]
    agent_token = machines.run("node1", "cat /var/lib/rancher/k3s/server/agent-token").rsplit(":", 1)[-1]
    canaries = [key[40:80], token[:24], agent_token[:24], outputs["ssh_private_key"].splitlines()[3]]
    assert all(len(canary) >= 20 for canary in canaries)
    assert token != agent_token
    places = {
        "output": first_cluster_up.out + first_cluster_up.err,
        "state": "".join(p.read_text() for p in cluster.root.stacks.iterdir() if p.is_file()),
        "preview": cluster.run("preview", "--json").out,
        "processes here": subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout,
    }
    for name in sorted(NODES):
        places[f"processes of {name}"] = machines.run(name, "ps -eo args")
        places[f"scripts of {name}"] = machines.run(
            name, "cat /var/lib/leasehold/steps/* /etc/systemd/system/*.service /usr/local/bin/*.sh 2>/dev/null || true"
        )
        places[f"user data of {name}"] = machines.run(name, "cat /var/lib/cloud/instance/user-data.txt")
        places[f"journal of {name}"] = machines.run(name, "journalctl -q --no-pager")
        places[f"open files of {name}"] = machines.run(
            name,
            "find / -xdev -type f -perm /004 -size -256k -newer /etc/hostname"
            " -not -path '/proc/*' -not -path '/sys/*' -not -path '/usr/share/*' -print0"
            " | xargs -0 cat 2>/dev/null | tr -d '\\0'",
        )
    assert not [(place, n) for place, text in places.items() for n, c in enumerate(canaries) if c in text]


def test_a_failing_command_s_error_holds_no_secret(cluster: Stack, machines: Machines) -> None:
    """The token is on stdin, and error texts hold the command: they must not hold what it was given."""
    token = machines.run("node1", "cat /var/lib/rancher/k3s/server/token").rsplit(":", 1)[-1]
    urn = next(u for u in cluster.state.read_text().split('"') if u.endswith("::gpu1-k3s"))
    machines.run("gpu1", "mv /usr/bin/systemd-run /usr/bin/systemctl /root/")
    try:
        failed = cluster.run("up", "--replace", urn, code=1)
    finally:
        machines.run("gpu1", "mv /root/systemd-run /root/systemctl /usr/bin/")
    assert "gpu1" in failed.err
    assert token[:20] not in failed.out + failed.err
    cluster.run("up")


def test_one_more_agent_is_seven_creates_and_no_command_on_the_others(
    cluster: Stack, kubectl: Kubectl, machines: Machines
) -> None:
    """Work that grows with the cluster would make every addition slower than the last one."""
    before = machines.logins()
    cluster.write(changed(cluster_only(), {"infra.nodes.node4": NODE4}))
    done = cluster.run("up")
    assert done.count("create") <= 7
    assert [done.count(op) for op in ("update", "replace", "delete")] == [0, 0, 0]
    after = machines.logins()
    jumps = after.pop("node4")
    # The bastion carries each connection to the new node, and runs nothing.
    assert after["node1"] - before["node1"] == jumps
    assert {n: c for n, c in after.items() if n != "node1"} == {n: c for n, c in before.items() if n != "node1"}
    kubectl.wait_ready(NODES | {"node4"})


def test_a_removed_agent_is_drained_first(cluster: Stack, kubectl: Kubectl, machines: Machines) -> None:
    """Pods get their grace period and a new place before their machine goes."""
    kubectl.apply(
        f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: mover, namespace: proof}}
spec:
  selector: {{matchLabels: {{app: mover}}}}
  template:
    metadata: {{labels: {{app: mover}}}}
    spec:
      affinity: {{nodeAffinity: {{preferredDuringSchedulingIgnoredDuringExecution: [{{weight: 100, preference:
        {{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [node4]}}]}}}}]}}}}
      containers: [{{name: c, image: {IMAGE}, command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 1; done']}}]
"""
    )
    kubectl.run("rollout", "status", "deployment/mover", "-n", "proof", "--timeout=60s", timeout=70)
    (pod,) = kubectl.get("pods", "-n", "proof", "-l", "app=mover")["items"]
    assert pod["spec"]["nodeName"] == "node4"
    cluster.write(cluster_only())
    done = cluster.run("up")
    assert done.count("delete") == 7
    assert [done.count(op) for op in ("create", "update", "replace")] == [0, 0, 0]
    assert set(kubectl.ready()) == NODES
    events = kubectl.get("events", "-n", "proof", "--field-selector", f"involvedObject.name={pod['metadata']['name']}")
    assert "Killing" in {event["reason"] for event in events["items"]}, "the kubelet ended the pod itself"
    kubectl.run("rollout", "status", "deployment/mover", "-n", "proof", "--timeout=60s", timeout=70)
    audit = "".join(machines.run(n, "cat /var/lib/rancher/k3s/server/logs/audit.log*", check=False) for n in SERVERS)
    assert f"/pods/{pod['metadata']['name']}/eviction" in audit, "it was asked to go, not deleted"


def test_an_agent_is_empty_before_its_lease_ends_and_an_extension_takes_that_back(
    cluster: Stack, kubectl: Kubectl, machines: Machines
) -> None:
    """The site deletes the machine without a word to what runs on it. The service is started as its timer would."""
    end = blazar.parse_time(cluster.outputs()["leases"]["gpu"]["end"])
    due = machines.run("gpu1", "systemctl show -p NextElapseUSecRealtime --value leasehold-empty.timer")
    assert f"{end - leave.BEFORE:%Y-%m-%d %H:%M:%S UTC}" in due
    kubectl.apply(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: trainer, namespace: proof}}
spec:
  nodeSelector: {{kubernetes.io/hostname: gpu1}}
  tolerations: [{{operator: Exists}}]
  containers: [{{name: c, image: {IMAGE}, command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 1; done']}}]
"""
    )
    kubectl.run("wait", "pod/trainer", "-n", "proof", "--for=condition=Ready", "--timeout=60s", timeout=70)
    machines.run("gpu1", "systemctl start leasehold-empty.service")
    left = ("get", "pod/trainer", "-n", "proof", "--ignore-not-found", "-o", "name")
    until("its pod to have left", lambda: not kubectl.run(*left), 60)
    assert kubectl.get("node", "gpu1")["spec"]["unschedulable"]
    longer = cluster_only()["infra"]["leases"]["gpu"]["hours"] + 1
    cluster.write(changed(cluster_only(), {"infra.leases.gpu.hours": longer}))
    assert cluster.run("up").names("update") == {"Lease gpu", "Command gpu1-leave"}
    assert "unschedulable" not in kubectl.get("node", "gpu1")["spec"]
    cluster.write(cluster_only())
    cluster.run("up")


def test_a_kubeconfig_is_enough_of_a_cluster_and_readers_only_read(
    cluster: Stack, kubectl: Kubectl, machines: Machines, tmp_path: Path
) -> None:
    """Somebody else's stack on this cluster: no machine, no SSH; its reader sees a namespace, and no secret of it."""
    stack = Stack(cluster.root, "existing", tmp_path / "Pulumi.existing.yaml")
    readers = {"team": {"namespaces": ["proof"]}}
    stack.write({"cluster": {"kind": "existing", "kubeconfig_file": str(kubectl.kubeconfig), "readers": readers}})
    before = machines.logins()
    stack.run("up")
    assert "nothing changed" in stack.run("up", "--expect-no-changes").out
    assert machines.logins() == before
    assert stack.outputs()["reader_kubeconfigs"] == "[secret]"
    team = Kubectl.of(stack, stack.outputs(secrets=True)["reader_kubeconfigs"]["team"])
    assert team.get("pods", "-n", "proof")["items"]
    assert team.run("logs", "-n", "proof", "daemonset/web").endswith("serving")
    for refused in (
        ["get", "secrets", "-n", "proof"],
        ["get", "pods", "-n", "kube-system"],
        ["delete", "pod", "keeper-0", "-n", "proof"],
        ["exec", "-n", "proof", "keeper-0", "--", "true"],
    ):
        assert "Forbidden" in team.run(*refused, check=False) or "forbidden" in team.run(*refused, check=False), refused
    stack.run("destroy")
    # The API server remembers the account for some seconds; its rights are gone at once.
    assert re.search("Forbidden|Unauthorized", team.run("get", "pods", "-n", "proof", check=False))
    assert "NotFound" in kubectl.run("get", "namespace", "leasehold-readers", check=False)


STAND_IN = {
    "1.1.9": "Debian's CNI plugins are older than k3s's, and write other modes",
    **dict.fromkeys([f"2.{n}" for n in range(1, 8)], "the stand-in gives etcd flags, k3s a file"),
}
"""Checks that a stand-in cannot answer for k3s."""


# The second server has the files of the third.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name == "node2")) for name in sorted(NODES)]
)
def test_every_check_of_a_machine_s_files_holds(machines: Machines, name: str) -> None:
    """The CIS benchmark's checks that only a machine can answer: modes, owners, what runs."""
    checks = yaml.safe_load((PROJECT / "tests/data/k3s-cis.yaml").read_text())["checks"]
    places = {"any", "server" if name in SERVERS else "agent"}
    here = [check for check in checks if check.get("where") in places and check["id"] not in STAND_IN]
    assert len(here) > 5
    found = {check["id"]: machines.run(name, check["machine"], check=False) for check in here}
    assert found == {check["id"]: check["expected"] for check in here}


def test_it_took_no_longer_than_promised(first_cluster_up: Run) -> None:
    """A loose bound, against getting slow unnoticed: `make bench` has the ratios."""
    took = re.search(r"^up: .* in (\d+)s$", first_cluster_up.out, re.MULTILINE)
    assert took
    assert int(took[1]) < 480
