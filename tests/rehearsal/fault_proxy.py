"""A proxy in front of OpenStack services or an API server that answers with faults, by rule, and records every call.

A program reaches it as it reaches any cloud, by `auth_url` in clouds.yaml: the proxy stands in front of Keystone,
and rewrites the addresses of the service catalogue and of every other answer to its own. It reaches an API server by
the `server` of a kubeconfig; the proxy has that one's certificate.
"""

import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Self

import yaml

HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "accept-encoding"})
"""Headers that belong to one connection; and compression, which would hide the addresses in a body."""
ID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|(?<=\.v)\d+")
"""Digests, UUIDs, and the numbers in the names of helm's records."""
UPSTREAM_SECONDS = 300.0


@dataclass(frozen=True)
class Fault:
    """What is answered instead of, or on the way of, the truth."""

    name: str
    status: int = 0
    """Answered without asking the service; 0: none."""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    message: str = "made by the fault proxy"
    reached: bool = False
    """Whether the service carries the request out before the connection is reset."""
    reset: bool = False
    stall: float = 0.0
    """Seconds for which the service's answer is held back."""
    drip: float = 0.0
    """Seconds over which the body is sent, byte by byte at first."""


def faults(stall: float = 60.0, drip: float = 10.0) -> dict[str, Fault]:
    """Every fault, by name; tests scale the seconds down."""
    found = [
        Fault("408", 408),
        Fault("409", 409),
        Fault("409 in use", 409, message="the object is in use"),
        Fault("429", 429),
        Fault("429 Retry-After", 429, {"Retry-After": "1"}),
        Fault("500", 500),
        Fault("502", 502),
        Fault("503", 503),
        Fault("504", 504),
        Fault("reset before", reset=True),
        Fault("reset after", reset=True, reached=True),
        Fault("stall", stall=stall),
        Fault("slow body", drip=drip),
    ]
    return {fault.name: fault for fault in found}


def common(stall: float, drip: float) -> dict[str, Fault]:
    """Those that any service may answer with: without the one that is in OpenStack's words."""
    return {name: fault for name, fault in faults(stall, drip).items() if name != "409 in use"}


@dataclass
class Rule:
    """A fault for one kind of call: from the `nth` one on (the first is 1), so many `times`."""

    call: str
    """As `Proxy.calls` names it: `POST neutron /v2.0/ports`."""
    fault: Fault
    nth: int = 1
    times: int = 1
    seen: int = 0
    struck: int = 0

    def strikes(self, call: str) -> bool:
        """Count a call, and say whether it is to fail."""
        if call != self.call:
            return False
        self.seen += 1
        hit = self.nth <= self.seen < self.nth + self.times
        self.struck += hit
        return hit


def kind(method: str, service: str, path: str) -> str:
    """Name a call by method, service and path; ids are replaced, and what a query asks for is left out."""
    return f"{method} {service} {ID.sub('{id}', path.partition('?')[0])}"


def whole_kind(method: str, service: str, path: str) -> str:
    """The same with the names of what a query asks for, which is what tells calls of S3 apart."""
    words = sorted(word.partition("=")[0] for word in path.partition("?")[2].split("&") if word)
    return kind(method, service, path) + (f"?{','.join(words)}" if words else "")


Says = Callable[[Fault], object]


def _openstack(fault: Fault) -> object:
    return {"error": {"code": fault.status, "message": fault.message}}


@dataclass(frozen=True)
class Tls:
    """A certificate for 127.0.0.1 and its key: the service's own, which the proxy shows too."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """Of the proxy as its clients see it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """Of the proxy before the service."""
        return ssl.create_default_context(cafile=str(self.certificate))


