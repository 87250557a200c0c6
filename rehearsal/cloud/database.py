"""The database server of a cloud: its start, its schemas, and the snapshot that `reset` returns to."""

# ruff: noqa: S608  (statements are made of our own constants, ids and quoted names; nothing comes from outside)

import json
import re
import shutil
from pathlib import Path

from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.process import Processes, run

NAMES = ("keystone", "glance", "placement", "neutron", "nova", "nova_api", "nova_cell0", "cinder", "blazar")
# Heartbeats, and what `up` writes itself.
KEPT = {
    *("nova.services", "nova.compute_nodes", "cinder.services", "cinder.workers"),
    *("keystone.endpoint", "keystone.service", "keystone.region"),
}
OPTIONS = (
    *("--bind-address=127.0.0.1", "--max-connections=500", "--skip-name-resolve", "--performance-schema=0"),
    # The data can be made again: no waiting for the disk.
    *("--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--innodb-doublewrite=0"),
    *("--innodb-log-file-size=16M", "--innodb-buffer-pool-size=128M", "--character-set-server=utf8mb4"),
    *("--user=root", "--disable-log-bin", "--innodb-fast-shutdown=1"),
)


class Database:
    """One MariaDB server below `folder`. Root logs in by socket and user id only, services by password."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        """Nothing is started yet."""
        self._folder = folder
        self._processes = processes
        self.data = folder / "mysql"
        self.socket = folder / "run" / "mysql.sock"

    def create(self) -> None:
        """An empty server."""
        shutil.rmtree(self.data, ignore_errors=True)
        run(
            [
                *("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={self.data}", "--skip-test-db"),
                *("--auth-root-authentication-method=socket", "--auth-root-socket-user=root"),
            ]
        )

    def start(self, port: int) -> None:
        """Start it and wait until it answers."""
        if self._processes.pid("mariadb"):
            return
        if len(str(self.socket)) > 100:
            raise CloudError(f"{self._folder} is too long a path for a socket: choose a shorter folder")
        program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        if not Path(program).exists():
            raise CloudError("mariadbd is not installed: apt-get install mariadb-server, then try again")
        args = [
            program,
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--port={port}",
        ]
        self._processes.start("mariadb", [*args, *OPTIONS])
        self._processes.wait_port("mariadb", port)

    def sql(self, text: str) -> list[list[str]]:
        """Run statements as root; the rows of the results, all columns as text."""
        client = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--batch", "--skip-column-names"]
        return [line.split("\t") for line in run(client, stdin=text).splitlines()]

    def prepare(self, password: str) -> None:
        """Databases, and the services' account with this password."""
        for name in NAMES:
            self.sql(f"CREATE DATABASE IF NOT EXISTS {name}")
        self.sql(
            "CREATE USER IF NOT EXISTS os@'127.0.0.1'; GRANT ALL ON *.* TO os@'127.0.0.1';"
            f"ALTER USER os@'127.0.0.1' IDENTIFIED BY '{password}'"
        )

    # -- snapshot ----------------------------------------------------------------------------------------------

    def _checksums(self) -> dict[str, str]:
        listed = ", ".join(f"'{name}'" for name in NAMES)
        tables = self.sql(
            "SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables "
            f"WHERE table_schema IN ({listed})"
        )
        names = [row[0] for row in tables if row[0] not in KEPT]
        quoted = ", ".join("`{}`.`{}`".format(*name.split(".", 1)) for name in names)
        return {row[0]: row[1] for row in self.sql(f"CHECKSUM TABLE {quoted}")}

    def snapshot(self) -> None:
        """Keep what is there now for `restore`."""
        dump = run(
            [
                *("mariadb-dump", "--no-defaults", f"--socket={self.socket}", "--no-create-info", "--skip-triggers"),
                *("--hex-blob", "--single-transaction", "--databases", *NAMES),
            ]
        )
        inserts: dict[str, list[str]] = {}
        database = ""
        for line in dump.split("\n"):
            if use := re.match(r"USE `(\w+)`;", line):
                database = use[1]
            elif insert := re.match(r"INSERT INTO `(\w+)` ", line):
                key = f"{database}.{insert[1]}"
                inserts.setdefault(key, []).append(line.replace("INSERT INTO ", f"INSERT INTO `{database}`.", 1))
            elif inserts and line.startswith("("):  # continued rows of an extended insert
                inserts[key].append(line)
        content = {table: [checksum, *inserts.get(table, [])] for table, checksum in self._checksums().items()}
        path = self._folder / "snapshot.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))

    def restore(self) -> int:
        """Put back every table that differs from the snapshot; returns how many did."""
        content = json.loads((self._folder / "snapshot.json").read_text())
        now = self._checksums()
        changed = [table for table, kept in content.items() if now.get(table) != kept[0]]
        # Placement's VCPU has id 0, which would otherwise take a new number.
        statements = ["SET foreign_key_checks=0, sql_mode='NO_AUTO_VALUE_ON_ZERO', autocommit=0;"]
        for table in changed:
            statements.append("DELETE FROM `{}`.`{}`;".format(*table.split(".", 1)))
            statements += content[table][1:]
        self.sql("\n".join([*statements, "COMMIT;"]))
        return len(changed)
