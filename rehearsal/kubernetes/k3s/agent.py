"""`k3s agent`, and the agent's part of a server: credentials, containerd, kubelet, pod network, proxy, policies."""

import base64
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from . import binaries, containerd, log, network_policy, node, tokens
from .api import CLUSTER_INFO, CSRS, ENDPOINTS, Api, ApiError, Object, Worker
from .approvals import NODE, PASSWORD, REJECTED
from .balancer import PORT, Balancer
from .certificates import kubeconfig, near_end, request
from .config import Config, address
from .files import digest, run, write
from .log import Fatal
from .paths import NODE_PASSWORD
from .processes import Group, notify_ready
from .routes import Routes
from .tokens import Token

UNPINNED = (
    "Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. "
    "Use the full token from the server's node-token file to enable Cluster CA validation."
)
CLIENT = "kubernetes.io/kube-apiserver-client"
SYSCTLS = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.forwarding=1", "net.bridge.bridge-nf-call-iptables=1")


def node_password() -> str:
    """This machine's password, made at its first start."""
    if not NODE_PASSWORD.exists():
        write(NODE_PASSWORD, secrets.token_hex(16) + "\n")
    return NODE_PASSWORD.read_text().strip()


def public_data(url: str, token: Token) -> dict[str, str]:
    """The cluster's authorities and shared settings, from a server; a pinned CA is checked.

    Raises Fatal in k3s's words if the token pins another CA; OSError or ApiError without an answer.
    """
    data: dict[str, str] = Api(url).get(CLUSTER_INFO)["data"]
    tokens.check(token, data["server-ca.crt"])
    return data


def validated(config: Config, group: Group, url: str, token: Token) -> dict[str, str]:
    """Public data of the cluster, waited for without end, as k3s does. Raises Stopped."""

    def probe() -> dict[str, str] | None:
        try:
            data = public_data(url, token)
        except (Fatal, OSError, ApiError, KeyError) as failure:
            reason = str(failure) if isinstance(failure, Fatal) else f"failed to get CA certs: {failure}"
            log.error(f"Failed to validate connection to cluster at {config.text('server')}: {reason}")
            return None
        if not token.ca_hash:
            log.warning(UNPINNED)
        return data

    return group.until("the cluster", probe, seconds=float("inf"), pause=2) or {}


class Credentials:
    """An agent's certificates, asked for with the join token."""

    def __init__(self, config: Config, group: Group, api: Api) -> None:
        """`api` speaks with the join token."""
        self.config, self.group, self.api = config, group, api
        self.folder = config.paths.agent
        own, addresses = config.node, [*config.items("node-ip"), *config.items("node-external-ip"), "127.0.0.1"]
        subject = (f"system:node:{own}", "system:nodes")
        self.wanted = {
            "client-kubelet": (f"{CLIENT}-kubelet", *subject, []),
            "serving-kubelet": ("kubernetes.io/kubelet-serving", *subject, [own, *addresses]),
            "client-kube-proxy": (CLIENT, "system:kube-proxy", "", []),
            "client-k3s-controller": (CLIENT, "system:k3s-controller", "", []),
        }

    def obtain(self) -> None:
        """Have all certificates; those that are there and good are kept. Waits without end, as k3s does."""
        missing = [name for name in self.wanted if near_end(self.folder / f"{name}.crt")]
        if missing:
            self.group.until("certificates", lambda: self._attempt(missing), seconds=float("inf"), pause=5)

    def _attempt(self, names: list[str]) -> bool:
        try:
            asked = {name: self._ask(name) for name in names}
        except (OSError, ApiError) as failure:
            reason = str(failure)
            if isinstance(failure, ApiError) and failure.status == 401:
                reason = f"{self.api.url}/v1-k3s/serving-kubelet.crt: 401 Unauthorized"
            return self._wait(reason)
        try:
            for name, path in asked.items():
                certificate = self.group.until(f"certificate {name}", lambda path=path: self._issued(path), 60)  # type: ignore[misc]
                write(self.folder / f"{name}.crt", certificate)
                (self.folder / f"{name}.key.new").replace(self.folder / f"{name}.key")
        except Fatal as failure:
            return self._wait(str(failure))
        return True

    def _wait(self, reason: str) -> bool:
        log.info(f"Waiting to retrieve agent configuration; server is not ready: {reason}")
        return False

    def _ask(self, name: str) -> str:
        signer, common, org, sans = self.wanted[name]
        key = self.folder / f"{name}.key.new"
        text = request(key, common, org, sans)
        usage = "server auth" if "serving" in signer else "client auth"
        body: Object = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {
                "name": f"{self.config.node}-{name}-{secrets.token_hex(4)}",
                "annotations": {NODE: self.config.node, PASSWORD: digest(node_password())},
            },
            "spec": {
                "request": base64.b64encode(text.encode()).decode(),
                "signerName": signer,
                "usages": ["digital signature", "key encipherment", usage],
            },
        }
        return f"{CSRS}/{self.api.call('POST', CSRS, body)['metadata']['name']}"

    def _issued(self, path: str) -> str:
        status = self.api.get(path).get("status", {})
        for condition in status.get("conditions", []):
            if condition["type"] in ("Denied", "Failed"):
                raise Fatal(condition.get("message") or REJECTED)
        return base64.b64decode(status.get("certificate", "")).decode()


