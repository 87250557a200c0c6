"""Namespaces as pods and strangers find them: every pair of them, the metadata address, and the ports outside."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

import config
import versions
from mlops import inventory
from mlops.flows import API, NODES, PODS, WORLD, Flow
from tests.environments import complete
from tests.rehearsal import metadata
from tests.rehearsal.cluster import until
from tests.rehearsal.services import Platform
from tests.unit.graph import RULES

NAME = "isolation-probe"
FREE = "isolation-free"
"""A namespace without any policy: it shows that what is refused elsewhere does answer."""
ADDRESSES = {WORLD, API, NODES}
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def opens(target):
    try:
        socket.create_connection(tuple(target), 3).close()
        return True
    except OSError:
        return False

targets = json.load(sys.stdin)
with ThreadPoolExecutor(64) as pool:
    print(json.dumps([target for target, open_ in zip(targets, pool.map(opens, targets)) if open_]))
"""
OUTSIDE = (*range(1, 1025), 2379, 2380, 3000, 5000, 5432, 6443, 8000, 8080, 8443, 9000, 9001, 9090, 9093, 9100, 9345)
"""Ports that are tried from outside: every one that a system may use, and those of the components and of Kubernetes."""
NODE_PORTS = (10248, 10249, 10250, 10256, 10257, 10259, 30500)
Target = tuple[str, int]


@dataclass(frozen=True)
class Probes:
    """One pod in every namespace."""

    platform: Platform
    spaces: tuple[str, ...]

    def reached(self, space: str, targets: list[Target]) -> set[Target]:
        """Those that a namespace's pod can connect to."""
        words = ["exec", "-i", "-n", space, NAME, "--", "python", "-c", PROBE]
        out = self.platform.kubectl.run(*words, stdin=json.dumps(targets), timeout=120)
        return {(host, port) for host, port in json.loads(out)}


def wanted(platform: Platform) -> config.Platform:
    """The section of the environment that is deployed."""
    tree = yaml.safe_load(platform.stack.file.read_text())["config"]
    given = {key.partition(":")[2]: value for key, value in tree.items()}
    environment, problems = config.validate(complete(given), RULES)
    assert environment is not None, problems
    assert environment.platform is not None
    return environment.platform


