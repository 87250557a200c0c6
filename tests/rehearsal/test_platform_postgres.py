"""PostgreSQL as an application has it: its own database only, kept when the server is killed, and restored."""

import base64
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mlops.postgres import spec
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.services import Platform

SPACE, APP = "postgres", "probe"
WRITER = """
import os, time, psycopg2
login = dict(host="postgres-rw", dbname="probe", user="probe", sslmode="require", connect_timeout=3)
link, number = None, 0
while True:
    try:
        if link is None:
            link = psycopg2.connect(password=open("/login/password").read(), **login)
            link.autocommit = True
        link.cursor().execute("insert into kept (number) values (%s) on conflict do nothing", [number])
    except psycopg2.Error:
        link = None
        time.sleep(0.2)
        continue
    print(time.time(), number, flush=True)
    number += 1
    time.sleep(0.05)
"""
"""An application that tries again; each printed number was acknowledged."""


def item(kind: str, name: str, body: dict[str, Any], version: str = "postgresql.cnpg.io/v1") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": SPACE}, **body}


def login(password: str) -> dict[str, Any]:
    made = item("Secret", f"{APP}-login", {"stringData": {"username": APP, "password": password}}, "v1")
    return {**made, "type": "kubernetes.io/basic-auth"}


def apply(kubectl: Kubectl, *items: dict[str, Any]) -> None:
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}))


def applied(kubectl: Kubectl, kind: str) -> bool:
    return bool(kubectl.get(kind, APP, "-n", SPACE)["status"]["applied"])


def sql(kubectl: Kubectl, query: str, user: str, password: str, *, database: str = "", mode: str = "require") -> str:
    """Ask as an application does, from a pod beside the server; what it says, and its errors too."""
    link = f"host=postgres-rw user={user} dbname={database or user} sslmode={mode} password={password}"
    words = ("exec", "-n", SPACE, "postgres-1", "-c", "postgres", "--", "psql", link, "-Atc", query)
    return kubectl.run(*words, check=False)


def inside(kubectl: Kubectl, pod: str, database: str, query: str) -> str:
    """Ask as the superuser, whom nobody reaches from outside the pod."""
    words = ("exec", "-n", SPACE, pod, "-c", "postgres", "--", "psql", "-h", "/controller/run", "-U", "postgres")
    return kubectl.run(*words, "-d", database, "-Atc", query, check=False)


@pytest.fixture(scope="module")
def probe(platform: Platform) -> Iterator[Kubectl]:
    """An application of the test's own, with a table."""
    kubectl = platform.kubectl
    role, database = spec.role(APP, f"{APP}-login"), spec.database(APP)
    apply(kubectl, login("first"), item("DatabaseRole", APP, {"spec": role}), item("Database", APP, {"spec": database}))
    until("the database", lambda: applied(kubectl, "databaserole") and applied(kubectl, "database"), 30)
    sql(kubectl, "create table kept (number int primary key, made timestamptz default now())", APP, "first")
    yield kubectl
    for kind in ("database", "databaserole", "secret"):
        kubectl.run("delete", kind, APP if kind != "secret" else f"{APP}-login", "-n", SPACE, check=False)
    inside = (
        "exec",
        "-n",
        SPACE,
        "postgres-1",
        "-c",
        "postgres",
        "--",
        "psql",
        "-h",
        "/controller/run",
        "-U",
        "postgres",
    )
    for query in (f"drop database {APP}", f"drop role {APP}"):
        kubectl.run(*inside, "-c", query, check=False)


def test_an_application_reaches_its_own_database_only_and_only_by_tls(platform: Platform, probe: Kubectl) -> None:
    """Its password opens nothing else, and is never sent in clear."""
    assert sql(probe, "select 1", APP, "first") == "1"
    for database in ("mlflow", "mlflow_auth", "argo_workflows", "postgres"):
        assert "pg_hba.conf rejects" in sql(probe, "select 1", APP, "first", database=database)
    assert "pg_hba.conf rejects" in sql(probe, "select 1", APP, "first", mode="disable")
    mlflow = platform.secret(f"{SPACE}/mlflow-login", "password")
    assert "pg_hba.conf rejects" in sql(probe, "select 1", "mlflow", mlflow, database=APP)


