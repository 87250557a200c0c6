"""The two documents of an image in the format of the Open Container Initiative; both depend on their arguments only."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"


@dataclass(frozen=True)
class Start:
    """How a container of an image starts, where its pod does not say it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    user: str = ""
    """Number of a user, or user:group; "": root."""
    folder: str = ""
    """Working directory; "": the root."""


@dataclass(frozen=True)
class Layer:
    """A layer as a registry has it."""

    digest: str
    """sha256:... of the packed layer, by which it is pulled."""
    size: int
    """Bytes, packed."""
    content: str
    """sha256:... of the archive in it, by which a runtime knows it."""


def config(start: Start, contents: Sequence[str]) -> dict[str, Any]:
    """The configuration of an image whose layers, from the bottom up, have these sha256:... of their archives."""
    started = {
        "Env": [f"{name}={value}" for name, value in start.environment.items()],
        **({"Entrypoint": list(start.entrypoint)} if start.entrypoint else {}),
        **({"Cmd": list(start.command)} if start.command else {}),
        **({"User": start.user} if start.user else {}),
        **({"WorkingDir": start.folder} if start.folder else {}),
    }
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": started,
        "rootfs": {"type": "layers", "diff_ids": list(contents)},
    }


def manifest(configuration: str, size: int, layers: Sequence[Layer]) -> dict[str, Any]:
    """The manifest of an image with a configuration of this digest and size in bytes."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": configuration, "size": size},
        "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
    }


def text(document: Mapping[str, Any]) -> bytes:
    """A document as it is stored: the same bytes every time."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
