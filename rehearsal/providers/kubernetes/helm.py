"""The helm program: how it is run, and what its answers mean. No secret is in its arguments or stays on the disk."""

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from config import yaml_text
from rehearsal.paths import cache
from rehearsal.protocol import Call, ProviderError
from rehearsal.providers.kubernetes.api import private_file

GRACE = 60.0
"""Seconds beyond helm's own timeout."""
LOOK_SECONDS = 60.0
PAUSE = 0.3
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")
ERROR_LIMIT = 2000


class HelmError(ProviderError):
    """Helm ended with an error; its own words."""


def program() -> Path:
    """The rehearsal's own helm."""
    from rehearsal.kubernetes.build import helm  # noqa: PLC0415  most rehearsals of a provider need no Go

    return helm()


@dataclass(frozen=True)
class Helm:
    """Helm on one cluster, for one verb."""

    call: Call
    kubeconfig: str
    find: Callable[[], Path] = program

    def __call__(
        self, words: Sequence[str], values: Mapping[str, Any] | None = None, seconds: float = LOOK_SECONDS
    ) -> str:
        """Run one command; returns its standard output. HelmError has its last words."""
        folder = cache() / "helm"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = {f"HELM_{name}_HOME": str(folder) for name in ("CACHE", "CONFIG", "DATA")}
        outer = {key: value for key, value in os.environ.items() if not key.startswith(("HELM_", "KUBE"))}
        with private_file(self.kubeconfig) as file:
            context = self.call.provider.get("context")
            access = ["--kubeconfig", str(file), *(["--kube-context", context] if context else [])]
            words = [str(self.find()), *words, *access, *(["--values", "-"] if values is not None else [])]
            # A file without a name, not a pipe: a repeated `communicate` sends nothing more (CPython gh-141473).
            with tempfile.TemporaryFile("w+") as given:
                json.dump(values or {}, given)
                given.seek(0)
                with subprocess.Popen(
                    words, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**outer, **mine}, text=True
                ) as process:
                    out, error = self._talk(process, seconds)
        if process.returncode:
            raise HelmError(_last_words(error))
        return out

    def _talk(self, process: "subprocess.Popen[str]", seconds: float) -> tuple[str, str]:
        """Wait for the end, for the bound, or for an interrupt: helm then marks the release as failed itself."""
        left = seconds
        while True:
            try:
                return process.communicate(timeout=PAUSE)
            except subprocess.TimeoutExpired:
                left -= PAUSE
            if self.call.cancel.is_set() or left < 0:
                process.terminate()
                try:
                    error = process.communicate(timeout=GRACE)[1]
                except subprocess.TimeoutExpired:
                    process.kill()
                    error = process.communicate()[1]
                why = "interrupted" if self.call.cancel.is_set() else f"no end after {seconds:g} s"
                raise HelmError(f"{why}; {_last_words(error)}")

    def release(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The newest revision: chart, version, status; None when there is no such release."""
        try:
            found: dict[str, Any] = json.loads(self(["get", "metadata", name, "-n", namespace, "-o", "json"]))
        except HelmError as error:
            if "not found" in str(error):
                return None
            raise
        return found


def _last_words(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.startswith("WARNING:")]
    return "\n".join(lines)[-ERROR_LIMIT:] or "helm said nothing"


def resource_names(manifest: str) -> dict[str, list[str]]:
    """Names by kind and version, as the published provider groups them."""
    found: dict[str, list[str]] = {}
    for item in documents(manifest):
        version = str(item.get("apiVersion"))
        group = version.rpartition("/")[0]
        key = f"{item['kind']}{'.' if group else ''}{group}/{version}"
        metadata = item["metadata"] if isinstance(item.get("metadata"), dict) else {}
        name = str(metadata.get("name"))
        found.setdefault(key, []).append(f"{metadata['namespace']}/{name}" if metadata.get("namespace") else name)
    return found


def documents(manifest: str) -> list[dict[str, Any]]:
    """The objects of a manifest. Raises ProviderError where a chart renders what is none."""
    try:
        with yaml_text.only_yaml():
            return [item for item in yaml.safe_load_all(manifest) if isinstance(item, dict) and item.get("kind")]
    except yaml_text.NotYaml as error:
        raise ProviderError(f"the chart renders what is no YAML: {error}") from error


def checksum(manifest: str) -> str:
    """What tells that a chart renders something else now."""
    return hashlib.sha256(manifest.encode()).hexdigest()
