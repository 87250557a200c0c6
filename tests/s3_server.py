"""A stand-in for an object store, in this process: the calls that our Jobs make, on objects in memory.

It checks no signature and knows no users. What a real one says of those, tests/rehearsal/test_platform_objectstore.py
asks MinIO.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from mlops.objectstore.scripts.s3 import Bucket, Store

Objects = dict[str, bytes]
"""BUCKET/KEY to content."""


def etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    objects: Objects
    uploads: dict[str, Objects]

    def handle_one_request(self) -> None:
        """Any method leads to one answer."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        name = unquote(parts.path).lstrip("/")
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer, more = getattr(self, f"on_{self.command.lower()}")(name, query, body)
        self.send_response(status)
        for key, value in more.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def on_get(self, name: str, query: dict[str, str], body: bytes) -> Any:
        assert not body
        if "list-type" in query:
            found = {key: item for key, item in self.objects.items() if key.startswith(f"{name}/{query['prefix']}")}
            rows = "".join(
                f"<Contents><Key>{escape(key.partition('/')[2])}</Key><Size>{len(item)}</Size>"
                f'<ETag>"{etag(item)}"</ETag></Contents>'
                for key, item in sorted(found.items())
            )
            return 200, f"<ListBucketResult>{rows}</ListBucketResult>".encode(), {}
        if name not in self.objects:
            return 404, b"<Error/>", {}
        found_body, said = self.objects[name], f'"{etag(self.objects[name])}"'
        if self.headers.get("If-Match", said) != said:
            return 412, b"<Error/>", {}
        span = self.headers.get("Range")
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            return 206, found_body[int(first) : int(last) + 1], {"ETag": said}
        return 200, found_body, {"ETag": said}

    on_head = on_get

    def on_put(self, name: str, query: dict[str, str], body: bytes) -> Any:
        if "uploadId" in query:
            self.uploads[query["uploadId"]][query["partNumber"].zfill(5)] = body
        else:
            self.objects[name] = body
        return 200, b"", {"ETag": f'"{etag(body)}"'}

    def on_post(self, name: str, query: dict[str, str], body: bytes) -> Any:
        if "uploads" in query:
            self.uploads[name] = {}
            return 200, f"<R><UploadId>{escape(name)}</UploadId></R>".encode(), {}
        assert body.startswith(b"<CompleteMultipartUpload>")
        parts = self.uploads.pop(query["uploadId"])
        self.objects[name] = b"".join(parts[number] for number in sorted(parts))
        return 200, b"<R/>", {}

    def on_delete(self, name: str, query: dict[str, str], body: bytes) -> Any:
        assert not body
        self.uploads.pop(query.get("uploadId", ""), None)
        self.objects.pop(name, None)
        return 204, b"", {}

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served() -> Iterator[tuple[Objects, dict[str, str]]]:
    """What it holds, and the login of a client, as the plans of our Jobs have it."""
    objects: Objects = {}
    handler = type("Bound", (Handler,), {"objects": objects, "uploads": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        yield objects, {"endpoint": endpoint, "region": "us-east-1", "access_key": "a", "secret_key": "s"}
        server.shutdown()


def bucket(login: dict[str, str], name: str) -> Bucket:
    """A bucket, as our Jobs use it."""
    return Bucket(Store(**login), name)
