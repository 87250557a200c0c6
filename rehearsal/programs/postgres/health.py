"""What an instance says of itself: probes and state on one port, metrics on another."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg2

from rehearsal.programs.postgres.contents import cursor

STATUS_PORT, METRICS_PORT = 8000, 9187
STATE = """select pg_is_in_recovery(),
 case when pg_is_in_recovery() then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
 else pg_current_wal_lsn() end - '0/0'::pg_lsn,
 (select count(*) from pg_stat_activity where backend_type = 'client backend'),
 (select count(*) from pg_stat_replication where state = 'streaming'),
 exists (select 1 from pg_stat_wal_receiver where status = 'streaming')"""
ARCHIVER = """select archived_count, failed_count, extract(epoch from last_archived_time),
 extract(epoch from last_failed_time), last_failed_wal from pg_stat_archiver"""


def _row(query: str) -> tuple[Any, ...] | None:
    try:
        with cursor() as opened:
            opened.execute(query)
            found: tuple[Any, ...] | None = opened.fetchone()
            return found
    except psycopg2.Error:
        return None


def writable() -> bool:
    """Whether this is a primary that takes writes."""
    found = _row("select not pg_is_in_recovery()")
    return bool(found and found[0])


def archiver() -> tuple[bool, str]:
    """Whether the last segment of the log was archived; and which one was not."""
    found = _row(ARCHIVER)
    if found is None or not (found[2] or found[3]):
        return False, ""
    good = (found[2] or 0) > (found[3] or 0)
    return good, "" if good else f"segment {found[4]} was not archived"


def state() -> dict[str, Any]:
    """What the operator decides by: whether it answers, whether it follows another, how much log it has."""
    found = _row(STATE)
    if found is None:
        return {"ready": False}
    standby, position, _, _, streaming = found
    return {"ready": not standby or streaming, "answers": True, "standby": standby, "position": int(position)}


def metrics(name: str, last_backup: float) -> str:
    """In the text format of Prometheus, under the names of the real exporter."""
    found, archived = _row(STATE), _row(ARCHIVER)
    values: dict[str, Any] = {"cnpg_collector_up": int(found is not None)}
    if found:
        values |= {"cnpg_pg_replication_in_recovery": int(found[0]), "cnpg_pg_replication_streaming_replicas": found[3]}
        values |= {"cnpg_backends_total": found[2]}
    if archived:
        values |= {
            "cnpg_pg_stat_archiver_archived_count": archived[0],
            "cnpg_pg_stat_archiver_failed_count": archived[1],
        }
        values |= {"cnpg_pg_stat_archiver_last_archived_time": float(archived[2] or -1)}
        values |= {"cnpg_pg_stat_archiver_last_failed_time": float(archived[3] or -1)}
    values |= {"barman_cloud_cloudnative_pg_io_last_available_backup_timestamp": last_backup}
    return "".join(f'{key}{{instance_name="{name}"}} {value}\n' for key, value in values.items())


def serve(name: str, last_backup: Callable[[], float]) -> None:
    """Answer in the background."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = state() if self.path in ("/readyz", "/pg/status") else {"ready": True}
            text = metrics(name, last_backup()) if self.path == "/metrics" else json.dumps(found)
            self.send_response(200 if found["ready"] or self.path == "/pg/status" else 503)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
            """Nothing: probes come every second."""

    for port in (STATUS_PORT, METRICS_PORT):
        threading.Thread(target=ThreadingHTTPServer(("", port), Answers).serve_forever, daemon=True).start()
