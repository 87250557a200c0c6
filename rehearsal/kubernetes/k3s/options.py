"""The configuration keys and flags that the stand-in knows, and those values of them it cannot honour."""

from collections.abc import Mapping
from typing import Any

from .log import Fatal

COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "etcd")
# Lists whose values may also be given as one text with commas; the others keep their commas.
SPLIT = frozenset({"tls-san", "node-ip", "node-external-ip", "disable"})
LISTS = SPLIT | {"node-label", "node-taint"} | {f"{component}-arg" for component in COMPONENTS}
BOOLS = frozenset(
    {
        *("cluster-init", "secrets-encryption", "disable-cloud-controller", "cluster-reset", "protect-kernel-defaults"),
        *("etcd-disable-snapshots", "etcd-snapshot-compress", "etcd-s3", "embedded-registry", "selinux", "debug"),
        *("disable-network-policy", "disable-helm-controller", "disable-kube-proxy"),
    }
)
SERVER_TEXTS = frozenset(
    {
        *("agent-token", "agent-token-file", "advertise-address", "cluster-cidr", "service-cidr", "cluster-dns"),
        *(
            "cluster-domain",
            "flannel-backend",
            "write-kubeconfig",
            "write-kubeconfig-mode",
            "default-local-storage-path",
        ),
        *("etcd-snapshot-schedule-cron", "etcd-snapshot-retention", "etcd-snapshot-dir", "etcd-snapshot-name"),
        "cluster-reset-restore-path",
    }
)
NODE_TEXTS = frozenset(
    {
        *("token", "token-file", "server", "node-name", "flannel-iface", "data-dir", "pause-image", "default-runtime"),
        *("resolv-conf", "config"),
    }
)
NODE_KEYS = NODE_TEXTS | {
    *("node-label", "node-taint", "node-ip", "node-external-ip", "kubelet-arg", "kube-proxy-arg"),
    *("protect-kernel-defaults", "selinux", "debug"),
}
KNOWN = LISTS | BOOLS | SERVER_TEXTS | NODE_TEXTS
SHORT = {"t": "token", "s": "server", "c": "config", "d": "data-dir", "name": "etcd-snapshot-name"}


def known(key: str) -> bool:
    """Whether k3s's `key` is one of ours; S3 settings are known, but refused by `refuse`."""
    return key in KNOWN or key.startswith("etcd-s3-")


def refuse(values: Mapping[str, Any]) -> None:
    """Stop at a setting that k3s honours and the stand-in does not.

    Raises Fatal with the key, its value and what works instead.
    """
    missing = "the stand-in for k3s cannot do this"
    backend = values.get("flannel-backend", "vxlan")
    if backend != "vxlan":
        raise Fatal(f"flannel-backend {backend!r}: {missing}, only vxlan")
    for key in ("embedded-registry", "selinux"):
        if values.get(key):
            raise Fatal(f"{key} true: {missing}, only false")
    if values.get("etcd-s3"):
        raise Fatal(f"etcd-s3 true: {missing}, snapshots stay in etcd-snapshot-dir")
