"""Stand-in for CloudNativePG's instance manager: runs one PostgreSQL server as the Cluster wants it.

The server is real. The manager makes its data (empty, from the archive, or from the primary), starts and stops it,
promotes it when the operator says so, and keeps users, databases and backups.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2

from rehearsal.programs.kube import Api, ApiError, Object, custom, forever, now, say, with_condition
from rehearsal.programs.kube import condition as condition_of
from rehearsal.programs.postgres import health, settings
from rehearsal.programs.postgres.contents import Contents, cursor
from rehearsal.programs.postgres.settings import DATA, REPLICATION, RUN, SIDECAR

COMPLETE = Path(DATA).with_name("complete")
"""Says that the data was made to its end: what is without it is made anew."""
STANDBY, RECOVERY = Path(DATA, "standby.signal"), Path(DATA, "recovery.signal")
USERS = "with users"
"""What the file says when the users are there, without whom no standby could follow."""
INTERVAL = 1.0


class Instance:
    """One server and what the API says of it."""

    def __init__(self) -> None:
        """Nothing is read or started yet."""
        self.space, self.cluster_name = os.environ["NAMESPACE"], os.environ["CLUSTER"]
        self.name = os.environ["POD_NAME"]
        self.api = Api()
        self.contents = Contents(self.api, self.space, self.cluster_name)
        self.server: subprocess.Popen[bytes] | None = None
        self.last_backup = 0.0
        self._stopping = False

    def cluster(self) -> Object:
        """The Cluster. Raises LookupError where it is gone."""
        found = self.api.get(custom(self.space, "clusters", self.cluster_name))
        if found is None:
            raise LookupError(f"there is no Cluster {self.cluster_name}")
        return found

    def ask(self, path: str, archive: tuple[str, str]) -> Any:
        """Ask the sidecar. Raises OSError with its words."""
        url = f"{SIDECAR}{path}?store={archive[0]}&server={archive[1] or self.cluster_name}"
        try:
            with urllib.request.urlopen(url, timeout=1800) as answer:  # noqa: S310  loopback
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise OSError(f"{path}: {error.read().decode(errors='replace')}") from error

    # Data

    def wait_for_sidecar(self) -> None:
        """Both containers of the pod start at once."""
        while True:
            try:
                urllib.request.urlopen(SIDECAR, timeout=5).close()  # noqa: S310  loopback
            except OSError:
                time.sleep(0.2)
            else:
                return

    def prepare(self) -> None:
        """Make the data, unless it is there: of a primary, or of a standby that follows it."""
        cluster = self.wait_for_role()
        primary = cluster["status"]["targetPrimary"] == self.name
        # No server outlives its manager, the container's first process: these locks are of one that was killed.
        for lock in (Path(DATA, "postmaster.pid"), Path(RUN, ".s.PGSQL.5432.lock")):
            lock.unlink(missing_ok=True)
        if not primary and COMPLETE.exists() and not STANDBY.exists():
            say("was the primary, and is not any more: its data is made anew")
            COMPLETE.unlink()
        if not COMPLETE.exists():
            shutil.rmtree(DATA, ignore_errors=True)
            if primary:
                self._first(cluster["spec"])
            else:
                self._clone()
            COMPLETE.touch()
        self.write(cluster)

    def wait_for_role(self) -> Object:
        """The Cluster, as soon as the operator has said who is to be the primary."""
        while True:
            try:
                cluster = self.cluster()
                if (cluster.get("status") or {}).get("targetPrimary"):
                    return cluster
            except (ApiError, LookupError) as error:
                say(f"waiting: {error}")
            time.sleep(INTERVAL)

    def _first(self, spec: Object) -> None:
        archive, source = settings.archiver(spec), settings.source(spec)
        if archive or source:
            self.wait_for_sidecar()
        if archive and not self.ask("/empty", archive):
            sys.exit("Expected empty archive: raise its number, since something was archived under this name")
        if source is not None:
            say("recovering from the archive")
            self.ask("/recover", source)
            RECOVERY.touch()
            return
        given = (spec.get("bootstrap") or {}).get("initdb") or {}
        words = ["initdb", "--username=postgres", "--auth=peer", f"--encoding={given.get('encoding', 'UTF8')}"]
        words += ["--data-checksums"] if given.get("dataChecksums") else []
        subprocess.run([*words, "--pgdata", DATA], check=True, stdout=subprocess.DEVNULL)
        say("done: made an empty cluster of databases")

    def _clone(self) -> None:
        secret = self.contents.secret(f"{self.cluster_name}-replication")[0]
        words = ["pg_basebackup", f"--host={self.cluster_name}-rw", f"--username={REPLICATION}", "--wal-method=stream"]
        environment = {**os.environ, "PGPASSWORD": secret, "PGSSLMODE": "require", "PGCONNECT_TIMEOUT": "5"}
        while subprocess.run([*words, "--checkpoint=fast", "--pgdata", DATA], env=environment, check=False).returncode:
            shutil.rmtree(DATA, ignore_errors=True)
            time.sleep(2.0)
        STANDBY.touch()
        say("done: copied the primary")

    # Configuration

    def write(self, cluster: Object) -> bool:
        """Write the server's files; returns whether anything in them is new."""
        spec, status = cluster["spec"], cluster.get("status") or {}
        others = [name for name in status.get("instanceNames") or [] if name != self.name]
        standby = STANDBY.exists()
        source = settings.source(spec) if RECOVERY.exists() else settings.archiver(spec)
        restore, follow = "", ""
        if source and (standby or RECOVERY.exists()):
            server = source[1] or self.cluster_name
            restore = f"sh {RUN}/restore.sh {source[0]} {server} %f %p"
        if standby:
            secret = self.contents.secret(f"{self.cluster_name}-replication")[0]
            login = f"user={REPLICATION} password={secret} sslmode=require application_name={self.name}"
            follow = f"host={self.cluster_name}-rw {login} connect_timeout=5"
        spec = {**spec, "plugins": [self._named(plugin) for plugin in spec.get("plugins") or []]}
        # A cluster that waits for standbys from its first moment on would never make the user that they need.
        ready = others if COMPLETE.exists() and USERS in COMPLETE.read_text() else []
        texts = {
            "postgresql.conf": settings.configuration(spec, ready, follow, self.name, restore),
            "pg_hba.conf": settings.admission(spec),
            "restore.sh": settings.RESTORE,
        }
        changed = False
        for name, text in texts.items():
            file = Path(RUN, name)
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
                file.chmod(0o600)
                changed = True
        return changed

    def _named(self, plugin: Object) -> Object:
        given = plugin["parameters"]
        return {**plugin, "parameters": {**given, "serverName": given.get("serverName") or self.cluster_name}}

    def certify(self) -> None:
        """A certificate of this pod's own: clients ask for TLS, not for a name."""
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", f"{RUN}/tls.key", "-out", f"{RUN}/tls.crt"]
        subject = ["-days", "3650", "-subj", f"/CN={self.cluster_name}-rw"]
        subprocess.run([*words, *files, *subject], check=True, capture_output=True)

    # The server

    def start(self) -> None:
        """Start the server."""
        self.server = subprocess.Popen(["postgres", "-c", f"config_file={RUN}/postgresql.conf", "-D", DATA])

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends connections and writes everything down, SIGQUIT does neither."""
        if self.server is not None and self.server.poll() is None:
            self._stopping = True
            self.server.send_signal(how)
            self.server.wait()
            self._stopping = False

    def terminate(self, *_: object) -> None:
        """The pod is to end."""
        say("stopping")
        self._stopping = True
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
            self.server.wait(25)
        os._exit(0)

    def watch(self) -> None:
        """One look: at the server, at the Cluster, and what follows of them."""
        if self.server is not None and self.server.poll() is not None and not self._stopping:
            say(f"the server ended with status {self.server.returncode}")
            os._exit(1)
        cluster = self.cluster()
        target = (cluster.get("status") or {}).get("targetPrimary")
        standby = STANDBY.exists()
        if standby and target == self.name:
            self._promote()
        if not standby and target not in (None, self.name):
            say(f"{target} is the primary now")
            self.stop(signal.SIGQUIT)
            os._exit(1)
        if self.write(cluster):
            self._reload()
        if health.writable():
            self._primary(cluster)

    def _promote(self) -> None:
        with cursor() as opened:
            opened.execute("select pg_promote(true, 50)")
        say("done: promoted to primary")

    def _reload(self) -> None:
        try:
            with cursor() as opened:
                opened.execute("select pg_reload_conf()")
                time.sleep(0.5)
                opened.execute("select name from pg_settings where pending_restart")
                pending = [row[0] for row in opened.fetchall()]
        except psycopg2.OperationalError:
            return
        say("done: read the configuration anew")
        if pending:
            say(f"restarting for {', '.join(pending)}")
            self.stop()
            self.start()

    def _primary(self, cluster: Object) -> None:
        status, path = cluster.get("status") or {}, custom(self.space, "clusters", self.cluster_name)
        if status.get("currentPrimary") != self.name:
            self.api.status(path, {"currentPrimary": self.name, "currentPrimaryTimestamp": now()})
        self.contents.reconcile()
        COMPLETE.write_text(USERS)
        archived, failed = health.archiver()
        if archived or failed:
            reason, message = ("ContinuousArchivingSuccess", "") if archived else ("ContinuousArchivingFailing", failed)
            new = condition_of("ContinuousArchiving", holds=archived, reason=reason, message=message)
            old: Object = next((c for c in status.get("conditions") or [] if c["type"] == "ContinuousArchiving"), {})
            if old.get("status") != new["status"]:
                self.api.status(path, {"conditions": with_condition(self.cluster().get("status") or {}, new)})

    def backups(self) -> None:
        """Make the base backups that are asked for, one after the other."""
        cluster = self.cluster()
        archive = settings.archiver(cluster["spec"])
        if not archive or not health.writable():
            return
        if not self.last_backup and (last := self.ask("/last", archive)):
            self._seen(last[-1])
        for item in self.api.list(custom(self.space, "backups")):
            wanted = item["spec"]["cluster"]["name"] == self.cluster_name
            if not wanted or (item.get("status") or {}).get("phase") in ("completed", "failed"):
                continue
            path = custom(self.space, "backups", item["metadata"]["name"])
            self.api.status(path, {"phase": "running", "startedAt": now(), "method": "plugin"})
            try:
                made = self.ask("/backup", archive)
            except OSError as error:
                self.api.status(path, {"phase": "failed", "error": str(error)[:500], "stoppedAt": now()})
                continue
            self._seen(made)
            ended = {"phase": "completed", "stoppedAt": now(), "backupId": made["id"], "beginWal": made["wal"]}
            self.api.status(path, ended)

    def _seen(self, info: Object) -> None:
        self.last_backup = datetime.fromisoformat(info["ended"]).timestamp()


def main() -> None:
    """Run the server until ended."""
    say("a stand-in of the rehearsal for CloudNativePG's instance manager; PostgreSQL is real")
    os.umask(0o077)
    Path(RUN).mkdir(parents=True, exist_ok=True)
    instance = Instance()
    signal.signal(signal.SIGTERM, instance.terminate)
    health.serve(instance.name, lambda: instance.last_backup)
    instance.certify()
    instance.prepare()
    instance.start()
    threading.Thread(target=forever, args=("backups", 2.0, instance.backups), daemon=True).start()
    forever("instance", INTERVAL, instance.watch)


if __name__ == "__main__":
    main()
