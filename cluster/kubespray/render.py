"""Renders Kubespray's inventory and variables from the settings that k3s is made from too. Pure.

Hardened by default (docs/operations/hardening.md of the release); there is no switch that takes it back. Two of
that page's settings are left out: AlwaysPullImages, with which a node that lost its registry restarts nothing, and
PodNodeSelector, which only matters where namespaces are bound to nodes. As with k3s, `baseline` is enforced for
pods of namespaces that do not ask for more, and `restricted` is warned of.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

import versions
from cluster.files import ADMISSION_PLUGINS, CIPHERS, DATA, GPU
from cluster.kubespray import plan

NODE_PREFIX = 24
"""Length of a node's part of the pod network: up to 254 pods, the same as k3s gives."""
MINORS = ("1.33", "1.34", "1.35")
"""Kubernetes minors whose downloads the pinned release has checksums for."""
MANY = 10
"""From so many nodes on, each download is made once and handed on: docs/operations/large-deployments.md."""
FORKS = 50

NetworkPlugin = Literal["calico", "cilium", "flannel"]


@dataclass(frozen=True)
class Machine:
    """One host of the inventory."""

    name: str
    role: str
    """`server` or `agent`."""
    address: str
    """Where the other nodes reach it."""
    user: str = "cc"
    port: int = 22
    """Of SSH at `address`."""
    labels: Mapping[str, str] | None = None
    gpu: bool = False


@dataclass(frozen=True)
class Options:
    """What an environment may choose."""

    version: str = versions.KUBESPRAY_KUBERNETES
    """Of Kubernetes, without a leading v."""
    network_plugin: NetworkPlugin = "calico"
    pod_cidr: IPv4Network = IPv4Network("10.42.0.0/16")
    service_cidr: IPv4Network = IPv4Network("10.43.0.0/16")
    mirrors: Mapping[str, Sequence[str]] | None = None
    """Registry to the URLs that are asked first, in order."""
    api_addresses: Sequence[str] = ()
    """Addresses and names, beside the nodes' own, that the API's certificate is made out to."""


def problems(machines: Sequence[Machine], options: Options) -> Iterator[str]:
    """Say what Kubespray would refuse, or would take and fail with, one sentence each."""
    servers = [machine for machine in machines if machine.role == "server"]
    if len(servers) % 2 == 0:
        yield f"{len(servers)} servers: etcd needs an odd number; add a server, or make one an agent"
    for what, values in (("name", [m.name for m in machines]), ("address", [m.address for m in machines])):
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"{what} {value} is given to several machines; give each its own"
    for machine in machines:
        if machine.role not in ("server", "agent"):
            yield f"{machine.name} has the role {machine.role}; it is server or agent"
        for what, cidr in (("pod", options.pod_cidr), ("service", options.service_cidr)):
            if IPv4Address(machine.address) in cidr:
                yield f"{machine.name} has the address {machine.address}, inside the {what} network {cidr}; move one"
    if options.pod_cidr.overlaps(options.service_cidr):
        yield f"the pod network {options.pod_cidr} and the service network {options.service_cidr} overlap; move one"
    rooms = 2 ** max(0, NODE_PREFIX - options.pod_cidr.prefixlen) if options.pod_cidr.prefixlen <= NODE_PREFIX else 0
    if rooms < len(machines):
        yield f"the pod network {options.pod_cidr} has room for {rooms} nodes, not for {len(machines)}; enlarge it"
    if options.network_plugin not in ("calico", "cilium", "flannel"):
        yield f"the network plugin {options.network_plugin} is not known; use calico, cilium or flannel"
    minor = options.version.rpartition(".")[0]
    if minor not in MINORS or not re.fullmatch(r"\d+\.\d+\.\d+", options.version):
        yield f"Kubernetes {options.version} is not one that Kubespray {versions.KUBESPRAY} installs; use {MINORS}"