class Servers(Worker):
    """Tells the balancer which API servers there are."""

    def __init__(self, group: Group, api: Api, balancer: Balancer) -> None:
        """`api` may read the endpoints of Service default/kubernetes."""
        super().__init__(group, "load-balancer-servers", api, ENDPOINTS)
        self.balancer = balancer

    def work(self) -> None:
        """Read and tell them."""
        found = self.api.find(f"{ENDPOINTS}/kubernetes") or {}
        ports = [port["port"] for port in found.get("ports", []) if port.get("name") == "https"]
        hosts = [host for endpoint in found.get("endpoints", []) for host in endpoint.get("addresses", [])]
        self.balancer.update(sorted(f"{host}:{port}" for host in hosts for port in ports))


def write_kubeconfigs(config: Config, url: str) -> None:
    """Kubeconfigs of this node's own clients."""
    agent = config.paths.agent
    names = {"kubelet": "client-kubelet", "kubeproxy": "client-kube-proxy", "k3scontroller": "client-k3s-controller"}
    for name, certificate in names.items():
        kubeconfig(agent / f"{name}.kubeconfig", url, agent / "server-ca.crt", agent / f"{certificate}.crt")


def start_node(config: Config, group: Group, url: str, shared: Mapping[str, str], member: str) -> None:
    """The parts that every node has; credentials, kubeconfigs and containerd are there.

    Returns when the pod network is up.
    """
    for setting in SYSCTLS:
        run(["sysctl", "-qw", setting], check=False)
    agent = config.paths.agent
    ca = agent / "server-ca.crt"
    tunnel = address(config.text("flannel-iface")) if config.text("flannel-iface") else config.ip
    node.start_kubelet(config, group, shared["cluster-dns"], shared["cluster-domain"])
    kubelet = Api(url, ca, agent / "client-kubelet.crt")
    group.until("this Node", lambda: node.describe(config, kubelet, tunnel, member))
    group.repeat("node-annotations", lambda: node.describe(config, kubelet, tunnel, member), 60)
    controller = Api(url, ca, agent / "client-k3s-controller.crt")
    routes = Routes(group, controller, config, tunnel, shared)
    group.until("this Node's pod subnet", routes.setup)
    routes.start()
    if not config.flag("disable-kube-proxy"):
        node.start_kube_proxy(config, group, shared["cluster-cidr"])
    if shared.get("disable-network-policy") != "true":
        cidr = shared["service-cidr"]
        group.background("kube-router", lambda: network_policy.start(config, group, controller, cidr))


def host_port(url: str) -> str:
    """host:port of a server's URL."""
    rest = re.sub(r"^https://|/+$", "", url)
    return rest if re.search(r":\d+$", rest) else f"{rest}:443"


def run_agent(config: Config, group: Group) -> None:
    """`k3s agent`, until it is to stop. Raises Fatal, CommandError, Stopped."""
    if not config.text("server"):
        raise Fatal("--server is required")
    if not config.text("token"):
        raise Fatal("--token is required")
    token = tokens.parse(config.text("token"))
    Api(config.text("server"))  # a wrong URL is refused before anything is written
    binaries.unpack(config.paths.data)
    agent = config.paths.agent
    agent.mkdir(mode=0o700, parents=True, exist_ok=True)
    runtime = group.background("containerd", lambda: containerd.start(config, group))
    (agent / "etc").mkdir(exist_ok=True)
    balancer = Balancer(agent / "etc", host_port(config.text("server")))
    balancer.start()
    url = f"https://127.0.0.1:{PORT}"
    shared = validated(config, group, url, token)
    write_authorities(agent, shared)
    joining = Api(url, agent / "server-ca.crt", token=tokens.api_token(token.secret, "agent"))
    Credentials(config, group, joining).obtain()
    write_kubeconfigs(config, url)
    runtime.join()
    start_node(config, group, url, shared, "")
    Servers(group, Api(url, agent / "server-ca.crt", agent / "client-k3s-controller.crt"), balancer).start()
    log.info("k3s agent is up and running")
    notify_ready()
    group.stopping.wait()


def write_authorities(agent: Path, shared: Mapping[str, str]) -> None:
    """The authorities that this node trusts."""
    for name in ("server-ca.crt", "client-ca.crt"):
        write(agent / name, shared[name])
