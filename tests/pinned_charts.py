"""What is known of the pinned charts: their values, schemas and definitions, in a folder beside the checkout.

The folder is no part of the repository: LEASEHOLD_CHARTS names it, else it is `../shared/charts`. Tests that need it
are skipped where it is absent.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.environments import PROJECT

FOLDER = Path(os.environ.get("LEASEHOLD_CHARTS") or PROJECT.parent / "shared" / "charts")
needed = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no facts of the pinned charts at {FOLDER}; LEASEHOLD_CHARTS names their folder"
)

OPEN = ("nodeSelector", "affinity", "annotations", "labels", "resources")
"""Keys whose value is Kubernetes' own or anybody's, in every chart; and every key that ends like these two."""
OPEN_ENDS = ("ecurityContext", "Annotations", "Labels", "Selector", "Resources")
Keys = tuple[str, ...]
FREE: Mapping[str, Sequence[Keys]] = {
    "argo-cd": (("configs", "cm"), ("configs", "params"), ("configs", "rbac")),
    "cert-manager": (("startupapicheck", "rbac", "annotations"), ("config",)),
    "kube-prometheus-stack": (("alertmanager", "config"), ("grafana", "grafana.ini")),
    "mlflow": (("server", "value_options"),),
    "nvidia-device-plugin": (("config", "map"),),
    "traefik": (("gateway", "listeners"), ("ports",), ("ingressRoute",), ("service", "spec")),
}
"""Mappings that have defaults, yet take any key."""
_PARTS: Sequence[Keys] = ((), ("webhook",), ("cainjector",), ("acmesolver",), ("startupapicheck",))
COMMENTED: Mapping[str, Mapping[Keys, str]] = {
    "cert-manager": {(*part, "image", "tag"): "`# tag: vX.Y.Z` below each image; the schema has it" for part in _PARTS},
    "oauth2-proxy": {("config", "existingSecret"): "`# existingSecret: secret`: the keys are in requiredSecretKeys"},
}
"""Keys that a chart reads although its values file has them in a comment only, and where that is seen."""


class _Loader(yaml.CSafeLoader):
    """Takes a bare `=` for text, as Go does."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _loader, node: node.value)


def load(file: Path) -> Any:
    """One document."""
    return yaml.load(file.read_text(), _Loader)  # noqa: S506  a safe loader


@cache
def defaults(chart: str, version: str) -> Any:
    """The values of a chart, with those of its dependencies below their names."""
    folder = FOLDER / chart / version
    found = load(folder / "values.yaml") or {}
    for part in sorted((folder / "subcharts").glob("*/values.yaml")):
        below = load(part) or {}
        for name in _names(folder, part.parent.name):
            found[name] = _merged(below, found.get(name) or {})
    return found


def _names(folder: Path, dependency: str) -> list[str]:
    known = json.loads((folder / "chart.json").read_text()).get("dependencies") or []
    return [entry.get("alias") or entry["name"] for entry in known if entry["name"] == dependency] or [dependency]


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


def unknown(chart: str, version: str, values: Mapping[str, Any]) -> list[str]:
    """Keys that the pinned chart does not have: a typing error, or the name of another version."""
    allowed = COMMENTED.get(chart, {})
    found = _unknown(defaults(chart, version), values, (), FREE.get(chart, ()))
    return [" > ".join(path) for path in found if not any(path[: len(known)] == known for known in allowed)]


def _unknown(known: Any, given: Any, path: Keys, free: Sequence[Keys]) -> Iterator[Keys]:
    if not isinstance(given, dict) or path in free or known in ({}, [], None) or _open(path):
        return
    if not isinstance(known, dict):
        yield path
        return
    for key, value in given.items():
        if key in known:
            yield from _unknown(known[key], value, (*path, key), free)
        else:
            yield (*path, key)


def _open(path: tuple[str, ...]) -> bool:
    return bool(path) and (path[-1] in OPEN or path[-1].endswith(OPEN_ENDS))


def schema(chart: str, version: str) -> Any:
    """The schema of a chart's values; None where it has none."""
    file = FOLDER / chart / version / "values.schema.json"
    return json.loads(file.read_text()) if file.exists() else None


@cache
def definitions() -> Mapping[tuple[str, str], Path]:
    """Group and kind to the file of the definition. The full ones, where a chart has others too."""
    return {key: file for file in sorted(FOLDER.glob("*/*/crds/*.yaml")) for key in _defined(file)}


def _defined(file: Path) -> Iterator[tuple[str, str]]:
    """Read off the lines, because some of the files are megabytes."""
    group = ""
    for line in file.read_text().splitlines():
        key, _, value = line.strip().partition(": ")
        if line.startswith("  group: "):
            group = value
        elif line.startswith("    kind: ") and key == "kind":
            yield group, value


@cache
def closed_schema(group: str, version: str, kind: str) -> Any:
    """The schema of a kind, in which a field that is not there is an error; None where nobody defines it."""
    file = definitions().get((group, kind))
    if file is None:
        return None
    for item in yaml.load_all(file.read_text(), _Loader):
        if item and item["spec"]["names"]["kind"] == kind:
            served = {entry["name"]: entry for entry in item["spec"]["versions"] if entry["served"]}
            return closed(served[version]["schema"]["openAPIV3Schema"]) if version in served else None
    return None


OWN = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def closed(node: Any, *, root: bool = True) -> Any:
    """A structural schema as JSON schema: Kubernetes' extensions translated, and no unknown fields."""
    made = {key: value for key, value in node.items() if key not in ("properties", "items", "additionalProperties")}
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    for bound in ("exclusiveMinimum", "exclusiveMaximum"):  # a switch in OpenAPI, a number in JSON schema
        if isinstance(made.get(bound), bool):
            del made[bound]
    if node.get("nullable") and "type" in node:
        made["type"] = [node["type"], "null"]
    if "items" in node:
        made["items"] = closed(node["items"], root=False)
    if isinstance(node.get("additionalProperties"), dict):
        made["additionalProperties"] = closed(node["additionalProperties"], root=False)
    if "properties" in node:
        made["properties"] = {key: closed(value, root=False) for key, value in node["properties"].items()}
        if root or node.get("x-kubernetes-embedded-resource"):
            made["properties"] |= OWN
        if not node.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in made:
            made["additionalProperties"] = False
    return made
