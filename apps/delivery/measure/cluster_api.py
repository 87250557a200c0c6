"""Pods as the Kubernetes API tells of them, by an account's token."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from .connection import Connection, Server

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERVER = Server("https://kubernetes.default.svc", str(ACCOUNT / "ca.crt"))
SECONDS = 10.0
LARGEST = 16 << 20
"""Bytes of an answer: a pod takes about 10 KiB."""
QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+)|([KMGTPE]i?|k|m))?")
FACTORS = {
    "m": 1e-3,
    "k": 1e3,
    **{letter: 1000.0**power for power, letter in enumerate("KMGTPE", 1)},
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)},
}


class ApiError(OSError):
    """The cluster does not tell: this says nothing about the release."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        """Say why, and what the API answered, if it did."""
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Pod:
    """What matters of a pod."""

    uid: str
    name: str
    address: str
    """Empty until it has one."""
    phase: str
    leaving: bool
    """Whether somebody has deleted it."""
    restarts: int
    """Of all its containers, in its life; an evicted pod ended once more."""
    oom_kills: frozenset[str]
    """Names of containers' lives that ended so, of those that are remembered: each container's last one."""
    limit_bytes: int
    """Of the memory of the container that serves; 0 if it has none."""

    @property
    def runs(self) -> bool:
        """Whether requests can reach it."""
        return self.phase == "Running" and bool(self.address) and not self.leaving


def in_bytes(quantity: str) -> int:
    """A quantity of Kubernetes, such as 256Mi, 1e9 or 1.5G."""
    found = QUANTITY.fullmatch(quantity)
    if found is None:
        raise ApiError(f"memory = {quantity[:40]!r}: is no quantity of Kubernetes")
    number, exponent, suffix = found.groups()
    size = float(f"{number}e{exponent or 0}") * FACTORS.get(suffix, 1.0)
    if not math.isfinite(size):
        raise ApiError(f"memory = {quantity[:40]!r}: is more than any machine has")
    return int(size)


def _killed(statuses: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for status in statuses:
        for state in ("state", "lastState"):
            ended = status.get(state, {}).get("terminated") or {}
            if ended.get("reason") == "OOMKilled":
                yield f"{status['name']} {ended.get('containerID') or ended.get('finishedAt')}"


def pod(data: Mapping[str, Any], container: str) -> Pod:
    """One of the API's objects; `container` is the one that serves."""
    meta, status = data["metadata"], data.get("status", {})
    statuses = status.get("containerStatuses", [])
    limits = [
        found.get("resources", {}).get("limits", {}).get("memory")
        for found in data["spec"]["containers"]
        if found["name"] == container
    ]
    return Pod(
        uid=meta["uid"],
        name=meta["name"],
        address=status.get("podIP", ""),
        phase=status.get("phase", ""),
        leaving="deletionTimestamp" in meta,
        restarts=sum(found["restartCount"] for found in statuses) + (status.get("phase") == "Failed"),
        oom_kills=frozenset(_killed(statuses)),
        limit_bytes=in_bytes(limits[0]) if limits and limits[0] else 0,
    )


def listed(text: str, container: str, where: str) -> tuple[Pod, ...]:
    """The pods of an answer, or ApiError, which says `where` it came from."""
    try:
        return tuple(pod(item, container) for item in json.loads(text)["items"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ApiError(f"{where}: answers with no list of pods: {error!r}") from error


@dataclass(frozen=True)
class ClusterApi:
    """Requests with an account's token; a pod's own account if nothing else is said."""

    server: Server = SERVER
    token: Path = ACCOUNT / "token"

    def pods(self, namespace: str, selector: str, container: str, seconds: float = SECONDS) -> tuple[Pod, ...]:
        """The pods that a selector finds, or ApiError, which says why not."""
        query = urlencode({"labelSelector": selector, "limit": 500})
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
        headers = {"Authorization": f"Bearer {self.token.read_text().strip()}"}  # read each time: it is renewed
        connection = Connection(self.server)
        reply = connection.ask("GET", f"{path}?{query}", seconds=seconds, headers=headers, largest=LARGEST)
        connection.close()
        if reply.status != 200:
            cause = reply.problem if reply.status is None else f"status {reply.status}: {reply.body[:200]}"
            raise ApiError(f"{self.server.url}{path}: {' '.join(cause.split())}", reply.status)
        return listed(reply.body, container, f"{self.server.url}{path}")
