"""Users and databases of the running primary, brought to what their objects ask for."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2
from psycopg2 import sql

from rehearsal.programs.kube import Api, Object, core, custom, say
from rehearsal.programs.postgres import known
from rehearsal.programs.postgres.settings import REPLICATION, RUN


@contextmanager
def cursor() -> Iterator[Any]:
    """A cursor of the superuser, through the socket. It waits for no standby: their user comes first."""
    link = psycopg2.connect(
        host=RUN, user="postgres", dbname="postgres", connect_timeout=3, options="-c synchronous_commit=local"
    )
    try:
        link.autocommit = True
        with link.cursor() as opened:
            yield opened
    finally:
        link.close()


class Contents:
    """Keeps them so; what was applied is remembered, so that nothing is asked twice."""

    def __init__(self, api: Api, space: str, cluster: str) -> None:
        """`cluster` is the object's name."""
        self._api, self._space, self._cluster = api, space, cluster
        self._applied: dict[str, str] = {}

    def _mine(self, kind: str) -> list[Object]:
        found = self._api.list(custom(self._space, kind))
        return [item for item in found if item["spec"]["cluster"]["name"] == self._cluster]

    def reconcile(self) -> None:
        """Everything once."""
        with cursor() as opened:
            self._replication(opened)
            for item in self._mine("databaseroles"):
                self._each("databaseroles", item, known.ROLE, partial(self._role, opened, item))
            for item in self._mine("databases"):
                self._each("databases", item, known.DATABASE, partial(self._database, opened, item))

    def _each(self, kind: str, item: Object, fields: Any, act: Callable[[], Object]) -> None:
        path = custom(self._space, kind, item["metadata"]["name"])
        status: Object = {"observedGeneration": item["metadata"]["generation"]}
        refused = known.refusal(item["spec"], fields)
        try:
            if refused:
                raise ValueError(refused)
            extra = act()
            status |= {"applied": True, "message": None, **extra}
        except (ValueError, LookupError, psycopg2.Error) as error:
            status |= {"applied": False, "message": f"{type(error).__name__}: {str(error).strip()}"[:300]}
        old = item.get("status") or {}
        if any(old.get(name) != value for name, value in status.items()):
            self._api.status(path, status)

    def secret(self, name: str) -> tuple[str, str]:
        """The password in a Secret, and the Secret's version. Raises LookupError."""
        found = self._api.get(core(self._space, "secrets", name))
        if found is None:
            raise LookupError(f"there is no Secret {name}")
        return base64.b64decode(found["data"]["password"]).decode(), found["metadata"]["resourceVersion"]

    def _replication(self, cursor: Any) -> None:
        secret, version = self.secret(f"{self._cluster}-replication")
        self._user(cursor, REPLICATION, secret, version, "login replication")

    def _role(self, cursor: Any, item: Object) -> Object:
        spec = item["spec"]
        secret, version = self.secret(spec["passwordSecret"]["name"])
        self._user(cursor, spec["name"], secret, version, "login" if spec.get("login") else "nologin")
        return {"secretResourceVersion": version}

    def _user(self, cursor: Any, name: str, password: str, version: str, attributes: str) -> None:
        cursor.execute("select 1 from pg_roles where rolname = %s", [name])
        there = cursor.fetchone() is not None
        if there and self._applied.get(name) == version:
            return
        # The statement has the password in it: it is not logged, whatever happens.
        cursor.execute("set log_min_error_statement = panic; set log_min_duration_statement = -1")
        verb = sql.SQL("alter" if there else "create")
        words = sql.SQL("{} role {} " + attributes + " password {}")
        cursor.execute(words.format(verb, sql.Identifier(name), sql.Literal(password)))
        self._applied[name] = version
        say(f"done: {'changed' if there else 'made'} user {name}")

    def _database(self, cursor: Any, item: Object) -> Object:
        spec = item["spec"]
        cursor.execute(
            "select rolname from pg_database join pg_roles on pg_roles.oid = datdba where datname = %s", [spec["name"]]
        )
        owner = cursor.fetchone()
        name, wanted = sql.Identifier(spec["name"]), sql.Identifier(spec["owner"])
        if owner is None:
            cursor.execute(sql.SQL("create database {} owner {}").format(name, wanted))
            say(f"done: made database {spec['name']}")
        elif owner[0] != spec["owner"]:
            cursor.execute(sql.SQL("alter database {} owner to {}").format(name, wanted))
        return {}