class Proxy:
    """Listens on a free port of 127.0.0.1; every service has a path of its own below it."""

    kind = staticmethod(kind)

    def __init__(self, ports: Mapping[str, int], tls: Tls | None = None, says: Says = _openstack) -> None:
        """Stand before services that listen on these ports of 127.0.0.1; `says`: the body of an answer with a fault."""
        self.ports, self.says = dict(ports), says
        self.rules: list[Rule] = []
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        scheme, self._upstream = "http", None
        if tls:
            scheme, self._upstream = "https", tls.client()
            self._server.socket = tls.server().wrap_socket(self._server.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[Self]:
        """Answer until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def led(self, path: str) -> tuple[str, str]:
        """The service that a path asks, and what of the path is the service's."""
        service, _, rest = path.lstrip("/").partition("/")
        return service, f"/{rest}"

    def passed(self, headers: Message) -> dict[str, str]:
        """What a service gets of a request's headers."""
        return {key: value for key, value in headers.items() if key.lower() not in HOP}

    def connect(self, service: str) -> HTTPConnection:
        """A new connection to the service itself."""
        port = self.ports[service]
        if self._upstream is None:
            return HTTPConnection("127.0.0.1", port, timeout=UPSTREAM_SECONDS)
        return HTTPSConnection("127.0.0.1", port, timeout=UPSTREAM_SECONDS, context=self._upstream)

    def begin(self, *rules: Rule) -> None:
        """Forget what was recorded, and follow these rules from now on."""
        with self._lock:
            self.rules, self.calls = list(rules), Counter()

    def fault(self, call: str) -> Fault | None:
        """Record a call; the fault that it meets, if any."""
        with self._lock:
            self.calls[call] += 1
            hits = [rule.fault for rule in self.rules if rule.strikes(call)]
        return hits[0] if hits else None

    def rewrite(self, body: bytes) -> bytes:
        """Lead the addresses in an answer through the proxy."""
        for service, port in self.ports.items():
            body = body.replace(f"http://127.0.0.1:{port}".encode(), f"{self.url}/{service}".encode())
        return body

    def clouds_yaml(self, original: Path, copy: Path) -> Path:
        """Write a copy of a clouds.yaml that leads through the proxy."""
        copy.touch(mode=0o600)
        text = self.rewrite(original.read_bytes())
        yaml.safe_load(text)
        copy.write_bytes(text)
        return copy


class RootProxy(Proxy):
    """Of one service, whose paths are its own. It is told the name by which it was asked: S3's signatures hold it."""

    kind = staticmethod(whole_kind)

    def __init__(self, service: str, port: int, says: Says = _openstack) -> None:
        """Stand before it."""
        super().__init__({service: port}, says=says)
        self._service = service

    def led(self, path: str) -> tuple[str, str]:
        """All lead to it."""
        return self._service, path

    def passed(self, headers: Message) -> dict[str, str]:
        """With the name."""
        return {**super().passed(headers), "Host": str(headers["Host"])}

    def rewrite(self, body: bytes) -> bytes:
        """It tells no addresses but those that it was asked by."""
        return body


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        log_message: ClassVar[Callable[..., None]] = lambda *_: None

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # the client gave up
                self.close_connection = True

        def _do(self) -> None:
            service, path = proxy.led(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if service not in proxy.ports:
                self._answer(404, {}, b"no such service")
                return
            fault = proxy.fault(proxy.kind(self.command, service, path))
            if fault is None:
                self._answer(*self._forward(service, path, body))
            else:
                self._fail(fault, service, path, body)

        def _fail(self, fault: Fault, service: str, path: str, body: bytes) -> None:
            if fault.status:
                text = json.dumps(proxy.says(fault)).encode()
                self._answer(fault.status, {"Content-Type": "application/json", **fault.headers}, text)
                return
            if fault.reset:
                if fault.reached:
                    self._forward(service, path, body)
                # Lingering for no time makes the kernel send a reset; the server itself would end in order first.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
                self.close_connection = True
                return
            answer = self._forward(service, path, body)
            time.sleep(fault.stall)
            self._answer(*answer, drip=fault.drip)

        def _forward(self, service: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
            upstream = proxy.connect(service)
            try:
                upstream.request(self.command, path, body or None, proxy.passed(self.headers))
                answer = upstream.getresponse()
                text = proxy.rewrite(answer.read())
                kept = {key: value for key, value in answer.getheaders() if key.lower() not in HOP}
                found = {key: proxy.rewrite(value.encode()).decode() for key, value in kept.items()}
                if self.command == "HEAD":  # of what it would be
                    found["Content-Length"] = answer.getheader("Content-Length", "0")
                return answer.status, found, text
            except (OSError, HTTPException) as error:
                return 502, {}, str(error).encode()
            finally:
                upstream.close()

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes, drip: float = 0.0) -> None:
            self.send_response_only(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD" or status == 204:
                return
            if drip:
                for byte in range(min(len(body), 10)):
                    self.wfile.write(body[byte : byte + 1])
                    time.sleep(drip / 10)
                body = body[10:]
            self.wfile.write(body)

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._do)
    return Handler
