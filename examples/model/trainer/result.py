"""What a training leaves for the next step: one JSON file. Standard library only."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """Outcome of a training that ran to its end."""

    passed: bool
    reason: str
    """Why it did not pass; empty when it did."""
    model: str
    """Name in MLflow's registry."""
    model_version: str | None
    """Number in MLflow's registry; None when nothing was registered."""
    run_id: str
    """MLflow's."""
    revision: str
    """Git commit that was trained."""
    sha256: str | None
    """Of the registered weights."""
    metrics: Mapping[str, float]
    """accuracy, parameters, seconds."""

    def __post_init__(self) -> None:
        """Refuse an outcome that contradicts itself."""
        registered = self.model_version is not None and self.sha256 is not None
        if self.passed != registered or self.passed == bool(self.reason):
            raise ValueError(f"passed={self.passed}, version {self.model_version}, reason {self.reason!r}")

    def write(self, path: Path) -> None:
        """Replace the file at once, so that nobody reads half of it."""
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(asdict(self), indent=2) + "\n")
        os.replace(part, path)


def read(path: Path) -> Result:
    """What `write` wrote."""
    content = json.loads(path.read_text())
    names = {field.name for field in fields(Result)}
    if not isinstance(content, dict) or content.keys() != names:
        raise ValueError(f"{path} must have exactly the keys {', '.join(sorted(names))}")
    return Result(**content)
