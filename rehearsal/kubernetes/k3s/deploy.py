"""Manifests below server/manifests: applied by server-side apply, and again when a file changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from . import log
from .api import Api, ApiError, Object
from .config import Config
from .files import digest, write

ELSEWHERE = ("servicelb", "traefik")
"""What k3s deploys and the stand-in does not."""


def left_out(config: Config) -> list[str]:
    """What a cluster of k3s would have and this one lacks; nothing where all of it is disabled."""
    return [name for name in ELSEWHERE if name not in config.items("disable")]


def ship(config: Config, source: Path) -> None:
    """Write our own manifests, with the cluster's values, except disabled ones."""
    values = {
        "%{CLUSTER_DNS}%": config.text("cluster-dns"),
        "%{CLUSTER_DOMAIN}%": config.text("cluster-domain"),
        "%{DEFAULT_LOCAL_STORAGE_PATH}%": config.text("default-local-storage-path")
        or str(config.paths.data / "storage"),
    }
    for file in sorted(source.glob("*.yaml")):
        if file.stem in config.items("disable"):
            (config.paths.manifests / file.name).unlink(missing_ok=True)
            continue
        text = file.read_text()
        for name, value in values.items():
            text = text.replace(name, value)
        write(config.paths.manifests / file.name, text)


def objects(text: str) -> Iterator[Object]:
    """The objects of a manifest file, lists taken apart."""
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict):
            yield from document["items"] if document.get("kind") == "List" else [document]


class Deploy:
    """What was applied, and where kinds live in the API."""

    def __init__(self, config: Config, api: Api) -> None:
        """Nothing is applied yet."""
        self.config, self.api = config, api
        self.applied: dict[Path, str] = {}
        self.stamps: dict[Path, float] = {}

    def work(self) -> None:
        """Apply files that are new or changed; one that fails is tried again at the next call."""
        files = [path for path in self.config.paths.manifests.rglob("*") if path.suffix in (".yaml", ".yml", ".json")]
        for path in sorted(files):
            stamp = path.stat().st_mtime
            if self.stamps.get(path) == stamp or path.with_name(path.name + ".skip").exists():
                continue
            if path.stem in self.config.items("disable"):
                continue
            text = path.read_text()
            if self.applied.get(path) != digest(text):
                try:
                    self._apply(text)
                except (ApiError, yaml.YAMLError, KeyError) as failure:
                    log.error(f"Failed to process config: failed to process {path}: {failure}"[:400])
                    continue
                log.info(f"Applied manifest {path}")
            self.applied[path], self.stamps[path] = digest(text), stamp

    def _apply(self, text: str) -> None:
        for wanted in objects(text):
            self.api.apply(self._collection(wanted), wanted)

    def _collection(self, wanted: Object) -> str:
        version = wanted["apiVersion"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        resources: list[dict[str, Any]] = self.api.get(base)["resources"]
        for resource in resources:
            if resource["kind"] == wanted["kind"] and "/" not in resource["name"]:
                namespace = wanted["metadata"].get("namespace", "default")
                middle = f"/namespaces/{namespace}" if resource["namespaced"] else ""
                return f"{base}{middle}/{resource['name']}"
        raise ApiError(404, f"no matches for kind {wanted['kind']!r} in version {version!r}")
