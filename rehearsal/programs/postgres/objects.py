"""What the operator makes for a Cluster: its account, Services, volumes and pods. Pure functions."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rehearsal.programs.kube import BARMAN, CLUSTER, CNPG, INSTANCE, ROLE, Object
from rehearsal.programs.postgres.settings import DATA

HASH = "leasehold/made-of"
"""Annotation of a pod: another hash means another pod."""
USER = 26
GUARDED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def owned(cluster: Object, kind: str, version: str, name: str, labels: Mapping[str, str] | None = None) -> Object:
    """The head of an object that goes with the Cluster."""
    metadata = cluster["metadata"]
    owner = {
        "apiVersion": CNPG,
        "kind": "Cluster",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {CLUSTER: metadata["name"], **(labels or {})},
            "ownerReferences": [owner],
        },
    }


def rules() -> list[Object]:
    """What an instance may do: read its objects and say how they are."""
    kinds = ["clusters", "databases", "databaseroles", "backups"]
    group = CNPG.partition("/")[0]
    return [
        {"apiGroups": [group], "resources": kinds, "verbs": ["get", "list", "watch"]},
        {"apiGroups": [group], "resources": [f"{kind}/status" for kind in kinds], "verbs": ["get", "patch", "update"]},
        {"apiGroups": [BARMAN.partition("/")[0]], "resources": ["objectstores"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]


def account(cluster: Object) -> list[tuple[str, Object]]:
    """Its ServiceAccount, Role and RoleBinding, each with its collection's path."""
    name, space = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    rbac, api = "rbac.authorization.k8s.io/v1", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}"
    subject = {"kind": "ServiceAccount", "name": name, "namespace": space}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    return [
        (f"/api/v1/namespaces/{space}/serviceaccounts", owned(cluster, "ServiceAccount", "v1", name)),
        (f"{api}/roles", {**owned(cluster, "Role", rbac, name), "rules": rules()}),
        (
            f"{api}/rolebindings",
            {**owned(cluster, "RoleBinding", rbac, name), "roleRef": reference, "subjects": [subject]},
        ),
    ]


def services(cluster: Object) -> list[Object]:
    """-rw leads to the primary, -ro to the others, -r to any."""
    name = cluster["metadata"]["name"]
    found = []
    for suffix, role in (("rw", "primary"), ("ro", "replica"), ("r", None)):
        made = owned(cluster, "Service", "v1", f"{name}-{suffix}")
        selector = {CLUSTER: name, **({ROLE: role} if role else {"cnpg.io/podRole": "instance"})}
        made["spec"] = {"selector": selector, "ports": [{"name": "postgres", "port": 5432, "targetPort": 5432}]}
        found.append(made)
    return found


def claim(cluster: Object, name: str) -> Object:
    """The volume of an instance."""
    wanted = cluster["spec"]["storage"]
    made = owned(cluster, "PersistentVolumeClaim", "v1", name, {INSTANCE: name})
    made["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": wanted["size"]}}}
    if wanted.get("storageClass"):
        made["spec"]["storageClassName"] = wanted["storageClass"]
    return made


def budget(cluster: Object) -> Object:
    """No drain takes the primary away before another one has taken over."""
    made = owned(cluster, "PodDisruptionBudget", "policy/v1", f"{cluster['metadata']['name']}-primary")
    selector = {CLUSTER: cluster["metadata"]["name"], ROLE: "primary"}
    return {**made, "spec": {"minAvailable": 1, "selector": {"matchLabels": selector}}}


def _container(name: str, image: str, module: str, resources: Any, environment: list[Object]) -> Object:
    mounts = [("data", "/var/lib/postgresql/data"), ("controller", "/controller"), ("tmp", "/tmp")]  # noqa: S108  a volume
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", f"rehearsal.programs.postgres.{module}"],
        "env": environment,
        "resources": resources,
        "securityContext": GUARDED,
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts],
    }


def pod(cluster: Object, name: str, role: str, sidecar: str, store: Object | None) -> Object:
    """The pod of an instance; `sidecar` is the plugin's image, `store` the ObjectStore that it archives to."""
    spec, metadata = cluster["spec"], cluster["metadata"]
    labels = {INSTANCE: name, ROLE: role, "role": role, "cnpg.io/podRole": "instance"}
    made = owned(cluster, "Pod", "v1", name, labels)
    field = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    environment: list[Object] = [
        {"name": "NAMESPACE", "valueFrom": field},
        {"name": "CLUSTER", "value": metadata["name"]},
        {"name": "POD_NAME", "value": name},
        {"name": "PGDATA", "value": DATA},
        {"name": "TMPDIR", "value": "/tmp"},  # noqa: S108  a volume
    ]
    server = _container("postgres", spec["imageName"], "instance", spec.get("resources") or {}, environment)
    server["ports"] = [
        {"name": port, "containerPort": number}
        for port, number in (("postgresql", 5432), ("metrics", 9187), ("status", 8000))
    ]
    probe = {"timeoutSeconds": 5, "periodSeconds": 2}
    server["readinessProbe"] = {**probe, "failureThreshold": 2, "httpGet": {"path": "/readyz", "port": 8000}}
    server["livenessProbe"] = {**probe, "failureThreshold": 15, "httpGet": {"path": "/healthz", "port": 8000}}
    server["startupProbe"] = {**probe, "failureThreshold": 600, "httpGet": {"path": "/healthz", "port": 8000}}
    containers = [server]
    if store is not None:
        given = store["spec"].get("instanceSidecarConfiguration") or {}
        more = [*environment, *(given.get("env") or [])]
        containers.append(_container("plugin-barman-cloud", sidecar, "sidecar", given.get("resources") or {}, more))
    body: Object = {
        "serviceAccountName": metadata["name"],
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), USER),
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": spec.get("seccompProfile") or {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": name}},
            {"name": "controller", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}},
        ],
    }
    server["volumeMounts"].append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108  a volume
    if (spec.get("affinity") or {}).get("enablePodAntiAffinity"):
        term = {
            "labelSelector": {"matchLabels": {CLUSTER: metadata["name"]}},
            "topologyKey": spec["affinity"]["topologyKey"],
        }
        preferred = [{"weight": 100, "podAffinityTerm": term}]
        body["affinity"] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}
    made["spec"] = body
    made["metadata"]["annotations"] = {HASH: hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]}
    return made
