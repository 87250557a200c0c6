"""Network policies and host ports, on the deployed cluster, as the platform relies on them.

The tests run in the order of the file: first everything is open, then everything is closed, then one way after the
other is opened again. Every refusal here was a success before.
"""

import ipaddress
import time
from collections.abc import Iterator

import pytest

from rehearsal.kubernetes import names
from tests.rehearsal import metadata
from tests.rehearsal.cluster import Kubectl, Machines, until

HERE, THERE = "node2", "node1"
"""The node of the pod that is asked, and another one, whose API server kubectl speaks to."""
SPACE = "walls"
SECONDS = 5.0
"""Until a policy holds; kube-router takes about one on an idle computer."""
HOST_PORT = 18080


def pod(name: str, node: str, command: str, more: str = "") -> str:
    """One pod of busybox on a node, with its own name as the label `who`; pod `host` speaks as the node itself."""
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {SPACE}, labels: {{who: {name}}}}}
spec:
  nodeName: {node}
  hostNetwork: {str(name == "host").lower()}
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: {names.BUSYBOX}, command: [sh, -c, '{command}']{more}}}]
"""


def policy(name: str, spec: str) -> str:
    """One policy."""
    return f"""
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: {SPACE}}}
spec: {spec}
"""


def who(name: str) -> str:
    """A selector of one pod."""
    return f"podSelector: {{matchLabels: {{who: {name}}}}}"


def admit(name: str, cidr: str) -> str:
    """A policy by which addresses reach the server."""
    return policy(
        name, f"{{{who('server')}, policyTypes: [Ingress], ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]}}"
    )


# Host ports and host networks are not allowed to pods of a namespace that says nothing.
PODS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {SPACE}, labels: {{pod-security.kubernetes.io/enforce: privileged}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: {SPACE}}}
spec: {{selector: {{who: server}}, ports: [{{port: 80, targetPort: 8000}}]}}
{
    pod(
        "server",
        HERE,
        f"mkdir /www && echo {metadata.PAGE} > /www/index.html && exec httpd -f -p 8000 -h /www",
        f", ports: [{{containerPort: 8000, hostPort: {HOST_PORT}}}], "
        "readinessProbe: {httpGet: {path: /, port: 8000}, periodSeconds: 1, failureThreshold: 1}",
    )
}
{pod("friend", THERE, "exec sleep 100000")}
{pod("stranger", HERE, "exec sleep 100000")}
{pod("host", THERE, "exec sleep 100000")}
"""
DENY = policy("deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")
FRIENDS = policy(
    "in",
    f"{{{who('server')}, policyTypes: [Ingress], ingress: [{{from: [{{{who('friend')}}}], ports: [{{port: 8000}}]}}]}}",
) + policy(
    "out",
    f"{{{who('friend')}, policyTypes: [Egress], egress: [{{to: [{{{who('server')}}}], ports: [{{port: 8000}}]}}]}}",
)
DNS = policy(
    "dns",
    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: "
    "{kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], "
    "ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]}]}",
)
WORLD = policy(
    "world",
    f"{{{who('server')}, policyTypes: [Egress], "
    f"egress: [{{to: [{{ipBlock: {{cidr: 0.0.0.0/0, except: [{metadata.ADDRESS}/32]}}}}]}}]}}",
)


@pytest.fixture(scope="module", autouse=True)
def walls(kubectl: Kubectl, machines: Machines) -> Iterator[None]:
    """The pods, and a metadata service that the server's node reaches."""
    kubectl.apply(PODS)
    machines.run(HERE, metadata.START)
    kubectl.run("wait", "pod", "--all", "-n", SPACE, "--for=condition=Ready", "--timeout=50s", timeout=60)
    yield
    machines.run(HERE, metadata.STOP, check=False)
    kubectl.run("delete", "namespace", SPACE, "--wait=false")


def answered(kubectl: Kubectl, asker: str, host: str) -> bool:
    """Whether a pod gets the page of a host."""
    ask = f"timeout 2 wget -qO- http://{host}/ || true"
    return kubectl.run("exec", "-n", SPACE, asker, "--", "sh", "-c", ask) == metadata.PAGE


def service(kubectl: Kubectl) -> str:
    """Address of the server's Service."""
    return str(kubectl.get("service", "server", "-n", SPACE)["spec"]["clusterIP"])


def own_address(kubectl: Kubectl, node: str) -> str:
    """A machine's own address."""
    addresses = kubectl.get("node", node)["status"]["addresses"]
    return str(next(a["address"] for a in addresses if a["type"] == "InternalIP"))


