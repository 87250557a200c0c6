"""The names that the pinned release reads, of those that we set, by the file that gives or reads them.

Kubespray takes a name that it does not know in silence: the source project's dashboard and ingress settings did
nothing for years. So a test holds what is rendered against this list, and the run on the bastion holds it against
the unpacked release itself, whichever release that is.

Taken from the release v2.31.0.
"""

from collections.abc import Mapping

KNOWN: Mapping[str, tuple[str, ...]] = {
    "roles/kubespray_defaults/defaults/main/main.yml": (
        "argocd_enabled",
        "authorization_modes",
        "cert_manager_enabled",
        "container_manager",
        "containerd_storage_dir",
        "etcd_deployment_type",
        "etcd_member_name",
        "helm_enabled",
        "kube_cert_group",
        "kube_network_node_prefix",
        "kube_network_plugin",
        "kube_owner",
        "kube_pods_subnet",
        "kube_profiling",
        "kube_proxy_mode",
        "kube_service_addresses",
        "kube_version",
        "kubeconfig_localhost",
        "kubelet_authentication_token_webhook",
        "kubelet_authorization_mode_webhook",
        "kubelet_event_record_qps",
        "kubelet_protect_kernel_defaults",
        "kubelet_rotate_certificates",
        "kubelet_rotate_server_certificates",
        "loadbalancer_apiserver_localhost",
        "loadbalancer_apiserver_type",
        "local_path_provisioner_enabled",
        "metallb_enabled",
        "metrics_server_enabled",
        "registry_enabled",
        "remove_anonymous_access",
        "retry_stagger",
    ),
    "roles/kubespray_defaults/defaults/main/download.yml": ("download_run_once", "unsafe_show_logs"),
    "roles/kubespray_defaults/tasks/fallback_ips.yml": ("access_ip", "ip"),
    "roles/kubernetes/control-plane/defaults/main/main.yml": (
        "audit_log_maxage",
        "audit_log_maxbackups",
        "audit_log_maxsize",
        "auto_renew_certificates",
        "kube_apiserver_admission_control_config_file",
        "kube_apiserver_admission_event_rate_limits",
        "kube_apiserver_enable_admission_plugins",
        "kube_apiserver_request_timeout",
        "kube_apiserver_service_account_lookup",
        "kube_controller_manager_bind_address",
        "kube_controller_terminated_pod_gc_threshold",
        "kube_encrypt_secret_data",
        "kube_encrypt_token",
        "kube_encryption_algorithm",
        "kube_encryption_resources",
        "kube_pod_security_default_enforce",
        "kube_pod_security_default_enforce_version",
        "kube_pod_security_exemptions_namespaces",
        "kube_pod_security_use_default",
        "kubernetes_audit",
        "supplementary_addresses_in_ssl_keys",
    ),
    "roles/kubernetes/control-plane/defaults/main/kube-scheduler.yml": ("kube_scheduler_bind_address",),
    "roles/kubernetes/control-plane/templates/kubeadm-config.v1beta4.yaml.j2": (
        "kubeadm_certificate_key",
        "tls_cipher_suites",
        "tls_min_version",
    ),
    "roles/kubernetes/node/defaults/main.yml": (
        "kube_read_only_port",
        "kubelet_pod_pids_limit",
        "kubelet_systemd_hardening",
    ),
    "roles/kubernetes/node/templates/kubelet-config.v1beta1.yaml.j2": (
        "kubelet_make_iptables_util_chains",
        "kubelet_seccomp_default",
        "kubelet_streaming_connection_idle_timeout",
    ),
    "roles/kubernetes/node-label/tasks/main.yml": ("node_labels",),
    "roles/kubernetes/node-taint/defaults/main.yml": ("node_taints",),
    "roles/kubernetes-apps/kubelet-csr-approver/defaults/main.yml": ("kubelet_csr_approver_values",),
    "roles/kubernetes-apps/metrics_server/defaults/main.yml": ("metrics_server_kubelet_insecure_tls",),
    "roles/kubernetes-apps/external_provisioner/local_path_provisioner/defaults/main.yml": (
        "local_path_provisioner_claim_root",
    ),
    "roles/container-engine/containerd/defaults/main.yml": (
        "containerd_additional_runtimes",
        "containerd_registries_mirrors",
    ),
    "roles/network_plugin/flannel/templates/cni-flannel.yml.j2": ("flannel_interface_regexp",),
}


def known() -> frozenset[str]:
    """Every name that may be set, but for Ansible's own."""
    return frozenset(name for names in KNOWN.values() for name in names)
