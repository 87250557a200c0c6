"""Checkouts of revisions, and the programs in them as processes."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODEL = "GourmetGramFood11Model"
REVISION = "0123456789abcdef"
START_SECONDS = 90.0


def checkout(revision: str, folder: Path) -> Path:
    """The files of a revision, as its Git branch has them."""
    for name in ("digits", "server", "trainer"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if revision != "main":
        shutil.copytree(ROOT / "revisions" / revision, folder, dirs_exist_ok=True)
    return folder


@dataclass(frozen=True)
class Answer:
    """Of a server."""

    status: int
    body: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def ask(self, path: str, body: object = None, raw: bytes | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        data = json.dumps(body).encode() if body is not None else raw
        try:
            headers = {"content-type": "application/json"} if data is not None else {}
            connection.request("GET" if data is None else "POST", path, data, headers)
            got = connection.getresponse()
            return Answer(got.status, got.read().decode(), {key.lower(): value for key, value in got.getheaders()})
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """A value of /metrics by its name with labels."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.ask("/metrics").body, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def memory_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def serving(code: Path, model: Path, drain_seconds: float = 0) -> Iterator[Running]:
    """Start the server of a checkout; end it at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = {"PORT": str(port), "MODEL_FOLDER": str(model), "DRAIN_SECONDS": str(drain_seconds)}
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "server"]
    process = subprocess.Popen(command, cwd=code, env={**os.environ, **said, **threads}, text=True)
    server = Running(process, port)
    try:
        _until_it_answers(server)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _until_it_answers(server: Running) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.process.poll() is None, "the server has ended"
        try:
            assert server.ask("/healthz").status == 200
            return
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.2)


@dataclass(frozen=True)
class Tracked:
    """A program of the trainer, started against MLflow's files in a folder."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def run(self, code: Path, module: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        known = {"MLFLOW_TRACKING_URI": self.uri, "MODEL_NAME": MODEL, "REVISION": REVISION}
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(code)}
        command = [sys.executable, "-m", module, *words]
        environment = {**os.environ, **known, **quiet, **environment}
        # Without a server, MLflow keeps artifacts below the working directory.
        return subprocess.run(
            command, cwd=self.folder, env=environment, text=True, capture_output=True, check=False, timeout=300
        )
