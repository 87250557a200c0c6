"""Object stores of this computer: the real MinIO."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops.objectstore import contract
from mlops.objectstore.scripts import provision
from mlops.objectstore.scripts.s3 import Store
from rehearsal.kubernetes import build, programs

ROOT, SECRET = "leasehold-root", "r" * 40


@dataclass(frozen=True)
class Server:
    """A MinIO, and how it is reached."""

    endpoint: str
    access_key: str = ROOT
    secret_key: str = SECRET

    @property
    def port(self) -> int:
        """Where it listens."""
        found = urlsplit(self.endpoint).port
        assert found
        return found

    def store(self) -> Store:
        """A client of it."""
        return Store(self.endpoint, contract.REGION, self.access_key, self.secret_key)

    def login(self) -> dict[str, str]:
        """As the scripts of Jobs are told of it."""
        keys = {"access_key": self.access_key, "secret_key": self.secret_key}
        return {"endpoint": self.endpoint, "region": contract.REGION, **keys}


def port(host: str) -> int:
    """A free port."""
    with socket.socket() as opened:
        opened.bind((host, 0))
        return int(opened.getsockname()[1])


@contextmanager
def running(*words: str | Path, **options: Any) -> Iterator[None]:
    """A program with options of Popen, until the end of the block."""
    process = subprocess.Popen(words, **options)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def minio(folder: Path, host: str = "127.0.0.1") -> Iterator[Server]:
    """A running server with its data in a folder."""
    environment = {**os.environ, "MINIO_ROOT_USER": ROOT, "MINIO_ROOT_PASSWORD": SECRET, "MINIO_UPDATE": "off"}
    environment["MINIO_BROWSER_REDIRECT"] = "off"
    address = f"{host}:{port(host)}"
    words: list[str | Path] = [build.build(programs.MINIO), "server", folder, "--quiet", "--address", address]
    with running(*words, "--console-address", f"127.0.0.1:{port(host)}", env=environment):
        server = Server(f"http://{address}")
        provision.wait(server.store())
        yield server
