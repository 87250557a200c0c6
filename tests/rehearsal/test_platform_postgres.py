"""PostgreSQL as an application has it: its own database only, by a password that can be renewed."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from mlops.postgres import spec
from tests.rehearsal.cluster import Kubectl, until
from tests.rehearsal.services import Platform

SPACE, APP = "postgres", "probe"


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


def test_a_new_password_reaches_the_user_by_its_secret_and_ends_the_old_one(probe: Kubectl) -> None:
    """That is all that `rotation` has to change."""
    apply(probe, login("second"))
    until("the new password", lambda: sql(probe, "select 1", APP, "second") == "1", 30)
    assert "password authentication failed" in sql(probe, "select 1", APP, "first")
    found = probe.get("secret", f"{APP}-login", "-n", SPACE)["data"]["password"]
    assert base64.b64decode(found) == b"second"
