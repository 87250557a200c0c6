"""A read-only HTTP server of a folder, for machines of the rehearsed cloud.

Started as `python -m rehearsal.kubernetes.server ADDRESS PORT FOLDER`; imports nothing of ours, so that it is small.
"""

import contextlib
import os
import re
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BLOCK = 1 << 20
IDLE_SECONDS = 120


class Handler(SimpleHTTPRequestHandler):
    """Serves files, whole or from an offset on; no listings."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    extensions_map = {"": "application/octet-stream"}  # noqa: RUF012  as the base class declares it

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """Refuse: what is here is known by its name."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)

    def do_GET(self) -> None:
        """Send a file, or what a range asks for of it: an interrupted download goes on where it was cut."""
        offset = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        file = Path(self.translate_path(self.path))
        if offset is None or not file.is_file():
            super().do_GET()
            return
        with file.open("rb") as opened:
            first, size = int(offset[1]), os.fstat(opened.fileno()).st_size
            if first >= size:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            opened.seek(first)
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - first))
            self.end_headers()
            self.copyfile(opened, self.wfile)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send in large blocks; a machine that goes away in the middle is no error."""
        with contextlib.suppress(ConnectionError):
            while block := source.read(BLOCK):
                outputfile.write(block)


class Server(ThreadingHTTPServer):
    """One thread a connection."""

    daemon_threads = True
    request_queue_size = 128


def main(address: str, port: str, folder: str) -> None:
    """Serve until ended."""

    def handle(*arguments: object) -> Handler:
        return Handler(*arguments, directory=folder)  # type: ignore[arg-type]

    Server((address, int(port)), handle).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
