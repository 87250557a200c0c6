"""kubectl, from where an operator sits."""

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.kubernetes import build


class KubectlError(Exception):
    """kubectl ended with an error; its words."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl with a kubeconfig of the stack outputs."""

    kubeconfig: Path

    def run(self, *words: str, stdin: str | None = None, check: bool = True, timeout: float = 60) -> str:
        """Run it; standard output, or both where it may fail. Raises KubectlError."""
        done = subprocess.run(
            [build.kubectl(), "--kubeconfig", self.kubeconfig, "--request-timeout=20s", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise KubectlError(f"kubectl {shlex.join(words)}: {done.stderr}")
        return (done.stdout if check else done.stdout + done.stderr).strip()

    def get(self, *words: str) -> Any:
        """An object or list, as data."""
        return json.loads(self.run("get", *words, "-o", "json"))

    def apply(self, text: str) -> None:
        """Apply manifests."""
        self.run("apply", "-f", "-", stdin=text)

    def ready(self) -> dict[str, bool]:
        """Node name to whether it is Ready."""
        return {
            node["metadata"]["name"]: any(
                c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"]
            )
            for node in self.get("nodes")["items"]
        }
