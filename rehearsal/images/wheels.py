"""Layers of packages from PyPI: a virtual environment for the base's Python, exactly as a committed lock says."""

import hashlib
import re
import shutil
from pathlib import Path

from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.packages import uv
from rehearsal.cloud.process import run
from rehearsal.images import debian
from rehearsal.images.oci import Layer
from rehearsal.kubernetes.build import Progress

HERE = Path(__file__).resolve().parent
FOLDER = "opt/venv"
SITE = f"{FOLDER}/lib/python{debian.PYTHON}/site-packages"
PLATFORM = "x86_64-manylinux_2_36"
"""What runs on the base: its C library is of this version."""
SETTINGS = f"""\
home = /usr/bin
include-system-site-packages = false
version = {debian.PYTHON}
"""
TESTS = (f"{SITE}/*/tests", f"{SITE}/*/*/tests", f"{SITE}/*/*/*/tests", f"{SITE}/pyarrow/include")
# By content, not by time: the times of what is installed here are not kept.
COMPILE = "python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash"
TIMEOUT = 1800.0
VERSION = 1  # raise it to rebuild although no lock changed


def lock(name: str) -> Path:
    """The lock of an environment."""
    return HERE / f"{name}.lock"


def version(name: str, package: str) -> str:
    """A package's version in an environment's lock."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", lock(name).read_text(), re.MULTILINE)
    return found[1] if found else "?"


def layer(name: str, progress: Progress) -> Layer:
    """The virtual environment of a lock, on top of the base. Raises CloudError."""
    file = lock(name)

    def work(root: Path) -> None:
        progress(f"installing the Python packages of {file.name} (the first time only)")
        _install(file, root)

    key = "\0".join(["wheels", hashlib.sha256(file.read_bytes()).hexdigest(), SETTINGS, COMPILE, *TESTS, str(VERSION)])
    return debian.layer(key, [debian.base(progress)], work)


def _install(file: Path, root: Path) -> None:
    installer = uv()
    if installer is None:
        raise CloudError("uv is not installed: run `make setup`, or `pip install uv`, then try again")
    words = [installer, "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    words += ["--python-version", debian.PYTHON, "--python-platform", PLATFORM, "--link-mode", "copy"]
    run([*words, "--target", root / SITE, "-r", file], timeout=TIMEOUT)
    scripts = root / FOLDER / "bin"
    shutil.move(root / SITE / "bin", scripts)
    for script in scripts.glob("[!_]*"):
        script.write_bytes(started(script.read_bytes()))
    for python in ("python", "python3"):
        (scripts / python).symlink_to("/usr/bin/python3")
    (root / FOLDER / "pyvenv.cfg").write_text(SETTINGS)
    (root / SITE / ".lock").unlink(missing_ok=True)
    debian.clean(root, TESTS)
    # Packages have files that are templates, or for another Python: those cannot be compiled.
    debian.inside(root, f"{COMPILE} /{SITE} >/dev/null || true")
    if not any((root / SITE).glob("*/__pycache__/*.pyc")):
        raise CloudError(f"the Python packages of {file.name} were not compiled; a server of them would start slowly")


def started(script: bytes) -> bytes:
    """A script that is started by the Python of the environment, wherever it was installed from."""
    first, _, rest = script.partition(b"\n")
    if rest.startswith(b"'''exec'"):  # the interpreter's path was too long for one line
        first, rest = b"#!python", rest.partition(b"' '''\n")[2]
    return f"#!/{FOLDER}/bin/python\n".encode() + rest if first.startswith(b"#!") and b"python" in first else script
