"""Archives whose bytes depend on their content only: no times, no owners, no order of folders."""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TIME = 0
"""Seconds since 1970 of every entry."""


@dataclass(frozen=True)
class File:
    """A regular file: its text or bytes, or where to read them."""

    content: str | bytes | Path
    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Folder:
    """A folder, for those that are empty or need a mode of their own."""

    mode: int = 0o755


Entries = Mapping[str, File | Link | Folder]
"""Path inside the archive, without a leading slash, to what is there. Folders above a path need no entry."""


def _parents(entries: Entries) -> dict[str, File | Link | Folder]:
    """The entries, and every folder above them."""
    found: dict[str, File | Link | Folder] = {}
    for path in entries:
        for parent in reversed(Path(path).parents):
            if str(parent) != ".":
                found[str(parent)] = Folder()
    return {**found, **entries}


def write(target: IO[bytes], entries: Entries, prefix: str = "") -> None:
    """Write a tar archive, its names sorted and after `prefix` (such as `./`)."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, entry in sorted(_parents(entries).items()):
            info = tarfile.TarInfo(prefix + path)
            info.mtime, info.uname, info.gname = TIME, "root", "root"
            match entry:
                case Folder():
                    info.type, info.mode = tarfile.DIRTYPE, entry.mode
                    archive.addfile(info)
                case Link():
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
                    archive.addfile(info)
                case File():
                    info.mode = entry.mode
                    if isinstance(entry.content, Path):
                        info.size = entry.content.stat().st_size
                        with entry.content.open("rb") as source:
                            archive.addfile(info, source)
                    else:
                        data = entry.content.encode() if isinstance(entry.content, str) else entry.content
                        info.size = len(data)
                        archive.addfile(info, io.BytesIO(data))


def packed(entries: Entries, prefix: str = "") -> bytes:
    """A small archive, in memory."""
    buffer = io.BytesIO()
    write(buffer, entries, prefix)
    return buffer.getvalue()
