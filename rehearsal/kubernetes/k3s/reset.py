"""`k3s server --cluster-reset`: back to a cluster of one, from the present data or from a snapshot."""

import shutil
import time
from pathlib import Path

from . import bootstrap, log, tokens
from .config import Config
from .etcd import Etcd, data_in, healthy
from .files import run, write
from .log import Fatal
from .processes import Group
from .snapshots import Snapshots, unpacked

TEMPORARY, METRICS = "http://127.0.0.1:2399", "http://127.0.0.1:2401"
DONE = (
    "Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. "
    "Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes"
)


def flag(config: Config) -> Path:
    """The file that tells of a reset, until the server has started once without it."""
    return config.paths.db / "reset-flag"


def _source(config: Config, snapshots: Snapshots) -> Path:
    given = config.text("cluster-reset-restore-path")
    if given:
        for path in (Path(given), snapshots.folder / given):
            if path.is_file():
                return unpacked(path, config.paths.db)
        raise Fatal(f"etcd: snapshot path does not exist: {given}")
    if not data_in(config.paths.etcd):
        raise Fatal("cluster-reset: there is no etcd data on this machine, give --cluster-reset-restore-path=FILE")
    copy = config.paths.db / "reset.db"
    shutil.copy(config.paths.etcd / "member" / "snap" / "db", copy)
    return copy


def _restore(config: Config, etcd: Etcd, source: Path) -> Path | None:
    """Lay `source` out as the data of one member; returns where the earlier data is now."""
    aside = None
    if config.paths.etcd.exists():
        aside = config.paths.db / f"etcd-old-{int(time.time())}"
        config.paths.etcd.rename(aside)
    # a copy of a live data file has no checksum at its end
    check = ["--skip-hash-check"] if source.name == "reset.db" else []
    name = etcd.name()
    run(
        [
            *("etcdutl", "snapshot", "restore", source, "--data-dir", config.paths.etcd, "--name", name, *check),
            *("--initial-cluster", f"{name}={etcd.peer}", "--initial-advertise-peer-urls", etcd.peer),
            *("--bump-revision", "1000000", "--mark-compacted"),
        ],
        timeout=600,
    )
    return aside


def _read_bootstrap(config: Config, group: Group, secret: str) -> str:
    """Bootstrap data out of the restored etcd data, by an etcd of its own that talks to this machine only.

    It runs on a copy: started alone, it would write its own addresses into the data.
    """
    copy = config.paths.db / "reset-etcd"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(config.paths.etcd, copy)
    urls = [
        "--listen-client-urls",
        TEMPORARY,
        "--advertise-client-urls",
        TEMPORARY,
        "--listen-peer-urls",
        "http://127.0.0.1:2400",
    ]
    words = [
        "etcd",
        "--data-dir",
        copy,
        "--log-level=error",
        "--force-new-cluster",
        *urls,
        "--listen-metrics-urls",
        METRICS,
    ]
    group.start("etcd-temporary", [*words, "--name", Etcd(config).name()])
    try:
        group.until("the temporary etcd", lambda: healthy(f"{METRICS}/health"), seconds=60)

        def ctl(*words: str) -> str:
            return run(["etcdctl", "--endpoints", TEMPORARY, *words])

        found = bootstrap.read(ctl, secret)
    finally:
        group.shutdown(5, 0)
        shutil.rmtree(copy, ignore_errors=True)
    if found is None:
        raise Fatal("no bootstrap data found in the datastore: the snapshot is not of a k3s cluster")
    return found


def reset(config: Config, group: Group) -> None:
    """Do it, and say so. Raises Fatal; then the earlier data is in place again."""
    if flag(config).exists():
        raise Fatal(
            "Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and start k3s "
            f"normally. If you need to perform another cluster reset, you must first manually delete "
            f"the file at {flag(config)}"
        )
    stored = config.paths.token.read_text().strip() if config.paths.token.exists() else ""
    secret = tokens.parse(config.text("token") or stored).secret
    etcd = Etcd(config)
    config.paths.db.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = _source(config, Snapshots(etcd))
    aside = _restore(config, etcd, source)
    try:
        bootstrap.spread(_read_bootstrap(config, group, secret), config.paths)
    except Fatal:
        shutil.rmtree(config.paths.etcd, ignore_errors=True)
        if aside:
            aside.rename(config.paths.etcd)
        raise
    finally:
        if source.parent == config.paths.db:
            source.unlink(missing_ok=True)
    write(flag(config), "")
    log.info(DONE)
