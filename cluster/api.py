"""A small client of the Kubernetes API, for what no resource of the provider does: to look, and to remove.

It takes every kubeconfig that `existing.usable` lets through: certificates, tokens and credential programs, behind a
proxy or not.
"""

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.contrib.socks import SOCKSProxyManager

from cluster import kubeconfig

Object = dict[str, Any]
CONNECT_SECONDS, ANSWER_SECONDS, PROGRAM_SECONDS = 10.0, 30.0, 60.0
NOT_FOUND, CONFLICT = 404, 409
PASSING = frozenset({None, 408, CONFLICT, 429, 500, 502, 503, 504})
"""Answers, and no answer, after which the same request may have another one a moment later."""
BRIEF = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ApiError(Exception):
    """The API did not answer, or said no. Never a secret."""

    def __init__(self, text: str, status: int | None = None) -> None:
        """Keep the HTTP status; None where there was no answer."""
        super().__init__(text)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether it may go well a moment later."""
        return self.status in PASSING


class Api:
    """One API server."""

    def __init__(self, text: str) -> None:
        """Prepare the connection that a kubeconfig describes; nothing is asked yet."""
        given = kubeconfig.current(text)
        cluster, user = given["cluster"], _user(given["user"])
        self.server = str(cluster["server"]).rstrip("/")
        self._headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
        options: dict[str, Any] = {
            "ssl_context": _tls(cluster, user),
            "server_hostname": cluster.get("tls-server-name"),
            "retries": False,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
        }
        proxy = str(cluster.get("proxy-url") or "")
        if proxy.startswith("socks5"):
            # The name is resolved at the far end, as kubectl does.
            self._pool: urllib3.PoolManager = SOCKSProxyManager(proxy.replace("socks5://", "socks5h://"), **options)
        elif proxy:
            self._pool = urllib3.ProxyManager(proxy, **options)
        else:
            self._pool = urllib3.PoolManager(**options)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        *,
        brief: bool = False,
    ) -> Object:
        """Send one request; returns the answer. `brief`: metadata of a list only. Raises ApiError."""
        accepted = BRIEF if brief else "application/json"
        answer = self._send(method, path + (f"?{urlencode(query)}" if query else ""), body, accepted)
        found = _object(answer.data)
        if answer.status >= 400:
            said = found.get("message") or f"HTTP {answer.status}"
            raise ApiError(f"the API server {self.server} says: {said}", answer.status)
        return found

    def time(self) -> datetime:
        """By the server's clock, in whole seconds. Raises ApiError."""
        return parsedate_to_datetime(self._send("HEAD", "/version").headers["Date"])

    def _send(
        self, method: str, path: str, body: Object | None = None, accepted: str = "application/json"
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Accept": accepted, "Content-Type": "application/json", **self._headers}
        data = None if body is None else json.dumps(body)
        try:
            return self._pool.request(method, f"{self.server}{path}", body=data, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            cause = getattr(error, "reason", None) or error
            raise ApiError(f"the API server {self.server} does not answer ({type(cause).__name__})") from None


def _object(data: bytes) -> Object:
    """The object that was answered; an empty one where it is something else, as what stands before a server may say."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def removed(api: Api, path: str, preconditions: Mapping[str, str]) -> bool:
    """Ask for the deletion of exactly this object; False where it is gone, or another one by now. Raises ApiError."""
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": dict(preconditions)}
    try:
        api.call("DELETE", path, body=options)
    except ApiError as error:
        if error.status in (NOT_FOUND, CONFLICT):
            return False
        raise
    return True


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = _text(cluster.get("certificate-authority-data"))
    try:
        context = ssl.create_default_context(cadata=authority)
        if cluster.get("insecure-skip-tls-verify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        certificate, key = _text(user.get("client-certificate-data")), _text(user.get("client-key-data"))
        if certificate and key:
            with _nameless(certificate) as chain, _nameless(key) as own:
                context.load_cert_chain(chain, own)
    except (ssl.SSLError, ValueError):
        raise ApiError("the kubeconfig has a certificate or key that cannot be read") from None
    return context


@contextmanager
def _nameless(text: str) -> Iterator[str]:
    # OpenSSL reads files only. One without a name is gone with this process even where it is killed.
    with tempfile.TemporaryFile("w+") as file:
        file.write(text)
        file.seek(0)
        yield f"/dev/fd/{file.fileno()}"


def _text(data: str | None) -> str | None:
    return base64.b64decode(data).decode() if data else None


def _user(user: Mapping[str, Any]) -> Mapping[str, Any]:
    """The credential; one that a program hands out is fetched, as kubectl does."""
    program = user.get("exec")
    if not program:
        return user
    request = {"apiVersion": program["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
    extra = {entry["name"]: entry["value"] for entry in program.get("env") or []}
    words = [program["command"], *(program.get("args") or [])]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(request)},
            capture_output=True,
            check=True,
            timeout=PROGRAM_SECONDS,
        )
        status = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise ApiError(f"the kubeconfig's program {words[0]} gave no credential ({type(error).__name__})") from None
    pem = {f"{key}-data": status.get(name) for key, name in _GIVEN.items()}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in pem.items() if text}
    return {"token": status.get("token"), **encoded}


_GIVEN = {"client-certificate": "clientCertificateData", "client-key": "clientKeyData"}
