"""A small HTTP server for stand-ins: a table of answers, and metrics and health beside it."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIMIT = 4 << 20
Object = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str:
        """The bearer token; "" where there is none."""
        scheme, _, token = str(self.headers.get("Authorization") or "").partition(" ")
        return token if scheme.lower() == "bearer" else ""


@dataclass(frozen=True)
class Answer:
    """What it is told."""

    status: int
    body: Any = None
    """Text, or what becomes JSON."""

    @property
    def content(self) -> tuple[str, bytes]:
        """Type and bytes."""
        if isinstance(self.body, str):
            page = self.body.lstrip().startswith("<")
            return ("text/html" if page else "text/plain; version=0.0.4"), self.body.encode()
        return "application/json", json.dumps(self.body if self.body is not None else {}).encode()


Handle = Callable[[Request], Answer]


def _handler(handle: Handle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def answer(self) -> None:
            written = str(self.headers.get("Content-Length") or 0)
            # What says nothing of its length is not read: it could be without end.
            size = int(written) if written.isdecimal() and not self.headers.get("Transfer-Encoding") else LIMIT + 1
            if size > LIMIT:
                answer = Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large\n")
                self.close_connection = True
            else:
                request = Request(self.command, self.path.partition("?")[0], self.headers, self.rfile.read(size))  # type: ignore[arg-type]
                answer = handle(request)
            kind, content = answer.content
            self.send_response(answer.status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815  the base class' names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class' name
            """Requests are not logged: they may carry tokens."""

    return Handler


def serve(port: int, handle: Handle, *, wait: bool = True) -> None:
    """Answer requests at a port, in this thread or beside it."""
    server = ThreadingHTTPServer(("", port), _handler(handle))
    server.daemon_threads = True
    if wait:
        server.serve_forever()
    else:
        threading.Thread(target=server.serve_forever, daemon=True).start()


def status_page(metrics: Callable[[], str]) -> Handle:
    """Health and metrics."""

    def handle(request: Request) -> Answer:
        if request.path == "/metrics":
            return Answer(HTTPStatus.OK, metrics())
        known = request.path in ("/healthz", "/readyz")
        return Answer(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND, "ok\n" if known else "not found\n")

    return handle