def pod(space: str, node: str | None = None) -> dict[str, Any]:
    """A pod that waits, as restricted as the strictest level wants it, and small enough for every quota."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "probe",
        "image": versions.PYTHON.tagged,
        "command": ["sleep", "3600"],
        "securityContext": security,
        "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    if node:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "namespace": space}, "spec": spec}


@pytest.fixture(scope="module")
def probes(platform: Platform) -> Iterator[Probes]:
    kubectl = platform.kubectl
    spaces = tuple(sorted(space.name for space in inventory.spaces(wanted(platform))))
    kubectl.run("create", "namespace", FREE)
    try:
        kubectl.apply(yaml.safe_dump_all([pod(space, "node1") for space in (*spaces, FREE)]))
        for space in (*spaces, FREE):
            kubectl.run("wait", "--for=condition=Ready", f"pod/{NAME}", "-n", space, "--timeout=90s", timeout=100)
        yield Probes(platform, spaces)
    finally:
        for space in spaces:
            kubectl.run("delete", "pod", NAME, "-n", space, "--wait=false", check=False)
        kubectl.run("delete", "namespace", FREE, "--wait=false", check=False)


def permitted(flows: tuple[Flow, ...], source: str, target: str, port: int) -> bool:
    """Whether the table lets pods of one namespace reach a port in another. An address may be that of a pod, too."""
    leaves = {flow.target for flow in flows if flow.source == source and port in flow.ports}
    enters = {flow.source for flow in flows if flow.target == target and port in flow.ports}
    return bool(leaves & {target, PODS, *ADDRESSES}) and bool(enters & {source, PODS, *ADDRESSES})


def listening(probes: Probes, flows: tuple[Flow, ...]) -> dict[str, list[Target]]:
    """Namespace to what answers in it: pods of one namespace reach each other, so its own probe finds that."""
    found = {}
    for space in probes.spaces:
        pods = probes.platform.kubectl.get("pods", "-n", space)["items"]
        inside = [p for p in pods if p["status"].get("podIP") and not p["spec"].get("hostNetwork")]
        declared = {
            (p["status"]["podIP"], int(entry["containerPort"]))
            for p in inside
            for c in p["spec"]["containers"]
            for entry in c.get("ports") or []
        }
        tabled = {(p["status"]["podIP"], port) for p in inside for f in flows if f.target == space for port in f.ports}
        found[space] = sorted(probes.reached(space, sorted(declared | tabled)))
    return found


def test_connections_between_namespaces_are_those_of_the_table(probes: Probes) -> None:
    """All pairs, every port that answers: no more, and no less."""
    flows = inventory.flows(wanted(probes.platform))
    there = listening(probes, flows)
    assert sum(map(len, there.values())) >= len(probes.spaces)
    everything = [(space, target) for space, targets in there.items() for target in targets]

    def look(source: str) -> tuple[str, set[Target]]:
        return source, probes.reached(source, [target for space, target in everything if space != source])

    with ThreadPoolExecutor(4) as pool:
        reached = dict(pool.map(look, probes.spaces))
    wrong = [
        f"{source} -> {space} {port}: {'open' if (address, port) in reached[source] else 'closed'}"
        for source in probes.spaces
        for space, (address, port) in everything
        if space != source and ((address, port) in reached[source]) is not permitted(flows, source, space, port)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_pod_of_the_platform_reaches_the_metadata_address(probes: Probes) -> None:
    """It hands out user data. Something does answer there, as a pod without a policy finds."""
    machines = probes.platform.machines
    machines.run("node1", metadata.START)
    targets: list[Target] = [(metadata.ADDRESS, metadata.PORT)]
    try:
        until("the stand-in for the metadata service", lambda: probes.reached(FREE, targets), 30)
        assert not {space for space in probes.spaces if probes.reached(space, targets)}
    finally:
        machines.run("node1", metadata.STOP, check=False)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("privileged", {"containers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}]}),
        ("host network", {"hostNetwork": True}),
        ("host path", {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}),
        ("root", {"securityContext": {"runAsNonRoot": False}}),
    ],
)
def test_a_pod_that_breaks_its_namespaces_level_is_refused(platform: Platform, what: str, change: Any) -> None:
    """By the API server, whatever made the pod."""
    restricted = [space.name for space in inventory.spaces(wanted(platform)) if space.level == "restricted"]
    assert len(restricted) >= 5
    for space in restricted:
        item = pod(space)
        item["metadata"]["name"] = "breaks-the-level"
        item["spec"] |= change
        said = platform.kubectl.run("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(item), check=False)
        assert "violates PodSecurity" in said, f"{what} in {space}: {said}"


def test_nothing_answers_from_outside_but_https_and_what_admins_use(platform: Platform) -> None:
    """At the only public address; this computer is in the admins' network of the rehearsal."""

    def opens(port: int) -> bool:
        try:
            socket.create_connection((platform.address, port), 2).close()
        except OSError:
            return False
        return True

    ports = (*OUTSIDE, *NODE_PORTS)
    with ThreadPoolExecutor(256) as pool:
        found = {port for port, answered in zip(ports, pool.map(opens, ports), strict=True) if answered}
    assert found == {22, 443, 6443}


def test_no_default_account_answers_at_any_service(platform: Platform) -> None:
    """The pairs that the components are known for, at every endpoint."""
    pairs = [("admin", "admin"), ("admin", "password"), ("admin", "password1234"), ("admin", "prom-operator")]
    pairs += [("minioadmin", "minioadmin"), ("admin", "changeme"), ("postgres", "postgres"), ("argo", "argo")]
    session = platform.session()
    for service, url in platform.outputs["health"].items():
        bare = session.get(url, timeout=30, allow_redirects=False)
        for pair in pairs:
            answer = session.get(url, auth=pair, timeout=30, allow_redirects=False)
            # An address that needs no login shows nothing either way, nor does production before its first release.
            nothing = bare.ok or bare.status_code == answer.status_code == 404
            assert answer.status_code in (301, 302, 303, 307, 401, 403) or nothing, (service, pair, answer.status_code)
