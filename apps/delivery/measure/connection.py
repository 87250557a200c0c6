"""One request at a time over a kept connection, with a bound on the whole of it.

`http.client` bounds each read only: a server that sends one byte every few seconds would hold a request for ever. Here
every read of an answer gets what is left of the request's time. Not bounded as a whole are the look-up of a host's
name, which the system bounds, and a TLS handshake, of which each read is. Unlike `urllib`, it knows of no proxies and
follows no redirects.
"""

import io
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from socket import socket
from typing import Any
from urllib.parse import urlsplit

LARGEST = 64 << 10
"""Bytes of an answer; a longer one is no answer."""
IDLE_SECONDS = 1.0
"""A connection that rested longer is not used again: many servers end such ones after 2 to 5 s, and a request that
meets the end would look like a failure of the server."""


@dataclass(frozen=True)
class Server:
    """Where requests go."""

    url: str
    """Scheme, host and port, such as https://staging.example.org:8443."""
    ca: str | None = None
    """File of the authorities to trust; those of the system if there is none."""

    def __post_init__(self) -> None:
        """Refuse what is no server."""
        parts = urlsplit(self.url)
        # The port is read because reading it is what checks it.
        whole = parts.hostname and parts.port != 0 and parts.path in {"", "/"} and "@" not in parts.netloc
        if parts.scheme not in {"http", "https"} or not whole or parts.query or parts.fragment:
            raise ValueError(f"url = {self.url}: must be http:// or https://, a host and maybe a port, nothing else")

    @classmethod
    def at(cls, address: str, port: int) -> "Server":
        """A pod by its address, of either family."""
        return cls(f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}")


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int | None
    """None where no whole answer came."""
    body: str
    ms: float
    """From the beginning, with the time for a connection where one was needed, to the last byte or the failure."""
    problem: str = ""
    """Why there is no answer."""


def trust(server: Server) -> ssl.SSLContext | None:
    """What checks a server's certificate. Making it costs milliseconds: make it once for many connections."""
    return ssl.create_default_context(cafile=server.ca) if urlsplit(server.url).scheme == "https" else None


class _BoundedReads(io.RawIOBase):
    """Reads of a socket, each within what is left of a time."""

    def __init__(self, raw: io.RawIOBase, sock: socket, left: Callable[[], float]) -> None:
        self._raw = raw
        self._sock = sock
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left())
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


def _bounded(left: Callable[[], float]) -> type[HTTPResponse]:
    """The class of answers that are read within a time, head and body."""

    class Bounded(HTTPResponse):
        def __init__(self, sock: socket, *args: Any, **named: Any) -> None:
            super().__init__(sock, *args, **named)
            self.fp = io.BufferedReader(_BoundedReads(self.fp.detach(), sock, left))

    return Bounded


class Connection:
    """Asks one server, one request after the other; for one thread."""

    def __init__(self, server: Server, trusted: ssl.SSLContext | None = None) -> None:
        """Connect at the first request; `trusted` is what `trust` made for this server."""
        parts = urlsplit(server.url)
        host = str(parts.hostname)
        if parts.scheme == "https":
            self._line: HTTPConnection = HTTPSConnection(host, parts.port, context=trusted or trust(server))
        else:
            self._line = HTTPConnection(host, parts.port)
        self._line.response_class = _bounded(self._left)
        self._until = self._rested_since = 0.0

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        return left

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        largest: int = LARGEST,
    ) -> Reply:
        """What came back within so many seconds. Never tried again: that would hide a failure."""
        began = time.monotonic()
        self._until = began + seconds
        if began - self._rested_since > IDLE_SECONDS:
            self.close()
        try:
            status, text = self._answer(method, path, body, headers or {}, largest)
        except (OSError, HTTPException) as problem:
            self.close()
            cause = "it took too long" if isinstance(problem, TimeoutError) else str(problem)
            return Reply(None, "", _ms(began), cause or type(problem).__name__)
        self._rested_since = time.monotonic()
        return Reply(status, text, _ms(began))

    def _answer(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], largest: int
    ) -> tuple[int, str]:
        line = self._line
        line.timeout = self._left()
        if line.sock is None:
            line.connect()
        line.sock.settimeout(self._left())
        line.request(method, path, body, dict(headers))
        with line.getresponse() as response:
            read = response.read(largest + 1)
            if len(read) > largest:
                raise HTTPException(f"the answer is longer than {largest:,} bytes")
            if response.length:
                raise HTTPException(f"the answer broke off {response.length:,} bytes before its end")
        return response.status, read.decode(errors="replace")

    def close(self) -> None:
        """End the connection; the next request makes another one."""
        self._line.close()


def _ms(began: float) -> float:
    return round(1000 * (time.monotonic() - began), 3)
