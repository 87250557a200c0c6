"""Let requests that have passed the ingress' guard into Ray's dashboard: say with which token.

A browser sends one `Authorization`, and that is the guard's; Ray wants its token there. The ingress asks here after its
guard and takes the header of the answer. Nobody but the ingress and Ray's own pods, which have the token, reaches this.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TOKEN = Path("/run/ray/token")
PORT = 8266


class Door(BaseHTTPRequestHandler):
    """Two paths: whether this works, and the token."""

    def do_GET(self) -> None:
        """Answer; the token is read each time, so that it is the present one."""
        known = self.path.partition("?")[0]
        if known == "/token":
            self._answer(200, {"Authorization": f"Bearer {TOKEN.read_text().strip()}"})
        else:
            self._answer(200 if known == "/healthz" else 404, {})

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Door).serve_forever()
