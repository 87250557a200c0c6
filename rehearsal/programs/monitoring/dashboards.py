"""Stands in for Grafana: its login, and the lists of what was provisioned. It draws nothing.

It reads what the chart mounts, at the paths and in the formats that Grafana reads.
"""

import base64
import configparser
import hmac
import json
import os
import secrets
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

PORT = 3000
SETTINGS = Path("/etc/grafana/grafana.ini")
PROVISIONING = Path("/etc/grafana/provisioning")
SESSION = "grafana_session"
LARGEST = 1 << 16
PAGE = b"<!doctype html><title>Grafana (stand-in)</title><p>A stand-in of the rehearsal: POST user and password here."


@dataclass(frozen=True)
class Site:
    """What is served, and to whom."""

    user: str
    password: str
    folder: Path = PROVISIONING

    def knows(self, user: str, password: str) -> bool:
        """Whether this is the administrator."""
        return hmac.compare_digest(f"{user}\0{password}".encode(), f"{self.user}\0{self.password}".encode())

    def sources(self) -> list[dict[str, Any]]:
        """Data sources."""
        files = sorted(self.folder.glob("datasources/*.yaml"))
        return [source for file in files for source in yaml.safe_load(file.read_text()).get("datasources", [])]

    def dashboards(self) -> dict[str, dict[str, Any]]:
        """Dashboards by their uid, of the folders that the providers name."""
        files = sorted(self.folder.glob("dashboards/*.yaml"))
        providers = [p for file in files for p in yaml.safe_load(file.read_text()).get("providers", [])]
        boards = [
            json.loads(file.read_text())
            for p in providers
            for file in sorted(Path(p["options"]["path"]).glob("*.json"))
        ]
        return {board["uid"]: board for board in boards}


def refused(settings: str) -> str:
    """Why these settings would let strangers in; "" when they do not."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings)
    for section, key in (("auth.anonymous", "enabled"), ("users", "allow_sign_up")):
        if parser.getboolean(section, key, fallback=False):
            return f"this stand-in does not do [{section}] {key}"
    return ""


class Handler(BaseHTTPRequestHandler):
    """Grafana's paths, as far as they are needed."""

    site: Site
    sessions: set[str] = set()  # noqa: RUF012  one for the process

    def _answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _json(self, data: Any, status: int = 200, **headers: str) -> None:
        self._answer(status, json.dumps(data).encode(), **headers)

    def _known(self) -> bool:
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get(SESSION)
        if cookie and cookie.value in self.sessions:
            return True
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            user, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except ValueError:
            return False
        return self.site.knows(user, password)

    def do_GET(self) -> None:
        """Answer one request."""
        path = urlsplit(self.path).path
        if path == "/api/health":
            self._json({"database": "ok", "version": "stand-in"})
        elif path == "/metrics":
            self._answer(200, b"# TYPE grafana_stand_in gauge\ngrafana_stand_in 1\n", "text/plain; version=0.0.4")
        elif path == "/login":
            self._answer(200, PAGE, "text/html")
        elif not self._known():
            if path.startswith("/api/"):
                self._json({"message": "Unauthorized"}, 401)
            else:
                self._answer(302, b"", Location="/login")
        else:
            self._own(path)

    def _own(self, path: str) -> None:
        """What the administrator sees."""
        boards = self.site.dashboards()
        uid = path.removeprefix("/api/dashboards/uid/")
        proxied = "/api/datasources/proxy/uid/"
        if path == "/api/search":
            self._json([{"uid": key, "title": board["title"], "type": "dash-db"} for key, board in boards.items()])
        elif path == "/api/datasources":
            self._json(self.site.sources())
        elif uid in boards:
            self._json({"dashboard": boards[uid]})
        elif path.startswith(proxied):
            self._proxy(*path.removeprefix(proxied).partition("/")[::2])
        elif path == "/":
            self._answer(200, PAGE, "text/html")
        else:
            self._json({"message": "Not found"}, 404)

    def _proxy(self, uid: str, rest: str) -> None:
        """Ask a data source."""
        source = next((source for source in self.site.sources() if source.get("uid") == uid), None)
        if source is None:
            self._json({"message": "no such data source"}, 404)
            return
        url = f"{source['url']}/{rest}?{urlsplit(self.path).query}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  as provisioned
                self._answer(200, answer.read())
        except OSError as error:
            self._json({"message": str(error)}, 502)

    def do_POST(self) -> None:
        """Log in."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST))
        try:
            given: Mapping[str, Any] = json.loads(body)
        except ValueError:
            given = {}
        if urlsplit(self.path).path != "/login":
            self._json({"message": "Not found"}, 404)
        elif self.site.knows(str(given.get("user", "")), str(given.get("password", ""))):
            session = secrets.token_hex(16)
            self.sessions.add(session)
            self._json(
                {"message": "Logged in"}, Set_Cookie=f"{SESSION}={session}; Path=/; HttpOnly; Secure; SameSite=Strict"
            )
        else:
            self._json({"message": "Invalid username or password"}, 401)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


def main() -> None:
    """Serve."""
    if problem := refused(SETTINGS.read_text()):
        raise SystemExit(problem)
    Handler.site = Site(os.environ["GF_SECURITY_ADMIN_USER"], os.environ["GF_SECURITY_ADMIN_PASSWORD"])
    print("a stand-in of the rehearsal for Grafana: its login and its lists; it draws nothing", flush=True)
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
