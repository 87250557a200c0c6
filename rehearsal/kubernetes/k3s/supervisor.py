"""The part of k3s's supervisor that scripts on a server call: /ping, /cacerts and a new token.

k3s serves it on 6443 beside the Kubernetes API. Here kube-apiserver has 6443 on every address, and this server has it
on the loopback address, which goes before. There, Kubernetes' clients are passed on to kube-apiserver unread: they are
in Go, or offer ALPN in their TLS greeting. A plain client on OpenSSL, such as Python's, is answered here.
"""

import base64
import http.server
import json
import select
import socket
import socketserver
import ssl
import struct
from collections.abc import Iterator

from . import log, rotation, tokens
from .config import Config
from .files import CommandError
from .log import Fatal

ADDRESS = ("127.0.0.1", 6443)
ALPN, ENCRYPT_THEN_MAC = 16, 22  # types of extensions; Go offers the second one never, OpenSSL always
GREETING = 16384


def _extensions(hello: bytes) -> Iterator[int]:
    """Types of the extensions in a TLS ClientHello, whose record header comes first."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]  # session
    at += 2 + struct.unpack_from("!H", hello, at)[0]  # ciphers
    at += 1 + hello[at]  # compression
    end = at + 2 + struct.unpack_from("!H", hello, at)[0]
    at += 2
    while at + 4 <= min(end, len(hello)):
        kind, length = struct.unpack_from("!HH", hello, at)
        yield kind
        at += 4 + length


def from_script(hello: bytes) -> bool:
    """Whether a TLS greeting is that of a plain client on OpenSSL, and not of a client of Kubernetes."""
    try:
        found = set(_extensions(hello)) if hello[0] == 0x16 else set()
    except (IndexError, struct.error):
        return False
    return ENCRYPT_THEN_MAC in found and ALPN not in found


def peek(connection: socket.socket) -> bytes:
    """A TLS greeting, left in the socket; what came within 5 seconds if it is not whole."""
    connection.settimeout(5)
    data = b""
    for _ in range(50):
        data = connection.recv(GREETING, socket.MSG_PEEK)
        whole = len(data) >= 5 and len(data) >= 5 + struct.unpack_from("!H", data, 3)[0]
        if not data or whole or len(data) == GREETING:
            break
        select.select([], [], [], 0.1)
    connection.settimeout(None)
    return data


def pipe(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until both sides have ended."""
    peers = {one: other, other: one}
    while peers:
        for ready in select.select(list(peers), [], [])[0]:
            data = ready.recv(65536)
            if data:
                peers[ready].sendall(data)
            else:
                peers.pop(ready).shutdown(socket.SHUT_WR)


class Requests(http.server.BaseHTTPRequestHandler):
    """Answers of the supervisor."""

    config: Config

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing: every script's call would be in the journal."""

    def _answer(self, status: int, text: str = "", kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """/ping and /cacerts."""
        if self.path == "/ping":
            self._answer(200, "pong")
        elif self.path == "/cacerts":
            self._answer(200, (self.config.paths.tls / "server-ca.crt").read_text())
        else:
            self._answer(404, "not found\n")

    def _old_token(self) -> str:
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        try:
            user, _, secret = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return ""
        return secret if kind == "Basic" and user == "server" else ""

    def do_PUT(self) -> None:
        """/v1-k3s/token, with user server and the present token."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", "0")), 65536))
        old = self._old_token()
        if self.path != "/v1-k3s/token":
            self._answer(404, "not found\n")
            return
        stored = tokens.parse(self.config.paths.token.read_text().strip())
        if not old or old != stored.secret:
            self._answer(401, "Unauthorized\n")
            return
        try:
            new = str(json.loads(body).get("newToken") or "")
            rotation.rotate(self.config, old, tokens.parse(new).secret if new else "")
        except ValueError:
            self._answer(400, "the body has to be JSON\n")
        except (Fatal, CommandError, OSError) as failure:
            log.error(f"Sending HTTP 500 response to token request: {failure}")
            self._answer(500, "token rotation failed, see the server's log\n")
        else:
            self._answer(200)


class Supervisor(socketserver.ThreadingTCPServer):
    """Listens on the loopback address."""

    daemon_threads = True
    allow_reuse_address = True
    allow_reuse_port = True

    def __init__(self, config: Config) -> None:
        """Raises OSError if the port is taken."""
        self.upstream = (config.ip, ADDRESS[1])
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate = config.paths.tls / "serving-kube-apiserver.crt"
        self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.answers = type("Answers", (Requests,), {"config": config})
        super().__init__(ADDRESS, socketserver.BaseRequestHandler)

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Pass a connection on, or answer it."""
        if not isinstance(request, socket.socket):
            return
        try:
            if from_script(peek(request)):
                with self.context.wrap_socket(request, server_side=True) as secured:
                    self.answers(secured, client_address, self)
            else:
                with socket.create_connection(self.upstream, timeout=5) as upstream:
                    upstream.settimeout(None)
                    pipe(request, upstream)
        except OSError:
            pass  # the client went away, or kube-apiserver is not there: the client sees a closed connection
