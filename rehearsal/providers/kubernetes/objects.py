"""Pure rules about objects: identity, names, what differs, and what cannot change in place (the published lists)."""

import base64
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from rehearsal.protocol import Props, ProviderError, Unknown

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT, TIMEOUT, WAIT_FOR = "pulumi.com/skipAwait", "pulumi.com/timeoutSeconds", "pulumi.com/waitFor"
REPLACE_UNREADY, PROPAGATION = "pulumi.com/replaceUnready", "pulumi.com/deletionPropagationPolicy"
PATCH_FORCE, PATCH_MANAGER = "pulumi.com/patchForce", "pulumi.com/patchFieldManager"
HONOURED = frozenset(
    (AUTONAMED, SKIP_AWAIT, TIMEOUT, WAIT_FOR, REPLACE_UNREADY, PROPAGATION, PATCH_FORCE, PATCH_MANAGER)
)
_SELECTOR = ("spec.selector",)
_JOB = (*_SELECTOR, "spec.completions", "spec.parallelism", "spec.template")
_STATEFUL = (*_SELECTOR, "spec.podManagementPolicy", "spec.revisionHistoryLimit", "spec.serviceName")
# By kind, and the same for every version of it: provider/pkg/provider/diff.go of pulumi-kubernetes.
# DaemonSet is missing there too (its entry is misspelt): the API server refuses such a change.
FORCE_NEW: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "StatefulSet"): (*_STATEFUL, "spec.volumeClaimTemplates"),
    ("batch", "Job"): _JOB,
    ("", "ConfigMap"): ("binaryData", "data"),
    ("", "Secret"): ("type", "stringData", "data"),
    ("", "PersistentVolumeClaim"): ("spec",),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}
_POD_MAY_CHANGE = ("spec.activeDeadlineSeconds", "spec.tolerations")
_IDENTITY = ("apiVersion", "kind", "metadata.name", "metadata.namespace")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


def group_version_kind(type_: str) -> tuple[str, str]:
    """`apiVersion` and `kind` of a type token; ProviderError for tokens that name no single object."""
    _, module, kind = type_.split(":")
    group, _, version = module.rpartition("/")
    unsupported = not group or module.startswith(("helm.sh/", "yaml", "kustomize"))
    if unsupported or kind.endswith("List"):
        raise ProviderError(
            f"resource type {type_} is not supported by the rehearsal; use the kinds themselves, or a helm.v3.Release"
        )
    return (version if group == "core" else f"{group}/{version}"), kind.removesuffix("Patch")


def is_patch(type_: str) -> bool:
    """Whether a type token means some fields of an object that somebody else owns."""
    return type_.endswith("Patch")


def group(item: Mapping[str, Any]) -> str:
    """API group of an object; empty for the core."""
    return str(item["apiVersion"]).rpartition("/")[0]


def annotations(item: Mapping[str, Any]) -> dict[str, str]:
    """Annotations that are known; unknown values do not count."""
    metadata = item.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def named(inputs: Props, name: str, before: Mapping[str, Any]) -> Props:
    """Give an object its name: the program's, else the recorded one, else `<name>-<8 hex>`, marked as autonamed."""
    metadata = inputs.get("metadata", {})
    if isinstance(metadata, Unknown) or metadata.get("name"):
        return inputs
    if metadata.get("generateName"):
        raise ProviderError("metadata.generateName is not supported in Server-Side Apply mode; leave it out")
    old = before.get("metadata") or {}
    chosen = old.get("name") if AUTONAMED in annotations(before) else None
    marks = {**(metadata.get("annotations") or {}), AUTONAMED: "true"}
    return {
        **inputs,
        "metadata": {**metadata, "name": chosen or f"{name}-{secrets.token_hex(4)}", "annotations": marks},
    }


def refuse_annotations(item: Mapping[str, Any]) -> None:
    """A pulumi.com/ annotation that is ignored would make the rehearsal lie."""
    strange = sorted(key for key in annotations(item) if key.startswith("pulumi.com/") and key not in HONOURED)
    if strange:
        raise ProviderError(f"the annotation {', '.join(strange)} is not supported by the rehearsal; leave it out")


def normalized(item: Props) -> Props:
    """A Secret's `stringData` as the `data` that the API server makes of it."""
    if item.get("kind") != "Secret" or not isinstance(item.get("stringData"), dict):
        return item
    data = {
        key: value if isinstance(value, Unknown) else base64.b64encode(str(value).encode()).decode()
        for key, value in item["stringData"].items()
    }
    rest = {key: value for key, value in item.items() if key != "stringData"}
    return {**rest, "data": {**(item.get("data") or {}), **data}}


def pruned(live: Any, inputs: Any) -> Any:
    """What exists, cut to the shape of the inputs: what a cluster adds is no difference."""
    if isinstance(live, dict) and isinstance(inputs, dict):
        return {key: pruned(live[key], value) for key, value in inputs.items() if key in live}
    if isinstance(live, list) and isinstance(inputs, list) and len(live) == len(inputs):
        return [pruned(one, other) for one, other in zip(live, inputs, strict=True)]
    return live


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Paths of the values that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys((*old, *new))
        return [found for key in keys for found in _member(old, new, key, path)]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for n, (one, other) in pairs for found in differences(one, other, f"{path}[{n}]")]
    return [] if old == new else [path]


def _member(old: Mapping[str, Any], new: Mapping[str, Any], key: str, path: str) -> list[str]:
    below = f"{path}.{key}" if _PLAIN.fullmatch(key) else f'{path}["{key}"]'
    below = below.removeprefix(".")
    if key in old and key in new:
        return differences(old[key], new[key], below)
    return [] if old.get(key) is None and new.get(key) is None else [below]


def force_new(item: Mapping[str, Any], paths: Iterable[str], mutable: frozenset[str] = frozenset()) -> list[str]:
    """Those of the paths that cannot change in place. `mutable`: kinds that the provider was told to update."""
    kind = item["kind"]
    if kind == "Pod" and not group(item):
        listed = [path for path in paths if path.startswith("spec") and not path.startswith(_POD_MAY_CHANGE)]
        return [*listed, *(path for path in paths if _touches(path, _IDENTITY))]
    patterns = () if kind in mutable else FORCE_NEW.get((group(item), kind), ())
    return [path for path in paths if _touches(path, (*_IDENTITY, *patterns))]


def _touches(path: str, patterns: Iterable[str]) -> bool:
    """Below a pattern, or (an unknown value) above it."""
    return any(
        path == pattern or path.startswith((f"{pattern}.", f"{pattern}[")) or pattern.startswith(f"{path}.")
        for pattern in patterns
    )


def conditions(text: str) -> list[str]:
    """Entries of a waitFor annotation: one expression, or a JSON list of them (all must hold)."""
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else [text]
    except (ValueError, RecursionError):
        raise ProviderError(f"{WAIT_FOR} is neither an expression nor a JSON list: {text}") from None
    for entry in found:
        if not re.fullmatch(r"condition=\w+(=\w+)?|jsonpath=\{[\w.]+\}(=.*)?", str(entry)):
            raise ProviderError(
                f"{WAIT_FOR}: {entry} is not supported by the rehearsal; write condition=Type, condition=Type=Status, "
                "or jsonpath={.a.b}=value"
            )
    return [str(entry) for entry in found]


def lookup(item: Any, path: str) -> Any:
    """The value at `.a.b`, or None."""
    for key in filter(None, path.split(".")):
        item = item.get(key) if isinstance(item, dict) else None
    return item
