"""Serve bare repositories by HTTP, by git's own http-backend: `python serve.py RIGHTS ACCOUNTS FOLDER`.

RIGHTS is a JSON file: repository to account to "read" or "write". ACCOUNTS is a folder with one file for each account,
which holds its password. Whoever has no right to a repository is told that there is none. TLS is the ingress's.
"""

import base64
import hmac
import http.server
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, ClassVar
from urllib.parse import parse_qs, urlsplit

PORT = 8000
LARGEST = 512 << 20
"""Bytes of one push."""
CHUNK = 64 << 10
AT_ONCE = 16
"""Requests that git works on; others are asked to come again."""
SECONDS = 300
"""For one request."""
SERVICES = {"git-upload-pack": "read", "git-receive-pack": "write"}
PATH = re.compile(r"/([a-z0-9-]+)\.git/(info/refs|git-upload-pack|git-receive-pack)")
SETTINGS = {
    "http.receivepack": "true",
    "receive.denyDeletes": "false",
    "receive.fsckObjects": "true",
    "receive.maxInputSize": str(LARGEST),
    "core.hooksPath": "/dev/null",
    "gc.auto": "256",
    "uploadpack.allowAnySHA1InWant": "true",
}
LINEAR = {"receive.denyNonFastForwards": "true", "receive.denyDeletes": "true"}
"""Of a repository whose past is evidence: nobody rewrites it."""


@dataclass(frozen=True)
class Repository:
    """One repository, and who may do what."""

    rights: Mapping[str, str]
    linear: bool

    def allows(self, account: str, needed: str) -> bool:
        """Whether an account may read or write; whoever writes also reads."""
        given = self.rights.get(account)
        return given in ("write", needed)


@dataclass(frozen=True)
class Wanted:
    """What a request is about."""

    repository: str
    path: str
    needed: str
    """The right that it needs."""


