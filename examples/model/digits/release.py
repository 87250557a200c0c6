"""What a folder with a model says of itself: `release.json` beside the weights. Standard library only."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE, WEIGHTS = "release.json", "weights.npz"

RULES: Mapping[str, str] = {
    "model": r"[^/:\s][^/:]*",
    "model_version": r"[1-9][0-9]*",
    "revision": r"[0-9a-f]{7,64}",
    "run_id": r"[0-9a-f]{32}",
    "sha256": r"[0-9a-f]{64}",
}


@dataclass(frozen=True)
class Release:
    """A version of the model, and the revision of the repository that serves it."""

    model: str
    """Name in MLflow's registry."""
    model_version: str
    """Number in MLflow's registry."""
    revision: str
    """Git commit that the image is built from."""
    run_id: str
    """MLflow's, of the training."""
    sha256: str
    """Of the weights."""

    def __post_init__(self) -> None:
        """Refuse a field that breaks its rule."""
        for name, rule in RULES.items():
            value = getattr(self, name)
            if not isinstance(value, str) or not re.fullmatch(rule, value):
                raise ValueError(f"{name}: {value!r} is not like {rule}")

    def write(self, folder: Path) -> None:
        """Put it beside the weights."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")


def read(folder: Path) -> Release:
    """The release in a folder, whose weights are those that were registered."""
    content = json.loads((folder / FILE).read_text())
    names = {field.name for field in fields(Release)}
    if not isinstance(content, dict) or content.keys() != names:
        raise ValueError(f"{folder / FILE} must have exactly the keys {', '.join(sorted(names))}")
    release = Release(**content)
    found = digest(folder / WEIGHTS)
    if found != release.sha256:
        raise ValueError(f"{folder / WEIGHTS} has sha256 {found}, but {release.sha256} was registered")
    return release


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
