"""Kubeconfigs for those who look and change nothing, each for its own namespaces.

Import this where it is needed: Kubernetes' part of the SDK takes half a second to load.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

from cluster import kubeconfig
from cluster.accounts import account, token
from cluster.closed import Guards, guarded
from config import Reader

NAMESPACE = "leasehold-readers"
ROLE = "leasehold-reader"
EMPTY = Guards({"pods": "0"}, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
"""Accounts are all that is there: no pod runs, and none would reach anything."""
VERBS = ["get", "list", "watch"]
# Never secrets, and nothing that opens a way to one: no exec, no port-forward, no tokens.
RULES: list[dict[str, Any]] = [
    {
        "apiGroups": [""],
        "resources": [
            *("pods", "pods/log", "pods/status", "services", "endpoints", "configmaps", "events"),
            *("persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "limitranges", "serviceaccounts"),
        ],
    },
    {"apiGroups": ["apps"], "resources": ["deployments", "replicasets", "statefulsets", "daemonsets"]},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"]},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "networkpolicies"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"]},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"]},
    {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"]},
]


@dataclass(frozen=True)
class ReadersArgs:
    """Who may read what."""

    readers: Mapping[str, Reader]
    cluster: str
    """Name of the cluster, in the kubeconfigs."""
    admin: pulumi.Output[str]
    """The administrator's kubeconfig: the address and its certificate are the same for everybody."""
    anchor: pulumi.Resource | None
    """Lives as long as the cluster: its end needs no working API."""


class Readers(pulumi.ComponentResource):
    """A service account for each reader, bound to a role in each of its namespaces, which must exist."""

    kubeconfigs: Mapping[str, pulumi.Output[str]]
    """By reader; secrets."""

    def __init__(self, name: str, args: ReadersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the accounts; `opts` gives the provider."""
        super().__init__("leasehold:cluster:Readers", name, None, opts)
        # A cluster that is gone takes its objects along: nothing asks an API that does not answer.
        self._under = pulumi.ResourceOptions(parent=self, deleted_with=args.anchor)
        space = Namespace(
            f"{name}-namespace",
            metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=self._under,
        )
        home = guarded(name, space.metadata.apply(lambda metadata: metadata.name or NAMESPACE), EMPTY, self._under)
        roles = {space: self._role(space) for space in sorted({n for r in args.readers.values() for n in r.namespaces})}
        self.kubeconfigs = {
            reader: self._reader(reader, args, home, {space: roles[space] for space in chosen.namespaces})
            for reader, chosen in args.readers.items()
        }
        self.register_outputs({})

    def _role(self, namespace: str) -> Role:
        rules = [{**rule, "verbs": VERBS} for rule in RULES]
        return Role(
            f"{namespace}-reader", metadata={"name": ROLE, "namespace": namespace}, rules=rules, opts=self._under
        )

    def _reader(
        self, reader: str, args: ReadersArgs, home: pulumi.Output[str], roles: Mapping[str, Role]
    ) -> pulumi.Output[str]:
        known, kept = account((f"{reader}-account", f"{reader}-token"), reader, home, self._under)
        for namespace, role in roles.items():
            RoleBinding(
                f"{reader}-{namespace}",
                metadata={"name": f"{ROLE}-{reader}", "namespace": namespace},
                role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE},
                subjects=[{"kind": "ServiceAccount", "name": known, "namespace": home}],
                # The reference is by name, so no value tells that the role comes first.
                opts=pulumi.ResourceOptions.merge(self._under, pulumi.ResourceOptions(depends_on=[role])),
            )
        both = pulumi.Output.all(args.admin, kept.data)
        first = next(iter(roles))
        return pulumi.Output.secret(both.apply(partial(_kubeconfig, f"{args.cluster}-{reader}", first)))


def _kubeconfig(name: str, namespace: str, known: list[Any]) -> str:
    admin, data = known
    return render(admin, name=name, namespace=namespace, token=token(data))


def render(admin: str, *, name: str, namespace: str, token: str) -> str:
    """The administrator's kubeconfig with another user: same server, certificate and proxy, nothing of its keys."""
    config = json.loads(kubeconfig.render(admin, name=name, server=kubeconfig.endpoint(admin)))
    config["users"] = [{"name": name, "user": {"token": token}}]
    config["contexts"][0]["context"]["namespace"] = namespace
    return json.dumps(config, indent=2)
