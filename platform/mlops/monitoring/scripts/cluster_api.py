"""The Kubernetes API as a pod reads it, by its own account."""

import json
import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERVER = "https://kubernetes.default.svc"
SECONDS = 20
LARGEST = 1 << 20
"""Bytes of an answer that are read: logs are long."""


class ClusterApi:
    """Requests with the account's token; the token is read each time, because it is renewed."""

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> str:
        """The text of an answer. Raises OSError, of which urllib's HTTPError is one."""
        url = f"{SERVER}{path}?{urlencode(query or {})}"
        token = (ACCOUNT / "token").read_text()
        trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310  https above
        with urllib.request.urlopen(request, timeout=SECONDS, context=trust) as answer:  # noqa: S310
            return str(answer.read(LARGEST).decode(errors="replace"))

    def pods(self, space: str) -> list[dict[str, Any]]:
        """Pods of a namespace."""
        found: list[dict[str, Any]] = json.loads(self.get(f"/api/v1/namespaces/{quote(space)}/pods", {"limit": 200}))[
            "items"
        ]
        return found

    def pod(self, space: str, name: str) -> dict[str, Any]:
        """One pod."""
        found: dict[str, Any] = json.loads(self.get(f"/api/v1/namespaces/{quote(space)}/pods/{quote(name)}"))
        return found

    def events(self, space: str, name: str) -> list[dict[str, Any]]:
        """Events of a pod."""
        query: dict[str, str | int] = {"fieldSelector": f"involvedObject.name={name}", "limit": 100}
        found: list[dict[str, Any]] = json.loads(self.get(f"/api/v1/namespaces/{quote(space)}/events", query))["items"]
        return found

    def log(self, space: str, pod: str, container: str, lines: int, *, previous: bool) -> str:
        """The end of a container's log; of the one before, where it was started again."""
        query: dict[str, str | int] = {
            "container": container,
            "tailLines": lines,
            "previous": str(previous).lower(),
            "timestamps": "false",
        }
        return self.get(f"/api/v1/namespaces/{quote(space)}/pods/{quote(pod)}/log", query)
