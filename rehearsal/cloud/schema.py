"""Empty databases with their schemas: minutes of migrations, so the result is kept in the cache.

What is kept names no root: no path, port or password is in it, except the account that `Database.prepare` renews.
"""

# ruff: noqa: S608  (statements are made of our own constants, ids and quoted names; nothing comes from outside)

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rehearsal.cloud.database import NAMES, Database
from rehearsal.cloud.packages import LOCK
from rehearsal.cloud.plan import SitePlan
from rehearsal.cloud.process import MARK, run
from rehearsal.cloud.state import State, write_private
from rehearsal.paths import cache

# Filled in by Nova from its own [database] connection: the row is the same for every root.
CELL = "{{scheme}}://{{username}}:{{password}}@{{hostname}}:{{port}}/{}"
VERSION = 1
ENDPOINTS = (
    ("keystone", "identity", "/v3"),
    ("glance", "image", ""),
    ("placement", "placement", ""),
    ("neutron", "network", ""),
    ("nova", "compute", "/v2.1"),
    ("cinder", "block-storage", "/v3"),
    ("cinder", "volumev3", "/v3"),
    ("blazar", "reservation", "/v1"),
)


def cached() -> Path:
    """Where the schemas are kept."""
    names = "\0".join((*NAMES, str(VERSION)))
    key = hashlib.sha256(LOCK.read_bytes() + names.encode()).hexdigest()[:12]
    return cache() / f"schemas-{key}.tar.zst"


def commands(venv: Path, etc: Path) -> list[list[list[str]]]:
    """The migrations: the outer list may run side by side, the inner ones in order. The longest first."""

    def tool(name: str, *configs: str) -> list[str]:
        return [str(venv / "bin" / name), *(word for c in configs for word in ("--config-file", str(etc / c)))]

    nova = tool("nova-manage", "nova.conf")
    cell = ["--name", "cell1", "--transport-url", "fake://", "--database_connection", CELL.format("nova")]
    return [
        [[*tool("neutron-db-manage", "neutron.conf", "ml2_conf.ini"), "upgrade", "heads"]],
        [
            [*nova, "api_db", "sync"],
            [*nova, "cell_v2", "map_cell0", "--database_connection", CELL.format("nova_cell0")],
            [*nova, "cell_v2", "create_cell", *cell],
            [*nova, "db", "sync"],
        ],
        [[*tool("cinder-manage", "cinder.conf"), "db", "sync"]],
        [[*tool("keystone-manage", "keystone.conf"), "db_sync"]],
        [[*tool("glance-manage", "glance-api.conf"), "db_sync"]],
        [[*tool("blazar-db-manage", "blazar.conf"), "upgrade", "head"]],
        [[*tool("placement-manage", "placement.conf"), "db", "sync"]],
    ]


def migrate(
    folder: Path, venv: Path, env: Mapping[str, str], progress: Callable[[str], None], workers: int = 3
) -> None:
    """Run every migration."""

    def chain(steps: list[list[str]]) -> None:
        for step in steps:
            run(step, env={**os.environ, **env, MARK: str(folder)}, log=folder / "log" / "schemas.out", timeout=900)
        progress(f"schema by {Path(steps[0][0]).name}")

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(chain, commands(venv, folder / "etc")))


def keep(folder: Path, database: Database) -> None:
    """Put the stopped server's data into the cache, as far as it can be written."""
    target = cached()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    run(["tar", "-C", folder, "--use-compress-program", "zstd -q -1 -T0", "-cf", temporary, database.data.name])
    temporary.chmod(0o600)
    temporary.replace(target)


def unpack(folder: Path) -> None:
    """Take the data from the cache."""
    run(["tar", "-C", folder, "--use-compress-program", "zstd -q", "-xf", cached()])


def keys(folder: Path) -> None:
    """Keystone's key repositories: the next key (0) and the one in use (1)."""
    for repository in ("fernet", "credential"):
        for number in ("0", "1"):
            path = folder / "keys" / repository / number
            if not path.exists():
                write_private(path, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())


def bootstrap(folder: Path, venv: Path, state: State, plan: SitePlan, env: Mapping[str, str]) -> None:
    """The administrator with this root's password, the roles, and the identity service."""
    run(
        [
            *(venv / "bin" / "keystone-manage", "--config-file", folder / "etc" / "keystone.conf"),
            *("bootstrap", "--bootstrap-region-id", plan.regions[0]),
        ],
        env={**os.environ, **env, MARK: str(folder), "OS_BOOTSTRAP_PASSWORD": state.passwords["admin"]},
        log=folder / "log" / "bootstrap.out",
    )


def catalogue(database: Database, state: State, plan: SitePlan) -> None:
    """Regions, services and endpoints as they are now: ports may have changed since the last start."""
    lines = ["USE keystone", "SET foreign_key_checks=0", "DELETE FROM endpoint", "DELETE FROM service"]
    lines.append("DELETE FROM region")
    for region in plan.regions:
        lines.append(f"INSERT IGNORE INTO region (id, description, extra) VALUES ({_quote(region)}, '', '{{}}')")
    for service, kind, path in ENDPOINTS:
        id_ = hashlib.md5(kind.encode(), usedforsecurity=False).hexdigest()
        lines.append(
            "INSERT INTO service (id, type, enabled, extra) VALUES "
            f"('{id_}', '{kind}', 1, '{{\"name\": \"{service}\"}}')"
        )
        url = f"http://127.0.0.1:{state.port(service)}{path}"
        for region in plan.regions:
            for interface in ("public", "internal", "admin"):
                key = hashlib.md5(f"{kind} {region} {interface}".encode(), usedforsecurity=False).hexdigest()
                lines.append(
                    "INSERT INTO endpoint (id, interface, service_id, url, extra, enabled, region_id) VALUES "
                    f"('{key}', '{interface}', '{id_}', '{url}', '{{}}', 1, {_quote(region)})"
                )
    # Keystone's middleware answers 401 to service tokens without this role.
    lines.append(
        "INSERT IGNORE INTO assignment (type, actor_id, target_id, role_id, inherited) "
        "SELECT 'UserProject', u.user_id, p.id, r.id, 0 FROM local_user u, project p, role r "
        "WHERE u.name = 'admin' AND p.name = 'admin' AND r.name = 'service'"
    )
    database.sql(";\n".join(lines))


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