def inventory(machines: Sequence[Machine]) -> dict[str, Any]:
    """Render hosts.yaml."""
    return plan.groups(described(machines))


def described(machines: Sequence[Machine]) -> plan.Machines:
    """Render the hosts as the plan takes them."""
    return {machine.name: {"role": machine.role, "variables": host_vars(machine)} for machine in machines}


def host_vars(machine: Machine) -> dict[str, Any]:
    """Render what is particular to a host. Ansible runs inside the private network, so all addresses are one."""
    values: dict[str, Any] = {
        "ansible_host": machine.address,
        "ansible_port": machine.port,
        "ansible_user": machine.user,
        "ip": machine.address,
        "access_ip": machine.address,
    }
    if machine.role == "server":
        # Not Kubespray's etcd1, etcd2...: those shift when a server leaves, and a member would get another's name.
        values["etcd_member_name"] = machine.name
    labels = dict(machine.labels or {})
    if machine.gpu:
        labels[f"{GPU}.present"] = "true"
        values["node_taints"] = [f"{GPU}=present:NoSchedule"]
        values["containerd_additional_runtimes"] = [
            {
                "name": "nvidia",
                "type": "io.containerd.runc.v2",
                "engine": "",
                "root": "",
                # The release writes options as they are: strings bring their own quotes.
                "options": {"BinaryName": '"/usr/bin/nvidia-container-runtime"', "SystemdCgroup": "true"},
            }
        ]
    if labels:
        values["node_labels"] = labels
    return values


def group_vars(machines: Sequence[Machine], options: Options) -> dict[str, Any]:
    """Render the variables of all hosts; ValueError, with every problem, for what cannot work."""
    found = list(problems(machines, options))
    if found:
        raise ValueError("; ".join(found))
    values: dict[str, Any] = {
        "kube_version": options.version,
        "kube_network_plugin": options.network_plugin,
        "kube_pods_subnet": str(options.pod_cidr),
        "kube_service_addresses": str(options.service_cidr),
        "kube_network_node_prefix": NODE_PREFIX,
        # ipvs, the release's default, is deprecated in Kubernetes 1.35; all three plugins work with iptables.
        "kube_proxy_mode": "iptables",
        "container_manager": "containerd",
        "containerd_storage_dir": f"{DATA}/containerd",
        "etcd_deployment_type": "host",
        # Every agent balances over all servers by itself: no virtual IP, and any one server may be lost.
        "loadbalancer_apiserver_localhost": True,
        "loadbalancer_apiserver_type": "nginx",
        "supplementary_addresses_in_ssl_keys": list(options.api_addresses),
        "kubeconfig_localhost": True,
        "auto_renew_certificates": True,
        "unsafe_show_logs": False,
        **_addons(),
        **_hardening(),
        **_kubelet(machines),
    }
    if options.mirrors:
        values["containerd_registries_mirrors"] = [
            _mirror(registry, urls) for registry, urls in sorted(options.mirrors.items())
        ]
    if options.network_plugin == "flannel":
        # A machine with a second network would else offer the address of its default route.
        values["flannel_interface_regexp"] = _any_of([machine.address for machine in machines])
    if len(machines) > MANY:
        values["download_run_once"] = True
        values["retry_stagger"] = 60
    return values


def secret_vars(secret: str, *, digest: str) -> dict[str, str]:
    """Variables that are secrets: 32 characters for encryption at rest, and kubeadm's key of 64 hex digits.

    Kubespray would else make them up in files on the bastion, and lose them with it.
    """
    return {"kube_encrypt_token": secret[:32], "kubeadm_certificate_key": digest}


def forks(nodes: int) -> int:
    """How many hosts Ansible works on at a time."""
    return min(nodes, FORKS)


