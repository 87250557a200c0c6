"""etcd snapshots: taken, listed, pruned, compressed, and when they are due."""

import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from . import log
from .etcd import Etcd
from .log import Fatal


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on this machine."""

    path: Path
    size: int
    created: str


def _matches(part: str, value: int, low: int, high: int) -> bool:
    span, _, step = part.partition("/")
    first, dash, last = span.partition("-")
    begin, end = (low, high) if span == "*" else (int(first), int(last) if dash else (high if step else int(first)))
    return begin <= value <= end and (value - begin) % int(step or 1) == 0


def due(expression: str, moment: time.struct_time) -> bool:
    """Whether a cron expression of five fields names the minute of `moment`.

    As in cron, the day matches if the day of the month or that of the week does, where both are given.
    Raises Fatal if the expression is none.
    """
    fields = expression.split()
    limits = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
    values = (moment.tm_min, moment.tm_hour, moment.tm_mday, moment.tm_mon, (moment.tm_wday + 1) % 7)
    if len(fields) != 5:
        raise Fatal(f"etcd-snapshot-schedule-cron {expression!r}: five fields are expected")
    try:
        hits = [
            any(_matches(part, value, *limit) for part in text.split(","))
            for text, value, limit in zip(fields, values, limits, strict=True)
        ]
        hits[4] = hits[4] or (values[4] == 0 and any(_matches(part, 7, 0, 7) for part in fields[4].split(",")))
    except (ValueError, ZeroDivisionError):
        raise Fatal(f"etcd-snapshot-schedule-cron {expression!r}: not a cron expression") from None
    day = hits[2] or hits[4] if not fields[2].startswith("*") and not fields[4].startswith("*") else hits[2] and hits[4]
    return hits[0] and hits[1] and hits[3] and day


class Snapshots:
    """The snapshots of this server."""

    def __init__(self, etcd: Etcd) -> None:
        """Their folder is made when the first is taken."""
        self.etcd, self.config = etcd, etcd.config
        self.folder = Path(self.config.text("etcd-snapshot-dir") or self.config.paths.db / "snapshots")
        self._minute = ""

    def save(self, prefix: str) -> Path:
        """Take one now. Raises CommandError if etcd does not answer."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{prefix}-{self.config.node}-{int(time.time())}"
        part = path.with_suffix(".part")
        self.etcd.ctl("snapshot", "save", str(part))
        part.chmod(0o600)
        if self.config.flag("etcd-snapshot-compress"):
            packed = path.with_suffix(".zip")
            half = packed.with_suffix(".zip.part")
            with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as target:
                target.write(part, path.name)
            half.chmod(0o600)
            half.rename(packed)
            part.unlink()
            path = packed
        else:
            part.rename(path)
        log.info(f"Snapshot {path.name} saved.")
        return path

    def all(self) -> list[Snapshot]:
        """All complete ones, oldest first."""
        found = []
        for path in self.folder.glob("*"):
            if path.is_file() and path.suffix != ".part" and not path.name.endswith(".zip.part"):
                stat = path.stat()
                stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stat.st_mtime))
                found.append((stat.st_mtime, Snapshot(path, stat.st_size, stamp)))
        return [snapshot for _, snapshot in sorted(found, key=lambda pair: (pair[0], pair[1].path.name))]

    def prune(self, prefix: str, keep: int) -> list[str]:
        """Remove this node's oldest with this prefix, so that `keep` stay; returns the names. 0 keeps all."""
        own = [one for one in self.all() if one.path.name.startswith(f"{prefix}-{self.config.node}-")]
        gone = own[:-keep] if keep else []
        for snapshot in gone:
            snapshot.path.unlink()
        return [snapshot.path.name for snapshot in gone]

    def delete(self, name: str) -> None:
        """Remove one. Raises Fatal if it is not there."""
        path = self.folder / Path(name).name
        if not path.is_file():
            raise Fatal(f"snapshot {name} not found in {self.folder}")
        path.unlink()

    def take_if_due(self) -> None:
        """Take the scheduled one if its minute has come, and prune; called several times a minute."""
        moment = time.localtime()
        minute = time.strftime("%Y%m%d%H%M", moment)
        if minute == self._minute or not due(self.config.text("etcd-snapshot-schedule-cron"), moment):
            return
        self._minute = minute
        prefix = self.config.text("etcd-snapshot-name") or "etcd-snapshot"
        self.save(prefix)
        self.prune(prefix, int(self.config.text("etcd-snapshot-retention")))


def unpacked(path: Path, folder: Path) -> Path:
    """The snapshot itself: `path`, or what a compressed one holds, put into `folder`.

    Raises Fatal if the archive does not hold one file.
    """
    if path.suffix != ".zip":
        return path
    with zipfile.ZipFile(path) as source:
        names = source.namelist()
        if len(names) != 1:
            raise Fatal(f"{path} is no snapshot: it holds {len(names)} files instead of one")
        target = folder / Path(names[0]).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read(names[0]))
        target.chmod(0o600)
    return target
