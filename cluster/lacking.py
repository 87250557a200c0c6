"""What Helm releases lack: objects of their manifests that somebody has removed, which neither helm nor Pulumi sees.

Helm's record of a release holds its manifest, and an upgrade makes anew what is missing of it: helm's own behaviour,
and so that of Pulumi's Release. Kinds that end by themselves, such as Jobs, are not looked for.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from cluster import records

CORE, APPS, RBAC = "/api/v1", "/apis/apps/v1", "/apis/rbac.authorization.k8s.io/v1"
KINDS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("DaemonSet", "Deployment", "StatefulSet"), (APPS, "apps/v1")),
    **dict.fromkeys(("ConfigMap", "Secret", "Service", "ServiceAccount"), (CORE, "v1")),
    **dict.fromkeys(("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"), (RBAC, RBAC.removeprefix("/apis/"))),
}
"""Kind to the place of its lists, and to its version."""
MOST = 3
"""Names that a sentence has."""


def path(kind: str) -> str:
    """Where a kind's objects of all namespaces are listed."""
    return f"{KINDS[kind][0]}/{kind.lower()}s"


def promised(record: Mapping[str, Any], space: str) -> frozenset[tuple[str, str, str]]:
    """Kind, namespace ("" where it has none) and name of what the record of a release in `space` promises."""
    documents = yaml.load_all(records.content(record)["manifest"], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return frozenset(
        (item["kind"], "" if item["kind"].startswith("Cluster") else item["metadata"].get("namespace") or space, name)
        for item in documents
        if item and (name := (item.get("metadata") or {}).get("name")) and _looked_for(item)
    )


def _looked_for(item: Mapping[str, Any]) -> bool:
    return item.get("kind") in KINDS and item.get("apiVersion") == KINDS[item["kind"]][1]


def sentence(missing: Iterable[tuple[str, str, str]]) -> str:
    """What is missing, in words; "" where nothing is."""
    names = [f"{kind} {name}" for kind, _, name in sorted(missing)]
    more = [f"{len(names) - MOST} more"] if len(names) > MOST else []
    return ", ".join([*names[:MOST], *more])
