"""The model's repository at a revision."""

from dataclasses import dataclass
from pathlib import Path

from .. import repository
from ..releases import RecordError, parsed
from .errors import Code, StepError
from .files import save, text
from .settings import Settings

VERSIONS = ("version", "model_version")
"""Keys of a model version: of a release, and of the trainer's result."""


@dataclass(frozen=True)
class Wanted:
    """What is to be checked out."""

    revision: str
    """Full commit, or name of a branch."""
    version: str | None = None
    """The model version that was made of it, where there is one."""


@dataclass(frozen=True)
class CheckedOut:
    """What is in the folder now."""

    revision: str
    """The full commit: of a branch, what it said then."""


def wanted_by(path: Path) -> Wanted:
    """What a release, or a trainer's result, was made of; RecordError where it does not say so."""
    data = parsed(text(path), str(path))
    revision = data.get("revision") if isinstance(data, dict) else None
    if not isinstance(revision, str):
        raise RecordError(f"{path}.revision: must be a string")
    version = next((data[key] for key in VERSIONS if isinstance(data.get(key), str)), None)
    return Wanted(revision, version)


def checkout(settings: Settings, wanted: Wanted, folder: Path, notes: Path | None = None) -> CheckedOut:
    """Put a commit, or what a branch says now, into an empty folder, without any of Git's own files."""
    if settings.source is None:
        raise StepError("source is null: give the model's repository to the settings", Code.WRONG)
    work = None if settings.work is None else Path(settings.work)
    commit = repository.checkout(settings.source, wanted.revision, folder, work)
    if notes is not None:
        save(notes / "revision", f"{commit}\n")
        if wanted.version is not None:
            save(notes / "version", f"{wanted.version}\n")
    return CheckedOut(commit)
