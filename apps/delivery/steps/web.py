"""One HTTP request on a connection of its own: bounded, without proxies or redirects, which would get the login."""

import base64
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..repository import Login

BODY = 4 * 1024 * 1024
"""Bytes of an answer that are read."""


class WebError(RuntimeError):
    """No answer, or none that can be read."""


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    body: bytes

    def object(self) -> Mapping[str, Any]:
        """The body as a JSON object, or WebError."""
        try:
            data = json.loads(self.body)
        except ValueError as problem:
            raise WebError(f"answered {self.status} and no JSON: {self.body[:80]!r}") from problem
        if not isinstance(data, dict):
            raise WebError(f"answered {self.status} and no JSON object: {self.body[:80]!r}")
        return data


@dataclass(frozen=True)
class Peer:
    """A server."""

    url: str
    login: Login | None = None
    authority: str | None = None
    seconds: float = 10

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self.authority)
            return http.client.HTTPSConnection(host, parts.port, timeout=self.seconds, context=context)
        return http.client.HTTPConnection(host, parts.port, timeout=self.seconds)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Connection": "close"}
        if self.login is not None:
            token = Path(self.login.token).read_text().partition("\n")[0]
            both = base64.b64encode(f"{self.login.user}:{token}".encode()).decode()
            headers["Authorization"] = f"Basic {both}"
        return headers

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        """Send a request, or WebError."""
        headers = self._headers()
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, urlsplit(self.url).path.rstrip("/") + path, data, headers)
            return self._read(connection.getresponse())
        except (OSError, http.client.HTTPException) as problem:
            raise WebError(f"{type(problem).__name__}: {problem}") from problem
        finally:
            connection.close()

    def _read(self, response: http.client.HTTPResponse) -> Reply:
        """The answer; a server that sends a byte at a time is not waited for."""
        end, read = time.monotonic() + self.seconds, b""
        while part := response.read1(65536):
            read += part
            if len(read) > BODY:
                raise WebError(f"answered more than {BODY:,} bytes")
            if time.monotonic() > end:
                raise WebError(f"did not end its answer within {self.seconds:g} s")
        return Reply(response.status, read)
