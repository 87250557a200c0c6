"""The server's configuration files, from what the Cluster asks for. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

DATA = "/var/lib/postgresql/data/pgdata"
RUN = "/controller/run"
REPLICATION = "streaming_replica"
SIDECAR = "http://127.0.0.1:8010"
RESTORE = f"""\
#!/bin/sh
# restore.sh STORE SERVER NAME PATH: get a segment of the log from the sidecar. Status 1 says that the archive has no
# such segment, which ends a recovery; 255 that nobody knows, which stops it.
code=$(curl -s --max-time 60 -o "$4" -w '%{{http_code}}' "{SIDECAR}/wal?store=$1&server=$2&name=$3") || exit 255
[ "$code" = 200 ] && exit 0
rm -f "$4"
[ "$code" = 404 ] && exit 1
exit 255
"""


def archiver(spec: Mapping[str, Any]) -> tuple[str, str] | None:
    """ObjectStore and server name of the archive that is written to."""
    for plugin in spec.get("plugins") or []:
        if plugin.get("isWALArchiver"):
            given = plugin["parameters"]
            return given["barmanObjectName"], given.get("serverName", "")
    return None


def source(spec: Mapping[str, Any]) -> tuple[str, str] | None:
    """ObjectStore and server name of the archive that the cluster begins with; None: it begins empty."""
    wanted = (spec.get("bootstrap") or {}).get("recovery")
    if not wanted:
        return None
    outside = next(entry for entry in spec["externalClusters"] if entry["name"] == wanted["source"])
    given = outside["plugin"]["parameters"]
    return given["barmanObjectName"], given["serverName"]


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def synchronous(spec: Mapping[str, Any], others: Sequence[str]) -> str:
    """The value of synchronous_standby_names: of those that are there, since an empty list would mean none."""
    wanted = spec["postgresql"].get("synchronous")
    if not wanted or not others:
        return ""
    names = ", ".join(f'"{name}"' for name in sorted(others))
    return f"{wanted['method'].upper()} {wanted['number']} ({names})"


def configuration(spec: Mapping[str, Any], others: Sequence[str], primary: str, name: str, restore: str) -> str:
    """postgresql.conf; `primary` is how a standby connects, `restore` the command for archived log, "": none."""
    archive = archiver(spec)
    fixed = {
        "data_directory": DATA,
        "hba_file": f"{RUN}/pg_hba.conf",
        "listen_addresses": "*",
        "port": "5432",
        "unix_socket_directories": RUN,
        "ssl": "on",
        "ssl_cert_file": f"{RUN}/tls.crt",
        "ssl_key_file": f"{RUN}/tls.key",
        "password_encryption": "scram-sha-256",
        "wal_level": "logical",
        "wal_log_hints": "on",
        "wal_keep_size": "256MB",
        "max_wal_senders": "10",
        "hot_standby": "on",
        "logging_collector": "off",
        "cluster_name": name,
        "recovery_target_timeline": "latest",
        "synchronous_standby_names": synchronous(spec, others),
        "primary_conninfo": primary,
        "restore_command": restore,
    }
    if archive:
        url = f"{SIDECAR}/archive?store={archive[0]}&server={archive[1]}&name=%f"
        fixed |= {"archive_mode": "on", "archive_command": f'curl -fsS --max-time 60 "{url}"'}
    # The user's own come first: what the operator fixes cannot be overridden.
    lines = {**(spec["postgresql"].get("parameters") or {}), **fixed}
    return "".join(f"{key} = {_text(value)}\n" for key, value in lines.items())


def admission(spec: Mapping[str, Any]) -> str:
    """pg_hba.conf: the operator's own rules, then the user's, then the default one."""
    own = ["local all postgres peer", f"hostssl replication {REPLICATION} all scram-sha-256"]
    return "\n".join([*own, *(spec["postgresql"].get("pg_hba") or []), "host all all all scram-sha-256", ""])
