"""The objects by which nodes join: tokens, the cluster's public data, and what a joining node may do."""

import base64

from . import bootstrap, network_policy, tokens
from .api import SYSTEM, V1, Api, Object
from .config import Config

RBAC = "/apis/rbac.authorization.k8s.io/v1"
AGENTS, SERVERS = "system:bootstrappers:k3s", "system:bootstrappers:k3s-server"
BUNDLE = f"{SYSTEM}/secrets/k3s-bootstrap"
# What all servers of a cluster must set alike.
SHARED_TEXTS = ("cluster-cidr", "service-cidr", "cluster-dns", "cluster-domain", "flannel-backend")
SHARED_FLAGS = ("secrets-encryption", "disable-cloud-controller", "disable-network-policy")


def shared(config: Config) -> dict[str, str]:
    """Settings that the public data tells every node."""
    flags = {key: str(config.flag(key)).lower() for key in SHARED_FLAGS}
    return {key: config.text(key) for key in SHARED_TEXTS} | flags


OWN = "k3s.io/own-token"
"""Label of the tokens that the servers' configuration gives, unlike those of `k3s token create`."""


def token_secret(token: str, group: str, own: str = "") -> Object:
    """The Secret of a Kubernetes bootstrap token; `own` is the role of one that the configuration gives."""
    identity, _, secret = token.partition(".")
    labels = {"labels": {OWN: own}} if own else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{identity}", "namespace": "kube-system", **labels},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": identity,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": group,
        },
    }


def _role(api: Api, name: str, rules: list[Object], namespace: str = "") -> None:
    base = f"{RBAC}/namespaces/{namespace}/roles" if namespace else f"{RBAC}/clusterroles"
    kind = "Role" if namespace else "ClusterRole"
    api.apply(
        base, {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": rules}
    )


def _bind(api: Api, name: str, role: str, *subjects: tuple[str, str], namespace: str = "") -> None:
    base = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    group = "rbac.authorization.k8s.io"
    api.apply(
        base,
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
            "metadata": {"name": name},
            "subjects": [{"apiGroup": group, "kind": kind, "name": subject} for kind, subject in subjects],
            "roleRef": {"apiGroup": group, "kind": "Role" if namespace else "ClusterRole", "name": role},
        },
    )


def _rule(group: str, resources: str, verbs: str, *names: str) -> Object:
    rule: Object = {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
    return {**rule, "resourceNames": list(names)} if names else rule


def apply_tokens(api: Api, config: Config, secret: str) -> None:
    """The tokens of agents and servers, and the bootstrap data for servers."""
    agent = agent_secret(config, secret)
    for role, own, group in (("agent", agent, AGENTS), ("server", secret, SERVERS)):
        wanted = token_secret(tokens.api_token(own, role), group, role)
        api.apply(f"{SYSTEM}/secrets", wanted)
        for earlier in api.get(f"{SYSTEM}/secrets?labelSelector={OWN}%3D{role}")["items"]:
            name = earlier["metadata"]["name"]
            if name != wanted["metadata"]["name"]:
                api.delete(f"{SYSTEM}/secrets/{name}")
    bundle = bootstrap.encrypt(bootstrap.collect(config.paths), secret)
    metadata = {"name": "k3s-bootstrap", "namespace": "kube-system"}
    stored = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"bundle": bundle}}
    api.apply(f"{SYSTEM}/secrets", stored)


def apply_rights(api: Api) -> None:
    """What the holder of an agent's token may do, what one of a server's, and what anyone may read."""
    agents, servers = ("Group", AGENTS), ("Group", SERVERS)
    _bind(api, "k3s-agent-request", "system:node-bootstrapper", agents)
    watched = [_rule(name, " ".join(kinds), "list watch") for name, kinds in network_policy.WATCHED.items()]
    _role(api, "k3s-controller", [_rule("", "nodes", "get list watch"), *watched])
    _role(api, "k3s-servers", [_rule("discovery.k8s.io", "endpointslices", "get list watch")], "default")
    _bind(api, "k3s-controller", "k3s-controller", ("User", "system:k3s-controller"))
    _bind(api, "k3s-servers", "k3s-servers", ("User", "system:k3s-controller"), namespace="default")
    _role(api, "k3s-bootstrap", [_rule("", "secrets", "get", "k3s-bootstrap")], "kube-system")
    _bind(api, "k3s-bootstrap", "k3s-bootstrap", servers, namespace="kube-system")
    _role(api, "cluster-info", [_rule("", "configmaps", "get", "cluster-info")], "kube-public")
    anyone = (("User", "system:anonymous"), ("Group", "system:authenticated"))
    _bind(api, "cluster-info", "cluster-info", *anyone, namespace="kube-public")


def apply_public(api: Api, config: Config) -> None:
    """The authorities' certificates and shared settings, which anyone may read."""
    tls = config.paths.tls
    authorities = {name: (tls / name).read_text() for name in ("server-ca.crt", "client-ca.crt")}
    api.apply(
        f"{V1}/namespaces/kube-public/configmaps",
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cluster-info"},
            "data": {**authorities, **shared(config)},
        },
    )


def agent_secret(config: Config, secret: str) -> str:
    """The secret that agents join with: their own, or the servers' where they have none."""
    return tokens.parse(config.text("agent-token")).secret if config.text("agent-token") else secret


def read_bundle(secret: Object) -> str:
    """The encrypted bootstrap data out of its Secret."""
    return base64.b64decode(secret["data"]["bundle"]).decode()
