"""This cluster as one that the Argo CD of another stack, the hub, deploys to.

The hub's kubeconfig is an output of its stack. What Argo CD gets here is a token that makes applications' objects in
the named namespaces, and nothing else: no object of the whole cluster, no role, no quota, no network policy.

Import this where it is needed: Kubernetes' part of the SDK takes half a second to load.
"""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.core.v1 import Namespace, Secret
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

import config
from cluster import kubeconfig
from cluster.accounts import account, token

NAMESPACE, ACCOUNT = "leasehold-edge", "argocd"
HUB = "argocd"
"""Namespace of the hub's Argo CD."""
PROJECT = "applications"
"""Project of the hub's applications: none of another one comes here."""
REGISTERED = {"argocd.argoproj.io/secret-type": "cluster"}
VERBS = ["get", "list", "watch", "create", "update", "patch", "delete"]
RULES: list[dict[str, Any]] = [
    {
        "apiGroups": [""],
        "resources": ["configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims"],
        "verbs": VERBS,
    },
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": VERBS},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": VERBS},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": VERBS},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": VERBS},
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": VERBS},
    {"apiGroups": ["gateway.networking.k8s.io"], "resources": ["httproutes"], "verbs": VERBS},
    # How what it made fares.
    {"apiGroups": [""], "resources": ["pods", "endpoints", "events"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["apps"], "resources": ["replicasets", "controllerrevisions"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
]


@dataclass(frozen=True)
class EdgeArgs:
    """Which cluster is registered, and where."""

    config: config.Edge
    cluster: str
    """Name of the cluster in the hub: the stack's."""
    admin: pulumi.Output[str]
    """The administrator's kubeconfig: the address and its certificate are the same for everybody."""
    anchor: pulumi.Resource | None
    """Lives as long as the cluster: its end needs no working API."""


def registration(name: str, known: list[Any]) -> dict[str, str]:
    """The data of the hub's Secret, from the administrator's kubeconfig, the account's token, and the namespaces."""
    admin, data, *namespaces = known
    cluster = kubeconfig.current(admin)["cluster"]
    trusted = {"caData": cluster["certificate-authority-data"]} if "certificate-authority-data" in cluster else {}
    return {
        "name": name,
        "server": cluster["server"],
        "project": PROJECT,
        "namespaces": ",".join(namespaces),
        "clusterResources": "false",
        "config": json.dumps({"bearerToken": token(data), "tlsClientConfig": trusted}),
    }


class Edge(pulumi.ComponentResource):
    """An account for the hub's Argo CD, and the cluster's entry there."""

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Register the cluster; `opts` gives the provider of the cluster itself."""
        super().__init__("leasehold:cluster:Edge", name, None, opts)
        # A cluster that is gone takes its objects along: nothing asks an API that does not answer.
        self._under = pulumi.ResourceOptions(parent=self, deleted_with=args.anchor)
        home = self._namespace(NAMESPACE)
        called, kept = account((f"{ACCOUNT}-edge", f"{ACCOUNT}-edge-token"), ACCOUNT, home, self._under)
        spaces = [self._allow(space, home, called) for space in args.config.namespaces]
        # An entry that comes before the rights would show Argo CD a cluster that refuses everything.
        known = pulumi.Output.all(args.admin, kept.data, *spaces)
        entry: pulumi.Output[Any] = known.apply(partial(registration, args.cluster))
        Secret(
            f"{name}-cluster",
            metadata={"name": f"cluster-{args.cluster}", "namespace": HUB, "labels": REGISTERED},
            string_data=pulumi.Output.secret(entry),
            opts=pulumi.ResourceOptions(parent=self, provider=self._hub(f"{name}-hub", args.config.hub)),
        )
        self.register_outputs({})

    def _hub(self, name: str, stack: str) -> kubernetes.Provider:
        """The hub's cluster, as its stack hands it to others."""
        reference = pulumi.StackReference(stack, opts=pulumi.ResourceOptions(parent=self))
        return kubernetes.Provider(
            name,
            kubeconfig=pulumi.Output.secret(reference.require_output("kubeconfig")),
            # The stack's name stays when the hub is made anew; without it, its address would replace the entry.
            cluster_identifier=stack,
            # A hub that is gone has no entry: the end of an edge needs no hub.
            delete_unreachable=True,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _namespace(self, name: str) -> pulumi.Output[str]:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        made = Namespace(f"{name}-edge", metadata={"name": name, "labels": labels}, opts=self._under)
        known: pulumi.Output[str] = made.metadata.apply(lambda metadata: metadata.name or name)
        return known

    def _allow(self, space: str, home: pulumi.Output[str], called: pulumi.Output[str]) -> pulumi.Output[str]:
        """A namespace; its name, known when Argo CD may work there."""
        metadata = {"name": "leasehold-edge", "namespace": self._namespace(space)}
        role = Role(f"{space}-edge-role", metadata=metadata, rules=RULES, opts=self._under)
        bound = RoleBinding(
            f"{space}-edge-binding",
            metadata=metadata,
            role_ref={
                "api_group": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": role.metadata.apply(lambda known: known.name or "leasehold-edge"),
            },
            subjects=[{"kind": "ServiceAccount", "name": called, "namespace": home}],
            opts=self._under,
        )
        known: pulumi.Output[str] = bound.id.apply(lambda _: space)
        return known
