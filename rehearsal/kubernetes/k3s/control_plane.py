"""kube-apiserver, kube-controller-manager and kube-scheduler: their certificates, credentials and flags."""

from collections.abc import Sequence

import yaml

from .api import CLUSTER_INFO, Api
from .certificates import Leaf, kubeconfig, make_ca, make_leaves, make_service_key
from .config import Config
from .files import write
from .log import Fatal
from .node import arguments
from .processes import Group

CLIENTS = {
    "admin": "client-admin",
    "controller": "client-controller",
    "scheduler": "client-scheduler",
    "api-server": "client-kube-apiserver",
}


def local(config: Config) -> str:
    """This server's kube-apiserver; on the loopback address the supervisor is before it."""
    return f"https://{config.ip}:6443"


def make_authorities(config: Config) -> None:
    """The authorities and the key of service accounts, unless they are there."""
    tls = config.paths.tls
    for name in ("server-ca", "client-ca", "request-header-ca"):
        make_ca(tls, name, f"k3s-{name}")
    make_service_key(tls)


def serving_names(config: Config) -> tuple[str, ...]:
    """Every name and address by which the API server may be called."""
    first = config.text("service-cidr").rpartition(".")[0] + ".1"
    service = "kubernetes.default.svc"
    names = ["kubernetes", "kubernetes.default", service, f"{service}.{config.text('cluster-domain')}", "localhost"]
    addresses = ["127.0.0.1", first, config.ip, *config.items("node-external-ip")]
    advertised = [config.text("advertise-address")] if config.text("advertise-address") else []
    return (*names, config.node, *addresses, *advertised, *config.items("tls-san"))


def make_certificates(config: Config) -> None:
    """Leaf certificates of the control plane and their kubeconfigs."""
    tls = config.paths.tls
    masters = "system:masters"
    leaves = [
        Leaf("serving-kube-apiserver", "server-ca", "kube-apiserver", "", serving_names(config), "serverAuth"),
        Leaf("client-admin", "client-ca", "system:admin", masters),
        Leaf("client-controller", "client-ca", "system:kube-controller-manager"),
        Leaf("client-scheduler", "client-ca", "system:kube-scheduler"),
        Leaf("client-kube-apiserver", "client-ca", "system:apiserver", masters),
        Leaf("client-auth-proxy", "request-header-ca", "system:auth-proxy"),
    ]
    make_leaves(tls, tls, leaves)
    for name, client in CLIENTS.items():
        kubeconfig(
            config.paths.cred / f"{name}.kubeconfig", local(config), tls / "server-ca.crt", tls / f"{client}.crt"
        )


def admin(config: Config) -> Api:
    """The local API server, with all rights."""
    tls = config.paths.tls
    return Api(local(config), tls / "server-ca.crt", tls / "client-admin.crt")


def _write_authentication(config: Config) -> str:
    """Anonymous callers may read the cluster's authorities and no more, as from k3s's /cacerts."""
    path = config.paths.cred / "authentication.yaml"
    text = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": [{"path": CLUSTER_INFO}]},
    }
    write(path, yaml.safe_dump(text))
    return str(path)


def _own_anonymous_rule(extra: Sequence[str]) -> list[str]:
    """The user's flags without anonymous-auth=false, which holds here by the authentication configuration."""
    if any(text.lstrip("-") in ("anonymous-auth", "anonymous-auth=true") for text in extra):
        raise Fatal("kube-apiserver-arg anonymous-auth=true: the stand-in for k3s keeps anonymous calls off")
    return [text for text in extra if not text.lstrip("-").startswith("anonymous-auth=")]


