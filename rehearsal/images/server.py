"""A read-only registry for the runtimes of a rehearsed cloud's machines: a list of names over a folder of blobs.

Started as `python -m rehearsal.images.server ADDRESS PORT BLOBS NAMES`. It stands in for every registry at once: a
runtime that was told of a mirror asks it for /v2/REPOSITORY/manifests/REFERENCE?ns=REGISTRY.
"""

import json
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from rehearsal.kubernetes.server import Handler, Server

DIGEST = r"sha256:[0-9a-f]{64}"
ASKED = re.compile(rf"/v2/(?P<repository>.+)/(?:manifests/(?P<reference>[^/]+)|blobs/(?P<blob>{DIGEST}))")


def found(path: str, names: Mapping[str, str]) -> str | None:
    """The digest that a request's path asks for; None where nothing has such a name.

    `names` maps REGISTRY/REPOSITORY:TAG to digests. Without a registry in the request, any registry's will do.
    """
    split = urlsplit(path)
    asked = ASKED.fullmatch(unquote(split.path))
    if asked is None:
        return None
    registry = parse_qs(split.query).get("ns", [""])[0]
    tags = {}
    for name, digest in names.items():
        image, _, tag = name.rpartition(":")
        host, _, repository = image.partition("/")
        if repository == asked["repository"] and registry in ("", host):
            tags[tag] = digest
    if not tags or asked["blob"]:
        return asked["blob"] if tags else None
    reference = asked["reference"]
    return reference if reference in tags.values() else tags.get(reference)


class Registry(Handler):
    """Answers what a runtime asks to pull an image."""

    blobs: Path
    names: Path
    digest: str | None = None

    def translate_path(self, path: str) -> str:
        """The file of a blob; the list of names is read anew, so that a rehearsal can offer more."""
        self.digest = found(path, json.loads(self.names.read_text()))
        return str(self.blobs / (self.digest or "none").removeprefix("sha256:"))

    def guess_type(self, path: Any) -> str:
        """A manifest says its own type, and runtimes want to hear it."""
        if "/manifests/" in self.path and Path(path).is_file():
            return str(json.loads(Path(path).read_bytes())["mediaType"])
        return "application/octet-stream"

    def send_head(self) -> Any:
        """Answer the question whether this is a registry; anything else is a file."""
        if urlsplit(self.path).path != "/v2/":
            return super().send_head()
        self._say(HTTPStatus.OK, {})
        return None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say what is not there as a registry does."""
        if code != HTTPStatus.NOT_FOUND:
            super().send_error(code, message, explain)
            return
        what = "MANIFEST_UNKNOWN" if "/manifests/" in self.path else "BLOB_UNKNOWN"
        self._say(code, {"errors": [{"code": what, "message": message or self.path}]})

    def _say(self, code: int, document: Mapping[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def end_headers(self) -> None:
        """What every answer of a registry says."""
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if self.digest:
            self.send_header("Docker-Content-Digest", self.digest)
        self.digest = None  # of this answer only: the connection is kept
        super().end_headers()


def server(address: str, port: int, blobs: Path, names: Path) -> Server:
    """A registry that is not started yet."""
    return Server((address, port), type("Offered", (Registry,), {"blobs": blobs, "names": names}))


def main(address: str, port: str, blobs: str, names: str) -> None:
    """Serve until ended."""
    server(address, int(port), Path(blobs), Path(names)).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