def test_no_acknowledged_row_is_lost_when_the_server_is_killed(probe: Kubectl) -> None:
    """An application that connects again goes on within a minute."""
    image = probe.get("pod", "postgres-1", "-n", SPACE)["spec"]["containers"][0]["image"]
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "writer",
        "image": image,
        "command": ["python3", "-c", WRITER],
        "resources": {"limits": {"memory": "128Mi"}},
        "securityContext": security,
        "volumeMounts": [{"name": "login", "mountPath": "/login"}],
    }
    body = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 26, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "login", "secret": {"secretName": f"{APP}-login"}}],
    }
    apply(probe, item("Pod", "writer", {"spec": body}, "v1"))

    def lines() -> list[tuple[float, int]]:
        found = probe.run("logs", "writer", "-n", SPACE).splitlines()
        return [(float(moment), int(number)) for moment, number in (line.split() for line in found)]

    try:
        until("rows", lambda: len(lines()) > 20, 60)
        probe.run("delete", "pod", "postgres-1", "-n", SPACE, "--grace-period=0", "--force")
        before = len(lines())
        until("rows again", lambda: len(lines()) > before + 40, 90)
        written = lines()
    finally:
        probe.run("delete", "pod", "writer", "-n", SPACE, "--grace-period=0", "--force", check=False)
    longest = max(after[0] - earlier[0] for earlier, after in itertools.pairwise(written))
    assert longest <= 60
    until("the server", lambda: sql(probe, "select 1", APP, "first") == "1", 30)
    kept = set(sql(probe, "select number from kept", APP, "first").split())
    assert {str(number) for _, number in written} <= kept


def test_a_restore_has_every_row_that_is_older_than_a_minute(probe: Kubectl) -> None:
    """From the newest base backup and the archived log, into a cluster beside the damaged one."""

    def backed_up() -> bool:
        items = probe.get("backups.postgresql.cnpg.io", "-n", SPACE)["items"]
        return any((one.get("status") or {}).get("phase") == "completed" for one in items)

    until("the first base backup", backed_up, 60)
    sql(probe, "insert into kept (number) values (-1)", APP, "first")
    made = time.monotonic()
    rows = sql(probe, "select count(*), md5(string_agg(number::text, ',' order by number)) from kept", APP, "first")
    time.sleep(max(0.0, made + 2 * spec.ARCHIVE_SECONDS - time.monotonic()))
    current = probe.get("cluster", "postgres", "-n", SPACE)["spec"]
    source = {"name": spec.PLUGIN, "parameters": {"barmanObjectName": "archive", "serverName": "postgres"}}
    drill = {key: current[key] for key in ("imageName", "postgresql", "seccompProfile")}
    drill |= {"instances": 1, "storage": {"size": "1Gi"}, "enablePDB": False, "resources": current["resources"]}
    drill |= {"bootstrap": {"recovery": {"source": "lost"}}, "externalClusters": [{"name": "lost", "plugin": source}]}
    apply(probe, item("Cluster", "drill", {"spec": drill}))
    try:
        started = time.monotonic()
        until("the drill", lambda: probe.get("cluster", "drill", "-n", SPACE)["status"]["readyInstances"] == 1, 120)
        print(f"restored in {time.monotonic() - started:.0f} s")
        query = "select count(*), md5(string_agg(number::text, ',' order by number)) from kept"
        words = (
            "exec",
            "-n",
            SPACE,
            "drill-1",
            "-c",
            "postgres",
            "--",
            "psql",
            "-h",
            "/controller/run",
            "-U",
            "postgres",
        )
        assert probe.run(*words, "-d", APP, "-Atc", query) == rows
    finally:
        probe.run("delete", "cluster", "drill", "-n", SPACE, "--wait=false", check=False)


def test_a_new_password_reaches_the_user_by_its_secret_and_ends_the_old_one(probe: Kubectl) -> None:
    """That is all that `rotation` has to change."""
    apply(probe, login("second"))
    until("the new password", lambda: sql(probe, "select 1", APP, "second") == "1", 30)
    assert "password authentication failed" in sql(probe, "select 1", APP, "first")
    found = probe.get("secret", f"{APP}-login", "-n", SPACE)["data"]["password"]
    assert base64.b64decode(found) == b"second"
