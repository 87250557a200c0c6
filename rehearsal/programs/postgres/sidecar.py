"""Stand-in for the sidecar of plugin-barman-cloud: archives beside an instance, for that instance alone.

It answers on the pod's own loopback address; the instance's manager and the server's archive command ask it.
"""

import base64
import json
import os
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg2

from rehearsal.programs.kube import BARMAN, Api, Object, core, custom, say
from rehearsal.programs.postgres import known
from rehearsal.programs.postgres.archive import Archive, Place

PORT = 8010
DATA = Path("/var/lib/postgresql/data/pgdata")
SOCKETS = "/controller/run"
FRESH = 30.0
"""Seconds."""


class Sidecar:
    """What the plugin does for one instance."""

    def __init__(self, api: Api, space: str, cluster: str) -> None:
        """`cluster` is the object's name."""
        self._api, self._space, self._cluster = api, space, cluster
        self._known: dict[tuple[str, str], Archive] = {}
        self._read = 0.0

    def archive(self, store: str, server: str) -> Archive:
        """The archive that an ObjectStore names; what was read of it is used for some seconds, or until it fails."""
        if (store, server) not in self._known or time.monotonic() - self._read > FRESH:
            self.forget()
            self._known[store, server] = self._archive(store, server)
        return self._known[store, server]

    def forget(self) -> None:
        """Read everything anew: keys may have changed."""
        self._known.clear()
        self._read = time.monotonic()

    def _archive(self, store: str, server: str) -> Archive:
        found = self._api.get(custom(self._space, "objectstores", store, BARMAN))
        if found is None:
            raise LookupError(f"there is no ObjectStore {store}")
        spec = found["spec"]
        if refused := known.refusal(spec, known.STORE):
            raise ValueError(refused)
        given = spec["configuration"]
        credentials = {name: self._key(ref) for name, ref in given["s3Credentials"].items()}
        days = spec.get("retentionPolicy", "30d")
        if not days.endswith("d"):
            raise ValueError(f"the rehearsal's stand-in knows a retentionPolicy in days only, not {days}")
        keys = (credentials["accessKeyId"], credentials["secretAccessKey"])
        where = (given["destinationPath"], given["endpointURL"], credentials.get("region", "us-east-1"))
        return Archive(Place(*where, *keys, server, int(days[:-1])))

    def _key(self, reference: Object) -> str:
        secret = self._api.get(core(self._space, "secrets", reference["name"]))
        if secret is None:
            raise LookupError(f"there is no Secret {reference['name']}")
        return base64.b64decode(secret["data"][reference["key"]]).decode()

    def backup(self, archive: Archive) -> Object:
        """Make a base backup of the running server."""
        started = datetime.now(UTC)
        identity = started.strftime("%Y%m%dT%H%M%S")
        with psycopg2.connect(host=SOCKETS, user="postgres", dbname="postgres") as link:
            link.autocommit = True
            cursor = link.cursor()
            cursor.execute("select pg_backup_start(%s, true)", [identity])
            cursor.execute("select pg_walfile_name(pg_current_wal_lsn())")
            wal = cursor.fetchone()[0]
            ended: list[Any] = []

            def stop() -> dict[str, bytes]:
                cursor.execute("select lsn, labelfile, spcmapfile from pg_backup_stop(true)")
                ended.extend(cursor.fetchone())
                return {"backup_label": ended[1].encode(), "tablespace_map": (ended[2] or "").encode()}

            spooled = archive.pack(identity, DATA, stop)
        info = {
            "began": started.isoformat(),
            "ended": datetime.now(UTC).isoformat(),
            "wal": wal,
            "lsn": ended[0],
        }
        archive.save(identity, spooled, info)
        gone = archive.clean()
        say(f"done: base backup {identity}" + (f"; ended {', '.join(gone)}" if gone else ""))
        return {"id": identity, **info}

    def recover(self, archive: Archive) -> Object:
        """Put the newest base backup into the empty folder of the data."""
        backups = archive.backups()
        if not backups:
            raise LookupError("the archive has no base backup")
        DATA.mkdir(mode=0o700, parents=True, exist_ok=True)
        archive.load(backups[-1]["id"], DATA)
        say(f"done: recovered base backup {backups[-1]['id']}")
        return dict(backups[-1])


class Answers(BaseHTTPRequestHandler):
    """What is asked: /archive, /wal, /backup, /recover, /empty and /last, with store, server and name."""

    sidecar: Sidecar
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer; every question is one."""
        parts = urlsplit(self.path)
        try:
            status, body = self._found(parts.path, dict(parse_qsl(parts.query)))
        except Exception as error:
            say(f"{parts.path}: {type(error).__name__}: {error}")
            self.sidecar.forget()
            status, body = 500, str(error).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _found(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        if path == "/":
            return 200, b"stand-in"
        archive = self.sidecar.archive(query["store"], query["server"])
        if path == "/archive":
            archive.push(DATA / "pg_wal" / query["name"])
            return 200, b""
        if path == "/wal":
            content = archive.pull(query["name"])
            return (404, b"") if content is None else (200, content)
        if path == "/empty":
            return 200, json.dumps(archive.is_empty()).encode()
        if path == "/last":
            return 200, json.dumps(archive.backups()[-1:]).encode()
        act = {"/backup": self.sidecar.backup, "/recover": self.sidecar.recover}[path]
        return 200, json.dumps(act(archive)).encode()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Nothing: what matters is said where it happens."""


def main() -> None:
    """Serve until ended."""
    say("a stand-in of the rehearsal for the sidecar of plugin-barman-cloud")
    Answers.sidecar = Sidecar(Api(), os.environ["NAMESPACE"], os.environ["CLUSTER"])
    ThreadingHTTPServer(("127.0.0.1", PORT), Answers).serve_forever()


if __name__ == "__main__":
    main()