def apiserver_arguments(config: Config) -> list[str]:
    """kube-apiserver's flags."""
    tls = config.paths.tls
    proxied = "X-Remote-"
    defaults = {
        "advertise-address": config.text("advertise-address") or config.ip,
        # On every address, as k3s does: the bastion is reached by another one than the nodes use. The supervisor's
        # listener on the loopback address is more specific, so the kernel prefers it there.
        "bind-address": "0.0.0.0",  # noqa: S104  as k3s
        "permit-port-sharing": "true",
        "secure-port": "6443",
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "authentication-config": _write_authentication(config),
        "enable-bootstrap-token-auth": "true",
        "enable-admission-plugins": "NodeRestriction",
        "service-cluster-ip-range": config.text("service-cidr"),
        "service-account-issuer": f"https://kubernetes.default.svc.{config.text('cluster-domain')}",
        "service-account-key-file": str(tls / "service.key"),
        "service-account-signing-key-file": str(tls / "service.current.key"),
        "client-ca-file": str(tls / "client-ca.crt"),
        "tls-cert-file": str(tls / "serving-kube-apiserver.crt"),
        "tls-private-key-file": str(tls / "serving-kube-apiserver.key"),
        "etcd-servers": "https://127.0.0.1:2379",
        "etcd-cafile": str(tls / "etcd" / "server-ca.crt"),
        "etcd-certfile": str(tls / "etcd" / "client.crt"),
        "etcd-keyfile": str(tls / "etcd" / "client.key"),
        "kubelet-certificate-authority": str(tls / "server-ca.crt"),
        "kubelet-client-certificate": str(tls / "client-kube-apiserver.crt"),
        "kubelet-client-key": str(tls / "client-kube-apiserver.key"),
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "requestheader-client-ca-file": str(tls / "request-header-ca.crt"),
        "requestheader-allowed-names": "system:auth-proxy",
        "requestheader-extra-headers-prefix": f"{proxied}Extra-",
        "requestheader-group-headers": f"{proxied}Group",
        "requestheader-username-headers": f"{proxied}User",
        "proxy-client-cert-file": str(tls / "client-auth-proxy.crt"),
        "proxy-client-key-file": str(tls / "client-auth-proxy.key"),
        "enable-aggregator-routing": "true",
        "profiling": "false",
    }
    if config.paths.encryption.exists():
        defaults["encryption-provider-config"] = str(config.paths.encryption)
        defaults["encryption-provider-config-automatic-reload"] = "true"
    return arguments(defaults, _own_anonymous_rule(config.items("kube-apiserver-arg")))


def _own_kubeconfig(config: Config, name: str) -> dict[str, str]:
    path = str(config.paths.cred / f"{name}.kubeconfig")
    kinds = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return {**dict.fromkeys(kinds, path), "bind-address": "127.0.0.1", "profiling": "false"}


def controller_manager_arguments(config: Config) -> list[str]:
    """kube-controller-manager's flags."""
    tls = config.paths.tls
    defaults = {
        **_own_kubeconfig(config, "controller"),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": str(tls / "service.current.key"),
        "root-ca-file": str(tls / "server-ca.crt"),
        "allocate-node-cidrs": "true",
        "cluster-cidr": config.text("cluster-cidr"),
        "controllers": "*,tokencleaner",
    }
    signers = {
        "kubelet-client": "client-ca",
        "kube-apiserver-client": "client-ca",
        "kubelet-serving": "server-ca",
        "legacy-unknown": "server-ca",
    }
    for signer, authority in signers.items():
        defaults[f"cluster-signing-{signer}-cert-file"] = str(tls / f"{authority}.crt")
        defaults[f"cluster-signing-{signer}-key-file"] = str(tls / f"{authority}.key")
    return arguments(defaults, config.items("kube-controller-manager-arg"))


def scheduler_arguments(config: Config) -> list[str]:
    """kube-scheduler's flags."""
    return arguments(_own_kubeconfig(config, "scheduler"), config.items("kube-scheduler-arg"))


def start(config: Config, group: Group) -> Api:
    """Run the three and wait until the API server is ready."""
    group.start("kube-apiserver", ["kube-apiserver", *apiserver_arguments(config)])
    api = admin(config)
    group.until("kube-apiserver", lambda: bool(api.open("GET", "/readyz")))
    # these two end by design when they lose their lease on a busy machine
    manager = ["kube-controller-manager", *controller_manager_arguments(config)]
    group.start("kube-controller-manager", manager, restart=True)
    group.start("kube-scheduler", ["kube-scheduler", *scheduler_arguments(config)], restart=True)
    return api
