"""The files that make a machine a k3s node, as pure functions: nothing here knows a secret or asks a host.

What only the host can tell (which server answers, which interface holds the address) is in a file of its own,
`config.yaml.d/10-host.yaml`, written by `scripts/k3s.sh`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

if TYPE_CHECKING:
    from cluster.node import K3sNode
    from config import SnapshotStore

ETC = "/etc/rancher/k3s"
AUDIT_POLICY = f"{ETC}/audit.yaml"
ADMISSION = f"{ETC}/admission.yaml"
TOKEN = f"{ETC}/token"
AGENT_TOKEN = f"{ETC}/agent-token"
AUTHORITY = f"{ETC}/authority.crt"
DATA = "/var/lib/leasehold/data"
"""Mount point of a node's first volume; a folder of the root disk where there is none."""
SNAPSHOTS = f"{DATA}/etcd-snapshots"
GPU = "nvidia.com/gpu"
# The suites that the CIS benchmark allows, for TLS 1.2; those of TLS 1.3 are not a choice in Go.
CIPHERS = ",".join(
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for cipher in ("AES_256_GCM_SHA384", "AES_128_GCM_SHA256", "CHACHA20_POLY1305")
    for key in ("ECDSA", "RSA")
)
# ExtendedResourceToleration: a pod that asks for a GPU tolerates the GPU nodes' taint without saying so.
ADMISSION_PLUGINS = ("NodeRestriction", "EventRateLimit", "ExtendedResourceToleration")
# Namespaces whose pods may do anything to their host: the components of k3s itself. Others say so by their own labels.
PRIVILEGED_NAMESPACES = ("kube-system",)


def k3s_config(node: "K3sNode") -> dict[str, Any]:
    """Settings of `/etc/rancher/k3s/config.yaml`, hardened as the k3s CIS guide says."""
    return _node(node) | (_server(node) if node.role == "server" else {})


def _node(node: "K3sNode") -> dict[str, Any]:
    labels = dict(node.labels) | ({f"{GPU}.present": "true"} if node.gpu else {})
    return {
        "token-file": TOKEN,
        "node-name": node.name,
        "node-ip": node.address,
        **({"flannel-iface": node.interface} if node.interface else {}),
        **({"node-label": [f"{key}={value}" for key, value in sorted(labels.items())]} if labels else {}),
        **({"node-taint": [f"{GPU}=present:NoSchedule"]} if node.gpu else {}),
        "protect-kernel-defaults": True,
        "kubelet-arg": [
            "anonymous-auth=false",
            "make-iptables-util-chains=true",
            "pod-max-pids=4096",
            "streaming-connection-idle-timeout=5m",
            f"tls-cipher-suites={CIPHERS}",
            "tls-min-version=VersionTLS12",
        ],
    }


def _server(node: "K3sNode") -> dict[str, Any]:
    config = node.config
    return {
        "agent-token-file": AGENT_TOKEN,
        "advertise-address": node.address,
        "tls-san": sorted({node.name, node.address, *node.tls_sans}),
        "cluster-cidr": str(config.pod_cidr),
        "service-cidr": str(config.service_cidr),
        # The tenth address, where k3s itself expects it.
        "cluster-dns": str(config.service_cidr[10]),
        "secrets-encryption": True,
        "write-kubeconfig-mode": "0600",
        # The platform brings its own ingress, the same on every kind of cluster.
        "disable": ["traefik", "servicelb"],
        "etcd-snapshot-schedule-cron": config.snapshots.schedule,
        "etcd-snapshot-retention": config.snapshots.retention,
        "etcd-snapshot-dir": SNAPSHOTS,
        "etcd-snapshot-compress": True,
        **(_snapshot_store(config.snapshots.s3) if config.snapshots.s3 else {}),
        "kube-apiserver-arg": [
            "anonymous-auth=false",
            f"enable-admission-plugins={','.join(ADMISSION_PLUGINS)}",
            f"admission-control-config-file={ADMISSION}",
            "audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log",
            f"audit-policy-file={AUDIT_POLICY}",
            "audit-log-maxage=30",
            "audit-log-maxbackup=10",
            "audit-log-maxsize=100",
            "profiling=false",
            "request-timeout=300s",
            "service-account-extend-token-expiration=false",
            "service-account-lookup=true",
            f"tls-cipher-suites={CIPHERS}",
            "tls-min-version=VersionTLS12",
        ],
        "kube-controller-manager-arg": [
            "bind-address=127.0.0.1",
            "profiling=false",
            "terminated-pod-gc-threshold=100",
            "use-service-account-credentials=true",
        ],
        "kube-scheduler-arg": ["bind-address=127.0.0.1", "profiling=false"],
    }


