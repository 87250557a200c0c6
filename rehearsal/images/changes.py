"""What a step changed in a root file system, as a layer on top of what was there before."""

import os
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REMOVED = ".wh."
"""Prefix of an empty file in a layer that takes away a file of the layers below."""
NOT_KEPT = ("dev", "proc", "sys", "run/lock")
"""Folders whose content is the runtime's."""
CAPABILITIES = "security.capability"
"""Attribute of a file: what its program may do although its user may not."""


@dataclass(frozen=True)
class Seen:
    """One path at one moment; a folder is the same as long as its mode and owner are."""

    mode: int
    owner: tuple[int, int]
    size: int = 0
    time: int = 0
    """Nanoseconds."""
    target: str = ""
    """Of a symbolic link."""


def snapshot(root: Path) -> dict[str, Seen]:
    """Every path below `root` that belongs in an image."""
    found: dict[str, Seen] = {}
    waiting = [root]
    while waiting:
        for path in waiting.pop().iterdir():
            name = str(path.relative_to(root))
            status = path.lstat()
            owner = (status.st_uid, status.st_gid)
            if stat.S_ISDIR(status.st_mode):
                found[name] = Seen(status.st_mode, owner)
                if name not in NOT_KEPT:
                    waiting.append(path)
            elif stat.S_ISLNK(status.st_mode):
                found[name] = Seen(status.st_mode, owner, target=str(path.readlink()))
            elif stat.S_ISREG(status.st_mode):
                found[name] = Seen(status.st_mode, owner, status.st_size, status.st_mtime_ns)
    return found


def removed(before: Mapping[str, Seen], after: Mapping[str, Seen]) -> list[str]:
    """Paths that are gone; of a folder that is gone, only the folder."""
    gone = before.keys() - after.keys()
    return sorted(path for path in gone if not any(str(above) in gone for above in Path(path).parents))


def changed(before: Mapping[str, Seen], after: Mapping[str, Seen]) -> list[str]:
    """Paths that are new or differ, and the folders above them: a runtime wants those first, with their owners."""
    found = {path for path, seen in after.items() if before.get(path) != seen}
    touched = [*found, *removed(before, after)]
    above = {str(parent) for path in touched for parent in Path(path).parents}
    return sorted((found | above) & after.keys())


def write(target: Path, root: Path, before: Mapping[str, Seen], since: float) -> None:
    """Write a tar archive of what differs below `root` from `before`.

    Times later than `since` (seconds since 1970) are the build's own and become 0, so that another build has the same
    bytes; earlier ones came with a package, and compiled Python refers to them.
    """
    after = snapshot(root)
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in changed(before, after):
            info = archive.gettarinfo(root / path, path)
            info.uname = info.gname = ""
            info.mtime = int(info.mtime) if info.isreg() and info.mtime < since else 0
            if info.isreg():
                info.pax_headers = _attributes(root / path)
                with (root / path).open("rb") as opened:
                    archive.addfile(info, opened)
            else:
                archive.addfile(info)
        for path in removed(before, after):
            archive.addfile(tarfile.TarInfo(str(Path(path).with_name(REMOVED + Path(path).name))))


def _attributes(file: Path) -> dict[str, str]:
    """What a program may do, in the form in which GNU tar and runtimes read it."""
    if CAPABILITIES not in os.listxattr(file):
        return {}
    value = os.getxattr(file, CAPABILITIES)
    return {f"SCHILY.xattr.{CAPABILITIES}": value.decode("utf-8", "surrogateescape")}
