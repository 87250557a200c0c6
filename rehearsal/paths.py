"""Where one rehearsal lives: everything it makes is below one folder, and its names are derived from it."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Root:
    """The folder of one rehearsal. Two checkouts, or two roots, do not disturb each other."""

    path: Path

    def __post_init__(self) -> None:
        """Refuse a relative path: its name would be another rehearsal's, which is not there."""
        if not self.path.is_absolute():
            raise ValueError(f"the folder of a rehearsal is named by its whole path, not {self.path}")

    @classmethod
    def default(cls) -> "Root":
        """`.rehearsal` in the checkout, or what LEASEHOLD_REHEARSAL names."""
        return cls(Path(os.environ.get("LEASEHOLD_REHEARSAL") or PROJECT / ".rehearsal").resolve())

    @property
    def name(self) -> str:
        """Eight hexadecimal digits, unique to the folder: part of every host-wide name (namespace, link, container)."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:8]

    @property
    def cloud(self) -> Path:
        """Databases, logs, keys and disks of the local cloud."""
        return self.path / "cloud"

    @property
    def stacks(self) -> Path:
        """State, lock and history of each stack."""
        return self.path / "stacks"


def cache() -> Path:
    """Shared by all rehearsals of this user: used when it is there, never needed."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leasehold"


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Hold the lock of something in the cache, so that one makes it while others wait."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