def _addons() -> dict[str, Any]:
    """What comes with the cluster. The rest is the platform's, as releases of their own."""
    return {
        "metrics_server_enabled": True,
        "metrics_server_kubelet_insecure_tls": False,
        "local_path_provisioner_enabled": True,
        "local_path_provisioner_claim_root": f"{DATA}/local-path/",
        "helm_enabled": False,
        "registry_enabled": False,
        "argocd_enabled": False,
        "cert_manager_enabled": False,
        "metallb_enabled": False,
    }


def _hardening() -> dict[str, Any]:
    """What protects the control plane."""
    return {
        "authorization_modes": ["Node", "RBAC"],
        "kube_apiserver_request_timeout": "300s",
        "kube_apiserver_service_account_lookup": True,
        "kubernetes_audit": True,
        "audit_log_maxage": 30,
        "audit_log_maxbackups": 10,
        "audit_log_maxsize": 100,
        "tls_min_version": "VersionTLS12",
        "tls_cipher_suites": CIPHERS.split(","),
        "kube_encrypt_secret_data": True,
        "kube_encryption_algorithm": "secretbox",
        "kube_encryption_resources": ["secrets"],
        "kube_apiserver_enable_admission_plugins": [*ADMISSION_PLUGINS, "PodSecurity"],
        "kube_apiserver_admission_control_config_file": True,
        "kube_apiserver_admission_event_rate_limits": {
            "server": {"type": "Server", "qps": 5000, "burst": 20000},
            "namespace": {"type": "Namespace", "qps": 500, "burst": 2000, "cache_size": 2000},
        },
        "kube_pod_security_use_default": True,
        "kube_pod_security_default_enforce": "baseline",
        "kube_pod_security_default_enforce_version": "latest",
        "kube_pod_security_exemptions_namespaces": ["kube-system", "local-path-storage"],
        "kube_profiling": False,
        "remove_anonymous_access": True,
        "kube_controller_manager_bind_address": "127.0.0.1",
        "kube_controller_terminated_pod_gc_threshold": 100,
        "kube_scheduler_bind_address": "127.0.0.1",
        "kube_owner": "root",
        "kube_cert_group": "root",
    }


def _kubelet(machines: Sequence[Machine]) -> dict[str, Any]:
    """What protects the nodes."""
    return {
        "kubelet_authentication_token_webhook": True,
        "kubelet_authorization_mode_webhook": True,
        "kube_read_only_port": 0,
        "kubelet_rotate_certificates": True,
        "kubelet_rotate_server_certificates": True,
        "kubelet_csr_approver_values": {
            # Node names are in no DNS. A kubelet asks as its own node, so names and networks are what is left to check.
            "bypassDnsResolution": True,
            "providerRegex": "^[a-z0-9.-]+$",
            "providerIpPrefixes": networks([machine.address for machine in machines]),
        },
        "kubelet_protect_kernel_defaults": True,
        "kubelet_event_record_qps": 1,
        "kubelet_streaming_connection_idle_timeout": "5m",
        "kubelet_make_iptables_util_chains": True,
        "kubelet_seccomp_default": True,
        "kubelet_systemd_hardening": True,
        "kubelet_pod_pids_limit": 4096,
    }


def networks(addresses: Sequence[str]) -> list[str]:
    """The /24 networks of addresses: one more node of a network changes nothing."""
    found = {IPv4Network(f"{address}/24", strict=False) for address in addresses}
    return [str(network) for network in sorted(found)]


def _mirror(registry: str, urls: Sequence[str]) -> dict[str, Any]:
    """A registry's mirrors. A mirror is believed only with a valid certificate, or where its URL says http."""
    hosts = [{"host": url, "capabilities": ["pull", "resolve"], "skip_verify": False} for url in urls]
    return {"prefix": registry, "mirrors": hosts}


def _any_of(addresses: Sequence[str]) -> str:
    """A regular expression for addresses of the same /24 networks."""
    parts = [re.escape(network.rpartition(".")[0]) for network in networks(addresses)]
    return rf"^({'|'.join(parts)})\.\d+$"
