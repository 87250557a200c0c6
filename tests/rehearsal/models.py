"""Images of the example's model server, as a build would push them, and clients of what serves."""

import hashlib
import io
import json
import struct
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import requests

import versions
from rehearsal.images import catalogue, oci, recipe, store
from rehearsal.images.oci import Start
from rehearsal.kubernetes.tars import Entries, File
from rehearsal.paths import PROJECT
from tests.rehearsal.images import Registry

EXAMPLE = PROJECT / "examples" / "model"
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PIXELS = 64
BATCH = 8 << 20


def _array(kind: str, shape: tuple[int, ...], content: bytes) -> bytes:
    """An array as NumPy writes it (format 1.0)."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def weights(bias: float) -> bytes:
    """A network that has learnt nothing; `bias` makes one differ from another."""
    names = b"".join(name.ljust(5, "\0").encode("utf-32-le") for name in CLASSES)
    count = len(CLASSES)
    arrays = {
        "classes": _array("<U5", (count,), names),
        "weight_0": _array("<f4", (PIXELS, count), bytes(4 * PIXELS * count)),
        "bias_0": _array("<f4", (count,), struct.pack(f"<{count}f", *([bias] * count))),
    }
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        for name, content in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content)
    return kept.getvalue()


@dataclass(frozen=True)
class Model:
    """One version of the model, as an image."""

    version: str
    revision: str
    name: str = "GourmetGramFood11Model"

    def digest(self) -> str:
        """Of its image, which is made now if it is not kept: MLflow's, and on top the server and the model."""
        learnt = weights(float(self.version))
        release = {
            **{"model": self.name, "model_version": self.version, "revision": self.revision},
            **{"run_id": "0" * 32, "sha256": hashlib.sha256(learnt).hexdigest()},
        }
        code: Entries = {
            f"app/{file.relative_to(EXAMPLE).as_posix()}": File(file.read_bytes(), 0o644)
            for folder in ("digits", "server")
            for file in sorted((EXAMPLE / folder).iterdir())
            if file.is_file()
        }
        model = {
            "app/model/weights.npz": File(learnt, 0o644),
            "app/model/release.json": File(json.dumps(release), 0o644),
        }
        base = catalogue.recipes()[versions.MLFLOW.tagged]
        one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {**base.start.environment, **one}
        start = Start((), ("python3", "-m", "server"), environment, "65534", "/app")
        return recipe.make(replace(base, start=start, files={**code, **model}), lambda _: None)


def push(registry: Registry, repository: str, digest: str) -> None:
    """Push an image from the rehearsal's cache, without what the registry has."""
    manifest = store.blob(digest).read_bytes()
    tree = json.loads(manifest)
    for described in (*tree["layers"], tree["config"]):
        if registry.ask("HEAD", f"/v2/{repository}/blobs/{described['digest']}").status_code == 200:
            continue
        begun = registry.ask("POST", f"/v2/{repository}/blobs/uploads/")
        where = begun.headers["Location"]
        where += f"{'&' if '?' in where else '?'}digest={described['digest']}"
        with store.blob(described["digest"]).open("rb") as content:
            registry.ask("PUT", where, data=content).raise_for_status()
    headers = {"Content-Type": oci.MANIFEST}
    registry.ask("PUT", f"/v2/{repository}/manifests/{digest}", data=manifest, headers=headers).raise_for_status()


@dataclass
class Client:
    """Somebody who asks for predictions all the time, each time on a new connection, and never twice."""

    session: requests.Session
    url: str
    answers: dict[str, int] = field(default_factory=dict)
    failures: dict[float, str] = field(default_factory=dict)
    """When (of the monotonic clock), and what was said."""
    _over: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """One prediction."""
        body = {"pixels": [0] * PIXELS}
        try:
            reply = self.session.post(f"{self.url}/predict", json=body, timeout=10, headers={"Connection": "close"})
            version = reply.json()["model_version"] if reply.status_code == 200 else ""
        except (requests.RequestException, ValueError, KeyError) as error:
            self.failures[time.monotonic()] = repr(error)
            return
        if version:
            self.answers[version] = self.answers.get(version, 0) + 1
        else:
            self.failures[time.monotonic()] = f"{reply.status_code} {reply.text[:80]}"

    def _ask_on(self) -> None:
        while not self._over.is_set():
            self.ask()
            self._over.wait(0.05)

    @contextmanager
    def asking(self) -> Iterator["Client"]:
        """While this lasts."""
        thread = threading.Thread(target=self._ask_on, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join(30)
