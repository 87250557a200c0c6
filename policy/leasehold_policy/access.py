"""Who may do what in the cluster."""

from collections.abc import Iterator
from typing import Any

from .model import Resource, each
from .values import at, items, names
from .workloads import pods, settles

ROLES = ("Role", "ClusterRole")
BINDINGS = ("RoleBinding", "ClusterRoleBinding")
EVERYBODY = {"system:authenticated", "system:unauthenticated", "system:anonymous", "system:serviceaccounts"}
READING = {"get", "list", "watch"}


def grants(role: Resource) -> Iterator[tuple[str, dict[str, set[Any]]]]:
    """The rules of a role, each with its place: verbs, resources and apiGroups."""
    for number, rule in enumerate(items(role.at("rules")) if role.named(*ROLES) else ()):
        yield f"rules[{number}]", {key: names(at(rule, key)) for key in ("verbs", "resources", "apiGroups")}


@each("name the verbs, the resources and the groups")
def wildcard_rights(resource: Resource) -> Iterator[str]:
    """A role names what it grants."""
    for place, rule in grants(resource):
        yield from (f"{place}.{key} has *" for key, names in rule.items() if "*" in names)


@each("grant the single resources in a Role, with their names")
def reads_every_secret(resource: Resource) -> Iterator[str]:
    """No account reads the Secrets of the whole cluster."""
    for place, rule in grants(resource) if resource.named("ClusterRole") else ():
        if "secrets" in rule["resources"] and READING & rule["verbs"]:
            yield f"{place} reads secrets everywhere"


@each("take the verb out")
def widens_rights(resource: Resource) -> Iterator[str]:
    """No account grants itself, or borrows, what it does not have."""
    for place, rule in grants(resource):
        yield from (f"{place} has {verb}" for verb in ("bind", "escalate", "impersonate") if verb in rule["verbs"])


@each("let the pod do it, or a Job")
def runs_in_pods(resource: Resource) -> Iterator[str]:
    """No account runs commands in the pods of others."""
    for place, rule in grants(resource):
        for name in ("pods/exec", "pods/attach", "pods/portforward"):
            if name in rule["resources"]:
                yield f"{place} has {name}"


@each("bind a role that names what is needed")
def binds_cluster_admin(resource: Resource) -> Iterator[str]:
    """Nobody is bound to `cluster-admin`."""
    if resource.named(*BINDINGS) and resource.at("roleRef", "name") == "cluster-admin":
        yield "roleRef is cluster-admin"


@each("name the accounts")
def binds_everybody(resource: Resource) -> Iterator[str]:
    """Rights are given to accounts, not to whoever is logged in or not."""
    for number, subject in enumerate(items(resource.at("subjects")) if resource.named(*BINDINGS) else ()):
        if EVERYBODY & names([at(subject, "name")]):
            yield f"subjects[{number}] is {at(subject, 'name')}"


@each("make an account for it")
def binds_the_default_account(resource: Resource) -> Iterator[str]:
    """Rights are given to accounts of their own, not to the one that every pod has."""
    for number, subject in enumerate(items(resource.at("subjects")) if resource.named(*BINDINGS) else ()):
        if at(subject, "kind") == "ServiceAccount" and at(subject, "name") == "default":
            yield f"subjects[{number}] is the account `default`"


@each("set automountServiceAccountToken to false")
def account_hands_out_no_token(resource: Resource) -> Iterator[str]:
    """An account's token is in a pod only where the pod asks for it."""
    if resource.named("ServiceAccount") and not settles(resource.at("automountServiceAccountToken"), False):
        yield "automountServiceAccountToken is not false"


@each("set automountServiceAccountToken to false")
def pod_has_no_token(resource: Resource) -> Iterator[str]:
    """A pod has no token of the Kubernetes API, unless it needs one."""
    for pod in pods(resource):
        if not settles(at(pod.spec, "automountServiceAccountToken"), False):
            yield f"{pod.path}.automountServiceAccountToken is not false"


@each("let the kubelet project one that ends")
def token_ends(resource: Resource) -> Iterator[str]:
    """No token of an account is valid for ever."""
    if resource.named("Secret") and resource.at("type") == "kubernetes.io/service-account-token":
        yield "it is a token without an end"


@each("switch it off")
def anonymous_access(resource: Resource) -> Iterator[str]:
    """No service of a chart lets in whoever does not say who it is."""
    if not resource.named("Release"):
        return
    values = resource.at("values")
    if at(values, "configs", "cm", "users.anonymous.enabled") in (True, "true"):
        yield "Argo CD: users.anonymous.enabled"
    if at(values, "grafana", "grafana.ini", "auth.anonymous", "enabled") in (True, "true"):
        yield "Grafana: auth.anonymous"
    if "server" in items(at(values, "server", "authModes")):
        yield "Argo Workflows: authModes has server"
    if at(values, "api", "insecure") is True:
        yield "Traefik: api.insecure"