def wanted(method: str, target: str) -> Wanted | None:
    """What a request is about; None for anything but git's own three kinds of requests."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    found = PATH.fullmatch(parts.path)
    if found is None:
        return None
    repository, action = found.groups()
    if action == "info/refs":
        service = "".join(parse_qs(parts.query).get("service", []))
        known = method == "GET" and service in SERVICES
    else:
        service, known = action, method == "POST"
    return Wanted(repository, parts.path, SERVICES[service]) if known else None


def login(header: str | None) -> tuple[str, str] | None:
    """User and password of a header of basic authentication."""
    kind, _, text = (header or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:  # no base64, no ASCII, or no UTF-8
        return None
    return (user, password) if colon else None


def repositories(text: str) -> dict[str, Repository]:
    """What RIGHTS says."""
    return {name: Repository(item["rights"], item["linear"]) for name, item in json.loads(text).items()}


def prepare(folder: Path, found: Mapping[str, Repository]) -> None:
    """Make what is not there, and set what git must obey."""
    for name, repository in found.items():
        path = folder / f"{name}.git"
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", path], check=True)
        for key, value in {**SETTINGS, **(LINEAR if repository.linear else {})}.items():
            subprocess.run(["git", "-C", path, "config", key, value], check=True)


def number(text: bytes, base: int = 10) -> int:
    """A number of bytes. ValueError where it is none: Python would take signs and underscores, too."""
    if not text.isalnum():
        raise ValueError(f"{text[:32]!r} is no number of bytes")
    return int(text, base)


def chunks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """The content of a body in chunks, as git sends large pushes. ValueError where it is none."""
    while size := number(stream.readline(32).split(b";")[0].strip(), 16):
        while size:
            part = stream.read(min(size, CHUNK))
            if not part:
                raise ValueError("the body ended too early")
            size -= len(part)
            yield part
        stream.readline(8)


def counted(stream: io.BufferedIOBase, length: int) -> Iterator[bytes]:
    """The content of a body of a known length."""
    while length and (part := stream.read(min(length, CHUNK))):
        length -= len(part)
        yield part


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("git was started without its pipes")
    return pipe


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    known: ClassVar[Mapping[str, Repository]]
    accounts: ClassVar[Path]
    folder: ClassVar[Path]
    slots: ClassVar[threading.BoundedSemaphore] = threading.BoundedSemaphore(AT_ONCE)
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Answer a probe, or what references there are."""
        if self.path == "/healthz":
            self.end(HTTPStatus.OK, "ok\n")
        else:
            self.serve()

    def do_POST(self) -> None:
        """Answer a fetch or a push."""
        self.serve()

    def serve(self) -> None:
        """Hand git what an account may ask."""
        asked, account = wanted(self.command, self.path), self.account()
        if account is None:
            self.end(HTTPStatus.UNAUTHORIZED, "log in with your account\n")
            return
        repository = self.known.get(asked.repository) if asked else None
        if asked is None or repository is None or not repository.allows(account, "read"):
            self.end(HTTPStatus.NOT_FOUND, "there is no such repository\n")
        elif not repository.allows(account, asked.needed):
            self.end(HTTPStatus.FORBIDDEN, f"{account} may not push here\n")
        elif not self.slots.acquire(timeout=10):
            self.end(HTTPStatus.SERVICE_UNAVAILABLE, "too much at once: try again\n")
        else:
            try:
                self.git(asked, account)
            finally:
                self.slots.release()

    def account(self) -> str | None:
        """Who asks; None where nobody proved it."""
        given = login(self.headers.get("Authorization"))
        if given is None or not re.fullmatch(r"[a-z0-9-]+", given[0]):
            return None
        file = self.accounts / given[0]
        right = file.read_bytes().strip() if file.is_file() else b""
        return given[0] if right and hmac.compare_digest(right, given[1].encode()) else None

    def git(self, asked: Wanted, account: str) -> None:
        """Run http-backend for a request, and send what it says."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            # The volume's root may be another user's, whose group this process has.
            **{"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": asked.path,
            "QUERY_STRING": urlsplit(self.path).query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": account,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        command = ["git", "http-backend"]
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            bound = threading.Timer(SECONDS, process.kill)
            bound.start()
            try:
                self.hand_over(_open(process.stdin))
                self.send(_open(process.stdout))
            finally:
                bound.cancel()
                process.kill()

    def hand_over(self, target: IO[bytes]) -> None:
        """Give git the body. It may have refused it before its end."""
        length = self.headers.get("Content-Length", "0")
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        try:
            body = chunks(self.rfile) if chunked else counted(self.rfile, min(number(length.encode()), LARGEST))
            for part in body:
                target.write(part)
            target.close()
        except (BrokenPipeError, ValueError):  # what says nothing of its length, or a wrong one, ends here
            self.close_connection = True

    def send(self, source: IO[bytes]) -> None:
        """What git answers: headers of CGI, and then the content."""
        headers: list[tuple[str, str]] = []
        while line := source.readline(CHUNK).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        status = next((int(value.split()[0]) for name, value in headers if name.lower() == "status"), 200)
        self.close_connection = True
        self.send_response(status if headers else HTTPStatus.BAD_GATEWAY)
        for name, value in headers:
            if name.lower() != "status":
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        while part := source.read(CHUNK):
            self.wfile.write(part)

    def end(self, status: HTTPStatus, text: str) -> None:
        """A short answer; what was not read of the request ends with the connection."""
        self.close_connection = True
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002  http.server's names
        """Say it without the query, and not of probes."""
        if self.path != "/healthz":
            status = code.value if isinstance(code, HTTPStatus) else code
            print(f"{self.client_address[0]} {self.command} {urlsplit(self.path).path} {status}", flush=True)


def server(rights: Path, accounts: Path, folder: Path, port: int = PORT) -> http.server.ThreadingHTTPServer:
    """A server that is ready; it has made the repositories that were not there."""
    known = repositories(rights.read_text())
    prepare(folder, known)
    handler = type("Bound", (Handler,), {"known": known, "accounts": accounts, "folder": folder})
    return http.server.ThreadingHTTPServer(("", port), handler)


if __name__ == "__main__":
    server(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])).serve_forever()
