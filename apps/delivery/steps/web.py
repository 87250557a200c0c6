"""One HTTP request with JSON, on a connection of its own: bounded, without proxies or redirects, which would get the
login."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..measure import Connection, Server
from ..releases import RecordError, parsed
from ..repository import Login

BODY = 4 * 1024 * 1024
"""Bytes of an answer that are read."""


class WebError(RuntimeError):
    """No answer, or none that can be read."""


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    body: str

    def object(self) -> Mapping[str, Any]:
        """The body as a JSON object, or WebError."""
        try:
            data = parsed(self.body, "the answer")
        except RecordError as problem:
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
        parts = urlsplit(self.url)
        connection = Connection(Server(f"{parts.scheme}://{parts.netloc}", self.authority))
        whole = parts.path.rstrip("/") + path
        found = connection.ask(method, whole, data, seconds=self.seconds, headers=headers, largest=BODY)
        connection.close()
        if found.status is None:
            raise WebError(f"gave no answer: {found.problem}")
        return Reply(found.status, found.body)
