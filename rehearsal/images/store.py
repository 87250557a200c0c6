"""Layers, configurations and manifests by their digest, in the cache that all rehearsals of this user share.

Every registry of theirs serves this one folder; what a rehearsal offers is its own list of names.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from rehearsal.images.oci import Layer
from rehearsal.kubernetes import pack
from rehearsal.paths import alone, cache


def folder() -> Path:
    """The blobs, each under the hexadecimal digits of its sha256."""
    return cache() / "images" / "sha256"


def blob(digest: str) -> Path:
    """Where a blob is or will be."""
    return folder() / digest.removeprefix("sha256:")


def put(content: bytes) -> str:
    """Keep a small blob; returns its digest."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    target = blob(digest)
    with alone(target.parent / "small"):
        if not target.exists():
            new = Path(f"{target}.new")
            new.write_bytes(content)
            new.replace(target)
    return digest


def layer(key: str, make: Callable[[Path], None]) -> Layer:
    """The layer whose content follows from `key`: kept, else made while others wait. `make` writes a tar archive."""
    record = folder().with_name("layers") / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    with alone(record):
        if record.exists():
            kept = Layer(**json.loads(record.read_text()))
            if blob(kept.digest).exists():
                return kept
        made = _packed(make)
        new = record.with_suffix(".new")
        new.write_text(json.dumps(asdict(made)))
        new.replace(record)
    return made


def _packed(make: Callable[[Path], None]) -> Layer:
    target = folder()
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Beside the blobs, not among them: a registry never offers half a layer.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="layer-") as work:
        plain, packed = Path(work, "layer.tar"), Path(work, "layer.tar.zst")
        make(plain)
        pack.compress(plain, packed)
        made = Layer(_digest(packed), packed.stat().st_size, _digest(plain))
        packed.replace(blob(made.digest))
    return made


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
