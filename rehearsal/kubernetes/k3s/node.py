"""The kubelet and kube-proxy of a node, and what a node says of itself in the API."""

from collections.abc import Mapping, Sequence

import yaml

from .api import NODES, Api
from .config import Config
from .files import write
from .paths import KUBELET_ROOT, SOCKET
from .processes import Group

INTERNAL_IP, EXTERNAL_IP, HOSTNAME = "k3s.io/internal-ip", "k3s.io/external-ip", "k3s.io/hostname"
SERVER, MEMBER = "k3s.io/server", "etcd.k3s.cattle.io/node-name"
TUNNEL = "flannel.alpha.coreos.com/public-ip"


def arguments(defaults: Mapping[str, str], extra: Sequence[str]) -> list[str]:
    """Flags of a component: the user's `key=value` replaces a default, and the later of two holds, as in k3s."""
    merged = dict(defaults)
    for text in extra:
        key, given, value = text.lstrip("-").partition("=")
        merged[key] = value if given else "true"
    return [f"--{key}={value}" for key, value in merged.items()]


def kubelet_configuration(config: Config, cluster_dns: str, cluster_domain: str) -> dict[str, object]:
    """The kubelet's configuration file."""
    agent = config.paths.agent
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(agent / "client-ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(agent / "serving-kubelet.crt"),
        "tlsPrivateKeyFile": str(agent / "serving-kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDNS": [cluster_dns],
        "clusterDomain": cluster_domain,
        "staticPodPath": str(agent / "pod-manifests"),
        "resolvConf": config.text("resolv-conf") or "/etc/resolv.conf",
        "healthzBindAddress": "127.0.0.1",
        "protectKernelDefaults": config.flag("protect-kernel-defaults"),
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        # Kubernetes 1.35 and later refuse cgroup v1 by default; the rehearsal's machines have it where their host has
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        # all machines of a rehearsal share one disk: its fill level is not theirs
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {},
        "volumePluginDir": str(agent / "libexec/kubernetes/kubelet-plugins/volume/exec"),
    }


def start_kubelet(config: Config, group: Group, cluster_dns: str, cluster_domain: str) -> None:
    """Run the kubelet; its credentials are there."""
    agent = config.paths.agent
    (agent / "pod-manifests").mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = kubelet_configuration(config, cluster_dns, cluster_domain)
    write(agent / "etc" / "kubelet.yaml", yaml.safe_dump(settings, sort_keys=False))
    labels = ["node.kubernetes.io/instance-type=k3s", *config.items("node-label")]
    defaults = {
        "config": str(agent / "etc" / "kubelet.yaml"),
        "kubeconfig": str(agent / "kubelet.kubeconfig"),
        "root-dir": str(KUBELET_ROOT),
        "hostname-override": config.node,
        "node-ip": config.ip,
        # Without it, metrics are of pods and not of their containers.
        "containerd": str(SOCKET),
        "node-labels": ",".join(labels),
    }
    if config.items("node-taint"):
        defaults["register-with-taints"] = ",".join(config.items("node-taint"))
    if not config.flag("disable-cloud-controller"):
        defaults["cloud-provider"] = "external"
    group.start("kubelet", ["kubelet", *arguments(defaults, config.items("kubelet-arg"))])


def start_kube_proxy(config: Config, group: Group, cluster_cidr: str) -> None:
    """Run kube-proxy."""
    defaults = {
        "kubeconfig": str(config.paths.agent / "kubeproxy.kubeconfig"),
        "hostname-override": config.node,
        "cluster-cidr": cluster_cidr,
        "proxy-mode": "iptables",
        # kube-router writes the whole table back, and what was written meanwhile is lost: the more often, the busier
        # the computer is; k3s puts that right after 30 s
        "iptables-sync-period": "10s",
        "conntrack-max-per-core": "0",  # a sysctl of the host, which a machine may not set
        "healthz-bind-address": "127.0.0.1",
    }
    group.start("kube-proxy", ["kube-proxy", *arguments(defaults, config.items("kube-proxy-arg"))])


def annotations(config: Config, tunnel: str, member: str) -> dict[str, str]:
    """What a node tells of itself; `member` is its etcd member's name, "" on an agent."""
    own = {
        INTERNAL_IP: config.ip,
        HOSTNAME: config.node,
        TUNNEL: tunnel,
    }
    if config.items("node-external-ip"):
        own[EXTERNAL_IP] = ",".join(config.items("node-external-ip"))
    if member:
        own |= {SERVER: "true", MEMBER: member}
    return own


def describe(config: Config, api: Api, tunnel: str, member: str) -> bool:
    """Write annotations and labels to this node's Node, if they differ; the Node has to be there.

    `api` speaks as this kubelet.
    """
    metadata = api.get(f"{NODES}/{config.node}")["metadata"]
    labels = dict(label.partition("=")[::2] for label in config.items("node-label"))
    own = annotations(config, tunnel, member)
    have, labelled = metadata.get("annotations", {}), metadata.get("labels", {})
    if any(have.get(key) != value for key, value in own.items()) or not labels.items() <= labelled.items():
        api.merge(f"{NODES}/{config.node}", {"metadata": {"annotations": own, "labels": labels}})
    return True