def _snapshot_store(store: "SnapshotStore") -> dict[str, Any]:
    """The bucket without its keys: those come as secrets, into a file of their own."""
    url = urlsplit(str(store.endpoint))
    return {
        "etcd-s3": True,
        "etcd-s3-endpoint": url.netloc,
        "etcd-s3-bucket": store.bucket,
        "etcd-s3-region": store.region,
        **({"etcd-s3-folder": store.folder} if store.folder else {}),
        **({"etcd-s3-insecure": True} if url.scheme == "http" else {}),
    }


def audit_policy() -> str:
    """Who changed what, and who looked at secrets; without bodies, so that no secret gets into the log."""
    quiet = [
        # Renewed every few seconds by every node and controller; nobody will ever ask.
        {"level": "None", "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}]},
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*"]},
        {"level": "None", "resources": [{"group": "", "resources": ["events"]}]},
        {
            "level": "None",
            "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"],
            "verbs": ["get", "list", "watch"],
            "resources": [{"group": "", "resources": ["nodes", "pods", "endpoints", "services", "configmaps"]}],
        },
    ]
    return _dump(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [*quiet, {"level": "Metadata"}],
        }
    )


def pod_security() -> str:
    """Admission of pods, and a limit of events: baseline is enforced wherever a namespace does not ask for more."""
    return _dump(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [
                {
                    "name": "PodSecurity",
                    "configuration": {
                        "apiVersion": "pod-security.admission.config.k8s.io/v1",
                        "kind": "PodSecurityConfiguration",
                        "defaults": {
                            "enforce": "baseline",
                            "enforce-version": "latest",
                            "audit": "restricted",
                            "audit-version": "latest",
                            "warn": "restricted",
                            "warn-version": "latest",
                        },
                        "exemptions": {
                            "usernames": [],
                            "runtimeClasses": [],
                            "namespaces": list(PRIVILEGED_NAMESPACES),
                        },
                    },
                },
                {
                    "name": "EventRateLimit",
                    "configuration": {
                        "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
                        "kind": "Configuration",
                        "limits": [
                            {"type": "Server", "qps": 5000, "burst": 20000},
                            {"type": "Namespace", "qps": 500, "burst": 2000, "cacheSize": 2000},
                        ],
                    },
                },
            ],
        }
    )


def registries(mirrors: Mapping[str, Sequence[str]], trusted: str | None = None) -> str:
    """`/etc/rancher/k3s/registries.yaml`: where images of a registry come from, in order; then the registry itself.

    `trusted` is the host:port whose certificate the stack's own authority signed.
    """
    tree: dict[str, Any] = {"mirrors": {name: {"endpoint": list(map(str, urls))} for name, urls in mirrors.items()}}
    if trusted:
        tree["configs"] = {trusted: {"tls": {"ca_file": AUTHORITY}}}
    return _dump(tree)


def config_yaml(node: "K3sNode") -> str:
    """`/etc/rancher/k3s/config.yaml` as text."""
    return _dump(k3s_config(node))


def _dump(tree: Any) -> str:
    return str(yaml.safe_dump(tree, sort_keys=False, default_flow_style=False, width=1000))
