"""A client of the Kubernetes API for pods, with Python's standard library alone."""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CNPG, BARMAN = "postgresql.cnpg.io/v1", "barmancloud.cnpg.io/v1"
CLUSTER = "cnpg.io/cluster"
ROLE = "cnpg.io/instanceRole"
INSTANCE = "cnpg.io/instanceName"
TIMEOUT = 15.0
BUSY, PATIENCE = 429, 20
"""The API says it while a new definition is being taken in; how often it is asked again, once a second."""
Object = dict[str, Any]


class ApiError(Exception):
    """The API refused, or did not answer."""

    def __init__(self, status: int, text: str) -> None:
        """A status of 0: no answer."""
        super().__init__(f"HTTP {status}: {text[:400]}")
        self.status = status


class Api:
    """The API as this pod's account may use it."""

    def __init__(self) -> None:
        """By the address and the token that every pod has."""
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        self._base = f"https://{host}:{port}"
        self._trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        """One request. Raises ApiError."""
        headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": kind}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base}{path}", data, headers, method=method)  # noqa: S310  the API
        for _ in range(PATIENCE):
            try:
                return self._sent(request)
            except ApiError as error:
                if error.status != BUSY:
                    raise
            time.sleep(1.0)
        return self._sent(request)

    def _sent(self, request: urllib.request.Request) -> Object:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT, context=self._trust) as answer:  # noqa: S310  the API
                found: Object = json.loads(answer.read() or b"{}")
                return found
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")) from error
        except OSError as error:
            raise ApiError(0, str(error)) from error

    def get(self, path: str) -> Object | None:
        """An object; None where there is none."""
        try:
            return self.call("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, path: str) -> list[Object]:
        """The items of a collection."""
        return list(self.call("GET", path).get("items") or [])

    def create(self, path: str, item: Object) -> bool:
        """Make an object; False where it is there."""
        try:
            self.call("POST", path, item)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    def merge(self, path: str, change: Object) -> Object:
        """Change parts of an object."""
        return self.call("PATCH", path, change, "application/merge-patch+json")

    def status(self, path: str, status: Object) -> None:
        """Change parts of an object's status."""
        self.merge(f"{path}/status", {"status": status})

    def delete(self, path: str, seconds: int | None = None) -> None:
        """Remove an object; it may be gone."""
        options = {} if seconds is None else {"gracePeriodSeconds": seconds}
        try:
            self.call("DELETE", path, options)
        except ApiError as error:
            if error.status != 404:
                raise


def core(space: str, kind: str, name: str = "") -> str:
    """Path of an object of the core group."""
    return f"/api/v1/namespaces/{space}/{kind}" + (f"/{name}" if name else "")


def custom(space: str, kind: str, name: str = "", version: str = CNPG) -> str:
    """Path of an object of another group."""
    return f"/apis/{version}/namespaces/{space}/{kind}" + (f"/{name}" if name else "")


def now() -> str:
    """The time, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(type_: str, *, holds: bool, reason: str, message: str) -> Object:
    """An entry of a status' conditions."""
    status = "True" if holds else "False"
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": now()}


def with_condition(status: Object, new: Object) -> list[Object]:
    """A status' conditions with one of them replaced; its time stays while its status does."""
    old = status.get("conditions") or []
    for entry in old:
        if entry["type"] == new["type"] and entry["status"] == new["status"]:
            new = {**new, "lastTransitionTime": entry.get("lastTransitionTime", new["lastTransitionTime"])}
    return [entry for entry in old if entry["type"] != new["type"]] + [new]


def say(text: str) -> None:
    """One line of log."""
    print(f"{now()} {text}", flush=True)


def forever(what: str, seconds: float, step: Any) -> None:
    """Do something again and again. What fails is logged once for each new reason, and tried again."""
    last = ""
    while True:
        try:
            step()
            last = ""
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if text != last:
                say(f"{what}: {text}")
            last = text
            sys.stdout.flush()
        time.sleep(seconds)