def by_host_port(kubectl: Kubectl) -> bool:
    """Whether another machine gets the page at the host port."""
    return answered(kubectl, "host", f"{own_address(kubectl, HERE)}:{HOST_PORT}")


def by_api_server(kubectl: Kubectl) -> bool:
    """Whether an API server on another node gets the page; it calls webhooks in the same way."""
    return (
        kubectl.run("get", "--raw", f"/api/v1/namespaces/{SPACE}/services/server:80/proxy/", check=False)
        == metadata.PAGE
    )


def test_without_a_policy_everything_is_open(kubectl: Kubectl) -> None:
    """What is refused below has to have been reachable, else a refusal shows nothing."""
    address = service(kubectl)
    # Each node's kube-proxy learns of the endpoint at its own time.
    for asker in ("friend", "stranger"):
        until(f"{asker} to reach the server", lambda asker=asker: answered(kubectl, asker, address), 20)  # type: ignore[misc]
    assert answered(kubectl, "server", metadata.ADDRESS)
    assert answered(kubectl, "server", metadata.BESIDE)
    assert by_host_port(kubectl)
    assert by_api_server(kubectl)


def test_a_default_deny_holds_within_seconds_and_both_ways(kubectl: Kubectl) -> None:
    """From pods of the same node and of another, from other hosts, and outwards."""
    address = service(kubectl)
    kubectl.apply(DENY)
    until("the deny to hold", lambda: not answered(kubectl, "stranger", address), SECONDS, 0.1)
    assert not answered(kubectl, "friend", address)
    until("other hosts to be refused", lambda: not by_host_port(kubectl), SECONDS)
    assert not by_api_server(kubectl)
    assert not answered(kubectl, "server", metadata.BESIDE)


def test_probes_of_the_kubelet_pass_under_a_default_deny(kubectl: Kubectl) -> None:
    """They come from the pod's own node; else every policy would need a rule for them. One failure would show."""
    time.sleep(3)
    conditions = kubectl.get("pod", "server", "-n", SPACE)["status"]["conditions"]
    assert next(c["status"] for c in conditions if c["type"] == "Ready") == "True"


def test_an_allowed_flow_passes_through_a_service_and_no_other_does(kubectl: Kubectl) -> None:
    """A Service's address is nobody's: the pod behind it is what a policy names, at its own port."""
    address = service(kubectl)
    kubectl.apply(FRIENDS)
    until("the friend to be let in", lambda: answered(kubectl, "friend", address), SECONDS, 0.1)
    assert not answered(kubectl, "stranger", address)


def test_names_are_resolved_once_dns_is_allowed(kubectl: Kubectl) -> None:
    """CoreDNS is in another namespace, and on some node."""
    assert not answered(kubectl, "friend", f"server.{SPACE}.svc.cluster.local")
    kubectl.apply(DNS)
    until("names", lambda: answered(kubectl, "friend", f"server.{SPACE}.svc.cluster.local"), SECONDS)


def test_the_metadata_address_is_refused_where_the_world_is_allowed(kubectl: Kubectl) -> None:
    """It gives credentials of the machine to whoever asks."""
    kubectl.apply(WORLD)
    until("the world to be open", lambda: answered(kubectl, "server", metadata.BESIDE), SECONDS)
    assert not answered(kubectl, "server", metadata.ADDRESS)


def test_a_host_port_answers_addresses_that_a_policy_admits(kubectl: Kubectl) -> None:
    """The pod sees the caller's own address."""
    assert not by_host_port(kubectl)
    kubectl.apply(admit("hosts", f"{own_address(kubectl, THERE)}/32"))
    until("the host port to answer", lambda: by_host_port(kubectl), SECONDS)


def test_the_api_server_of_another_node_is_admitted_by_its_node_s_address_among_pods(kubectl: Kubectl) -> None:
    """To a pod of another node, a host speaks as the first address of its pods' subnet; webhooks need this."""
    assert not by_api_server(kubectl)
    own = ipaddress.ip_network(kubectl.get("node", THERE)["spec"]["podCIDR"]).network_address
    kubectl.apply(admit("api-server", f"{own}/32"))
    until("the API server to be let in", lambda: by_api_server(kubectl), SECONDS)


def test_what_is_open_again_is_open_at_once(kubectl: Kubectl) -> None:
    """A policy that was taken away must not linger."""
    address = service(kubectl)
    assert not answered(kubectl, "stranger", address)
    kubectl.run("delete", "networkpolicy", "--all", "-n", SPACE)
    until("everything to be open", lambda: answered(kubectl, "stranger", address), SECONDS, 0.1)
