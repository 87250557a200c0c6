"""The OpenStack services' own virtual environment, shared by the rehearsals of this user and keyed by its lock."""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from rehearsal.cloud.process import run
from rehearsal.paths import alone, cache

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"


def version(package: str) -> str:
    """Its version in the lock."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", LOCK.read_text(), re.MULTILINE)
    return found[1] if found else "?"


def uv() -> str | None:
    """The installer of packages: beside this Python, or on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def folder() -> Path:
    """Where it is or will be."""
    key = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return cache() / f"openstack-{key}"


def install() -> Path:
    """Make it if it is not there; several callers wait for one. Needs the package index the first time."""
    target = folder()
    ready = target / ".ready"
    with alone(target):
        if not ready.exists():
            shutil.rmtree(target, ignore_errors=True)
            installer = uv()
            if installer:
                run([installer, "venv", "--quiet", "--python", sys.executable, target])
                python = str(target / "bin" / "python")
                env = {**os.environ, "VIRTUAL_ENV": str(target)}
                run(
                    [installer, "pip", "sync", "--quiet", "--require-hashes", "--python", python, LOCK],
                    env=env,
                    timeout=1800,
                )
            else:
                run([sys.executable, "-m", "venv", target])
                pip = [
                    target / "bin" / "python",
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--require-hashes",
                    "--no-deps",
                ]
                run([*map(str, pip), "-r", str(LOCK)], timeout=1800)
            ready.touch()
    return target
