"""The files that steps are given and leave."""

import os
import tempfile
from pathlib import Path

from .errors import Code, StepError


def text(path: Path) -> str:
    """What a file says, or StepError."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise StepError(f"{path}: cannot be read: {problem}", Code.WRONG) from problem


def save(path: Path, said: str) -> None:
    """Whole or not at all."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(said)
    Path(file.name).chmod(0o644)  # whoever collects results is another user
    os.replace(file.name, path)
