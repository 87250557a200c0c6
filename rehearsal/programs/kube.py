"""A client of the Kubernetes API for pods, with Python's standard library alone."""

import http.client
import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CNPG, BARMAN, ARGO = "postgresql.cnpg.io/v1", "barmancloud.cnpg.io/v1", "argoproj.io/v1alpha1"
CLUSTER = "cnpg.io/cluster"
ROLE = "cnpg.io/instanceRole"
INSTANCE = "cnpg.io/instanceName"
TIMEOUT = 15.0
PATIENCE = 20
"""How often the API is asked again, once a second, while it says that there are too many: it takes in definitions."""
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
Object = dict[str, Any]


class ApiError(Exception):
    """The API refused, or did not answer."""

    def __init__(self, status: int, text: str) -> None:
        """A status of 0: no answer."""
        super().__init__(f"HTTP {status}: {text[:400]}")
        self.status = status


def own_space() -> str:
    """The namespace of this pod."""
    return (ACCOUNT / "namespace").read_text()


class Api:
    """The API as an account may use it: this pod's, or whose token is given.

    Each thread has a connection, which stays open: some programs ask every second, and a handshake costs both sides
    more than the answer.
    """

    def __init__(self, token: str = "") -> None:
        """By the address that every pod has."""
        self._token = token
        self._address = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        self._trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        self._threads = threading.local()

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Object:
        """One request. Raises ApiError."""
        found: Object = json.loads(self._asked(method, path, body, kind) or b"{}")
        return found

    def text(self, path: str) -> str:
        """What is no object, such as a log. Raises ApiError."""
        return self._asked("GET", path, None, "application/json").decode()

    def _asked(self, method: str, path: str, body: Any, kind: str) -> bytes:
        for _ in range(PATIENCE):
            status, content = self._sent(method, path, body, kind)
            if status != HTTPStatus.TOO_MANY_REQUESTS:
                break
            time.sleep(1.0)
        if status >= HTTPStatus.BAD_REQUEST:
            raise ApiError(status, content.decode(errors="replace"))
        return content

    def _sent(self, method: str, path: str, body: Any, kind: str) -> tuple[int, bytes]:
        # The token is read each time: the kubelet renews it.
        token = self._token or (ACCOUNT / "token").read_text()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
        data = None if body is None else json.dumps(body).encode()
        while True:
            kept = getattr(self._threads, "connection", None)
            connection = kept or http.client.HTTPSConnection(*self._address, timeout=TIMEOUT, context=self._trust)
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._threads.connection = None
                # A server may close what was kept open; whether a new one is refused is told.
                if kept is None:
                    raise ApiError(0, str(error) or type(error).__name__) from error
            else:
                self._threads.connection = connection
                return answer.status, content

    def get(self, path: str) -> Object | None:
        """An object; None where there is none."""
        try:
            return self.call("GET", path)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, path: str) -> list[Object]:
        """The items of a collection; of a kind that is not known, none."""
        return list((self.get(path) or {}).get("items") or [])

    def create(self, path: str, item: Object) -> bool:
        """Make an object; False where it is there."""
        try:
            self.call("POST", path, item)
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise
        return True

    def apply(self, path: str, item: Object) -> None:
        """Make an object, or make it as it should be."""
        self.call("PATCH", f"{path}?fieldManager=stand-in&force=true", item, APPLY)

    def merge(self, path: str, change: Object) -> Object:
        """Change parts of an object."""
        return self.call("PATCH", path, change, MERGE)

    def status(self, path: str, status: Object) -> None:
        """Change parts of an object's status."""
        self.merge(f"{path}/status", {"status": status})

    def delete(self, path: str, seconds: int | None = None) -> None:
        """Remove an object; it may be gone."""
        options = {} if seconds is None else {"gracePeriodSeconds": seconds}
        try:
            self.call("DELETE", path, options)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
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


def forever(what: str, seconds: float, step: Callable[[], None]) -> None:
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
