"""The accounts of the namespace where workflows run, and what each of them may do there: nothing by a wildcard."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import Secret, ServiceAccount
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

from mlops.base import Base

SPACE = "workflows"
"""Namespace where workflows run."""
EXECUTOR = "executor"
"""Account of every step that names no other."""
OPERATOR = "operator"
"""Account by which people and programs outside use Argo Workflows."""
TRIGGER = "trigger"
"""Account of what starts workflows when something happened; it lives in the namespace of events."""
GROUP, RBAC = "argoproj.io", "rbac.authorization.k8s.io"
TOKEN = "kubernetes.io/service-account-token"  # noqa: S105  the type of a Secret

CHOSEN = "workflows.argoproj.io/service-account-token.name"
"""Annotation of an account that says which Secret has its token."""

Rules = Sequence[Mapping[str, Any]]


def _rule(group: str, resources: Sequence[str], verbs: Sequence[str], names: Sequence[str] = ()) -> dict[str, Any]:
    rule = {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
    return {**rule, "resourceNames": list(names)} if names else rule


def telling() -> Rules:
    """What the executor of a step does: it says how the step ended."""
    return [_rule(GROUP, ["workflowtaskresults"], ["create", "patch"])]


def operating(artifacts: str) -> Rules:
    """What whoever works with pipelines does, and the Secret by which artifacts are shown. No other Secret."""
    changed = ["workflows", "workflowtemplates", "cronworkflows"]
    return [
        _rule(GROUP, changed, ["get", "list", "watch", "create", "update", "patch", "delete"]),
        _rule(GROUP, ["workflowtasksets", "workflowtaskresults", "workfloweventbindings"], ["get", "list", "watch"]),
        _rule("", ["pods", "events"], ["get", "list", "watch"]),
        _rule("", ["pods/log"], ["get"]),
        _rule("", ["secrets"], ["get"], [artifacts]),
    ]


def starting() -> Rules:
    """What starts workflows does; it neither reads nor changes any."""
    return [_rule(GROUP, ["workflows"], ["create"])]


def bind(base: Base, name: str, account_space: str, rules: Rules, parent: pulumi.Resource) -> None:
    """Let an account of a namespace do something in the namespace of workflows."""
    metadata = {"name": name, "namespace": base.spaces[SPACE]}
    role = Role(f"{SPACE}-{name}", metadata=metadata, rules=[dict(rule) for rule in rules], opts=base.under(parent))
    RoleBinding(
        f"{SPACE}-{name}",
        metadata=metadata,
        role_ref={"api_group": RBAC, "kind": "Role", "name": role.id.apply(lambda _: name)},
        subjects=[{"kind": "ServiceAccount", "name": name, "namespace": base.spaces[account_space]}],
        opts=base.under(parent),
    )


def _account(base: Base, name: str, parent: pulumi.Resource) -> str:
    """An account with a token in a Secret, whose name this is. Another rotation is another Secret: the old token ends.

    Nothing mounts the token but what names the Secret.
    """
    token = f"{name}-token-{base.config.rotation}"
    space = base.spaces[SPACE]
    account = ServiceAccount(
        f"{SPACE}-{name}",
        metadata={"name": name, "namespace": space, "annotations": {CHOSEN: token}},
        automount_service_account_token=False,
        opts=base.under(parent),
    )
    annotations = {"kubernetes.io/service-account.name": account.id.apply(lambda _: name)}
    Secret(
        f"{SPACE}-{token}",
        metadata={"name": token, "namespace": space, "annotations": annotations},
        type=TOKEN,
        opts=base.under(parent),
    )
    return token


def executor(base: Base, parent: pulumi.Resource) -> None:
    """The account of steps: its token is beside what runs in a step, not in it."""
    _account(base, EXECUTOR, parent)
    bind(base, EXECUTOR, SPACE, telling(), parent)


def operator(base: Base, artifacts: str, parent: pulumi.Resource) -> str:
    """The account of people; returns NAMESPACE/NAME of the Secret with its token."""
    token = _account(base, OPERATOR, parent)
    bind(base, OPERATOR, SPACE, operating(artifacts), parent)
    return f"{SPACE}/{token}"
