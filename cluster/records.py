"""Helm's records: each revision of a release is a Secret, with its status in a label and once more in its content.

An operation whose record says pending-install or pending-upgrade refuses every later one, also when it has ended.
"""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

PENDING = ("pending-install", "pending-upgrade", "pending-rollback")
FAILED, DEPLOYED = "failed", "deployed"


@dataclass(frozen=True)
class Revision:
    """The newest revision of a release, by the labels of its Secret."""

    space: str
    release: str
    number: int
    status: str
    made: datetime
    secret: str
    precondition: Mapping[str, str]
    """uid and resourceVersion of the Secret as it was seen."""

    @property
    def key(self) -> str:
        """NAMESPACE/NAME."""
        return f"{self.space}/{self.release}"

    @property
    def held(self) -> bool:
        """Whether its operation was cut off, or failed, or is under way."""
        return self.status in (*PENDING, FAILED)

    @property
    def path(self) -> str:
        """Of its Secret in the API."""
        return f"/api/v1/namespaces/{self.space}/secrets/{self.secret}"


def newest(secrets: Iterable[Mapping[str, Any]]) -> list[Revision]:
    """The newest revision of every release, of the metadata of helm's Secrets."""
    found: dict[str, Revision] = {}
    for secret in secrets:
        metadata = secret["metadata"]
        labels = metadata.get("labels") or {}
        revision = Revision(
            metadata["namespace"],
            labels.get("name", ""),
            int(labels.get("version", 0)),
            labels.get("status", ""),
            datetime.fromisoformat(metadata["creationTimestamp"]),
            metadata["name"],
            {key: metadata[key] for key in ("uid", "resourceVersion")},
        )
        if revision.key not in found or found[revision.key].number < revision.number:
            found[revision.key] = revision
    return [found[key] for key in sorted(found)]


def content(secret: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says: the manifest, the values and more."""
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    return found


def failed(secret: Mapping[str, Any]) -> dict[str, Any]:
    """The same record with the status that helm itself gives an operation that failed: another one may follow it."""
    known = content(secret)
    known["info"]["status"] = FAILED
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(known).encode()))).decode()
    metadata = {**secret["metadata"], "labels": {**secret["metadata"]["labels"], "status": FAILED}}
    return {**secret, "metadata": metadata, "data": {"release": packed}}
