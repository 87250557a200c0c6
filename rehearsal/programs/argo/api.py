"""A client of the Kubernetes API for pods, with Python's standard library alone."""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
GROUP = "apis/argoproj.io/v1alpha1"
TIMEOUT = 15.0
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
PATIENCE = (0.5, 1.0, 2.0)
Object = dict[str, Any]


class ApiError(Exception):
    """The API refused, or did not answer."""

    def __init__(self, status: int, text: str) -> None:
        """A status of 0: no answer."""
        super().__init__(f"HTTP {status}: {text[:400]}")
        self.status = status


def call(method: str, path: str, body: Any = None, *, kind: str = "application/json", token: str = "") -> bytes:
    """A request, with this pod's token or a given one; again while the API asks for patience. Raises ApiError."""
    for seconds in PATIENCE:
        try:
            return _once(method, path, body, kind, token)
        except ApiError as error:
            if error.status != HTTPStatus.TOO_MANY_REQUESTS:
                raise
            time.sleep(seconds)
    return _once(method, path, body, kind, token)


def _once(method: str, path: str, body: Any, kind: str, token: str) -> bytes:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    headers = {"Authorization": f"Bearer {token or (ACCOUNT / 'token').read_text()}", "Content-Type": kind}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"https://{host}:{port}/{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT, context=trust) as answer:  # noqa: S310  the API
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise ApiError(error.code, error.read().decode(errors="replace")) from error
    except OSError as error:
        raise ApiError(0, str(error)) from error


def get(path: str) -> Object | None:
    """An object; None where there is none."""
    try:
        found: Object = json.loads(call("GET", path))
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
    return found


def items(path: str) -> list[Object]:
    """Those of a collection."""
    return list((get(path) or {}).get("items") or [])


def create(path: str, item: Object) -> bool:
    """Make an object; False where it is there."""
    try:
        call("POST", path, item)
    except ApiError as error:
        if error.status == HTTPStatus.CONFLICT:
            return False
        raise
    return True


def apply(path: str, item: Object) -> None:
    """Make an object, or make it as it should be."""
    call("PATCH", f"{path}?fieldManager=stand-in&force=true", item, kind=APPLY)


def merge(path: str, change: Object) -> None:
    """Change parts of an object."""
    call("PATCH", path, change, kind=MERGE)


def delete(path: str) -> None:
    """Remove an object; it may be gone."""
    try:
        call("DELETE", path, {"propagationPolicy": "Background"})
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def now() -> str:
    """The time, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
