"""The archive of a cluster in an S3 store, laid out as Barman Cloud does: SERVER/base/ID and SERVER/wals."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

DATA, INFO = "data.tar.gz", "backup.info"
SKIPPED = ("pg_wal/", "pg_replslot/", "pg_dynshmem/", "pg_notify/", "pg_serial/", "pg_snapshots/", "pg_stat_tmp/")
"""What a base backup leaves out, as PostgreSQL's manual says; the folders themselves are kept."""
LEFT_OUT = ("postmaster.pid", "postmaster.opts", "standby.signal", "recovery.signal")


@dataclass(frozen=True)
class Place:
    """Where an archive is."""

    url: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str
    server: str
    days: int


class Archive:
    """One server's archive."""

    def __init__(self, place: Place) -> None:
        """Nothing is asked yet."""
        parts = urlsplit(place.url)
        self._bucket, self._base = parts.netloc, "/".join(p for p in (parts.path.strip("/"), place.server) if p)
        self._days = place.days
        self._s3 = boto3.client(
            "s3",
            endpoint_url=place.endpoint,
            region_name=place.region,
            aws_access_key_id=place.access_key,
            aws_secret_access_key=place.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=5,
                read_timeout=60,
                retries={"max_attempts": 3},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _key(self, *parts: str) -> str:
        return "/".join((self._base, *parts))

    def _wal(self, name: str) -> str:
        return self._key("wals", name[:16], f"{name}.gz")

    def _names(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents") or []]

    def is_empty(self) -> bool:
        """Whether nothing was archived under this name."""
        found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=self._key(""), MaxKeys=1)
        return not found.get("KeyCount")

    def push(self, file: Path) -> None:
        """Archive a segment of the write-ahead log."""
        self._s3.put_object(Bucket=self._bucket, Key=self._wal(file.name), Body=gzip.compress(file.read_bytes(), 3))

    def pull(self, name: str) -> bytes | None:
        """A segment of the write-ahead log; None where it is not archived."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._wal(name))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return gzip.decompress(answer["Body"].read())

    def backups(self) -> list[dict[str, Any]]:
        """What is known of every complete base backup, oldest first."""
        names = [name for name in self._names(self._key("base", "")) if name.endswith(f"/{INFO}")]
        found = [
            json.loads(self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read()) for name in sorted(names)
        ]
        return sorted(found, key=lambda info: str(info["ended"]))

    def pack(self, identity: str, folder: Path, end: Callable[[], Mapping[str, bytes]]) -> Path:
        """Pack the files of a running server; `end` says that they are read, and gives what else belongs to them."""
        spool = Path(f"/tmp/{identity}.tar.gz")  # noqa: S108  the sidecar's own
        with tarfile.open(spool, "w:gz", compresslevel=1) as packed:
            _pack(packed, folder)
            for name, content in end().items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o600
                packed.addfile(entry, io.BytesIO(content))
        return spool

    def save(self, identity: str, spool: Path, info: dict[str, Any]) -> None:
        """Store a packed base backup; it counts when it is whole."""
        try:
            self._s3.upload_file(str(spool), self._bucket, self._key("base", identity, DATA))
        finally:
            spool.unlink(missing_ok=True)
        body = json.dumps({**info, "id": identity}).encode()
        self._s3.put_object(Bucket=self._bucket, Key=self._key("base", identity, INFO), Body=body)

    def load(self, identity: str, folder: Path) -> None:
        """Unpack a base backup into an empty folder."""
        spool = Path(f"/tmp/{identity}.tar.gz")  # noqa: S108  the sidecar's own
        try:
            self._s3.download_file(self._bucket, self._key("base", identity, DATA), str(spool))
            with tarfile.open(spool) as packed:
                packed.extractall(folder)  # noqa: S202  what `pack` wrote; this Python knows no filter
        finally:
            spool.unlink(missing_ok=True)

    def clean(self, now: datetime | None = None) -> list[str]:
        """Remove base backups past their time, but the last of those, and the log before the first that is left."""
        limit = ((now or datetime.now(UTC)) - timedelta(days=self._days)).isoformat()
        known = self.backups()
        # The newest of the old ones is what every moment within the time is recovered from.
        old = [info for info in known if info["ended"] < limit][:-1]
        for info in old:
            for name in self._names(self._key("base", info["id"], "")):
                self._s3.delete_object(Bucket=self._bucket, Key=name)
        left = known[len(old) :]
        if old and left:
            for name in self._names(self._key("wals", "")):
                segment = name.rpartition("/")[2].removesuffix(".gz")
                if len(segment) == 24 and segment[8:] < left[0]["wal"][8:]:
                    self._s3.delete_object(Bucket=self._bucket, Key=name)
        return [info["id"] for info in old]


def _pack(packed: tarfile.TarFile, folder: Path) -> None:
    """Files that vanish or grow meanwhile are put right by the log, as in every backup of a running server."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (
            name in LEFT_OUT
            or any(name.startswith(skipped) for skipped in SKIPPED)
            or path.name.startswith("pgsql_tmp")
        ):
            continue
        try:
            if path.is_dir() or path.is_symlink():
                packed.add(path, name, recursive=False)
            else:
                content = path.read_bytes()
                entry = packed.gettarinfo(str(path), name)
                entry.size = len(content)
                packed.addfile(entry, io.BytesIO(content))
        except FileNotFoundError:
            continue
