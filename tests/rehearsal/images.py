"""A small client of image registries, and an image that runs: one static program."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import requests

from rehearsal.images import oci
from rehearsal.images.oci import Layer, Start
from rehearsal.kubernetes import build

ARCHIVE = "application/vnd.oci.image.layer.v1.tar"


def digest(content: bytes) -> str:
    """As registries name content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Image:
    """An image with one layer."""

    layer: bytes
    configuration: bytes
    manifest: bytes

    @classmethod
    def of(cls, mark: str) -> "Image":
        """A program that waits, and a file that makes the image differ from others."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content, mode in (
                ("pause", build.build(build.PAUSE).read_bytes(), 0o755),
                ("mark", mark.encode(), 0o644),
            ):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), mode
                archive.addfile(entry, io.BytesIO(content))
        layer = buffer.getvalue()
        configuration = oci.text(oci.config(Start(("/pause",)), [digest(layer)]))
        made = oci.manifest(
            digest(configuration), len(configuration), [Layer(digest(layer), len(layer), digest(layer))]
        )
        made["layers"][0]["mediaType"] = ARCHIVE
        return cls(layer, configuration, oci.text(made))

    @property
    def digest(self) -> str:
        """By which it is pulled."""
        return digest(self.manifest)


@dataclass(frozen=True)
class Registry:
    """A registry, by HTTP."""

    session: requests.Session
    url: str

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request."""
        return self.session.request(method, urljoin(self.url, path), timeout=60, allow_redirects=False, **options)

    def push(self, repository: str, tag: str, image: Image) -> list[int]:
        """Push an image; the statuses of the answers."""
        statuses = []
        for blob in (image.layer, image.configuration):
            begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
            statuses.append(begun.status_code)
            if begun.status_code == 202:
                where = begun.headers["Location"]
                where += f"{'&' if '?' in where else '?'}digest={digest(blob)}"
                statuses.append(self.ask("PUT", where, data=blob).status_code)
        headers = {"Content-Type": oci.MANIFEST}
        put = self.ask("PUT", f"/v2/{repository}/manifests/{tag}", data=image.manifest, headers=headers)
        return [*statuses, put.status_code]

    def pull(self, repository: str, reference: str) -> Image:
        """Pull an image."""
        manifest = self.ask("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": oci.MANIFEST})
        manifest.raise_for_status()
        tree = json.loads(manifest.content)
        blobs = []
        for described in (tree["layers"][0], tree["config"]):
            blob = self.ask("GET", f"/v2/{repository}/blobs/{described['digest']}")
            blob.raise_for_status()
            assert digest(blob.content) == described["digest"]
            blobs.append(blob.content)
        return Image(blobs[0], blobs[1], manifest.content)
