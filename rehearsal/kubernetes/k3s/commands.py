"""The command line."""

import ctypes
import importlib
import os
import signal
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from . import log
from .files import CommandError
from .log import Fatal
from .paths import ETC, SOCKET, Paths

USAGE = "server agent kubectl ctr token etcd-snapshot certificate secrets-encrypt --version"
# Loaded only when called: `k3s kubectl` should not pay for what a server needs.
MODULES = {
    "server": "daemon",
    "agent": "daemon",
    "token": "token_command",
    "etcd-snapshot": "snapshot_command",
    "certificate": "certificate_command",
    "secrets-encrypt": "encryption_command",
}


def hide_arguments() -> None:
    """Blank this process's arguments for `ps`, as k3s does: flags may hold tokens."""
    begin, end = (int(word) for word in Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    ctypes.memset(begin, 0, end - begin)


def _kubectl(words: Sequence[str]) -> None:
    admin = ETC / "k3s.yaml"
    named = any(word.split("=")[0] == "--kubeconfig" for word in words)
    if "KUBECONFIG" not in os.environ and not named and os.access(admin, os.R_OK):
        os.environ["KUBECONFIG"] = str(admin)
    os.execvp("kubectl", ["kubectl", *words])  # noqa: S606  # it takes this process's place, as in k3s


def _program(name: str, words: Sequence[str]) -> None:
    if name == "crictl":
        raise Fatal("the stand-in for k3s has no crictl: use `k3s ctr containers ls`, `k3s ctr images ls`")
    current = Paths().data / "data" / "current" / "bin"
    if not (current / name).exists() or not os.access(current, os.X_OK):
        importlib.import_module(".binaries", __package__).unpack(Paths().data)
    os.environ["PATH"] = f"{current}:{os.environ.get('PATH', '')}"
    if name == "kubectl":
        _kubectl(words)
    os.execvp("ctr", ["ctr", "-a", str(SOCKET), "-n", "k8s.io", *words])  # noqa: S606  # see above


def version() -> str:
    """The release that this executable was packed as."""
    with zipfile.ZipFile(Path(sys.argv[0]).resolve()) as packed:
        return packed.read("VERSION").decode().strip()


def dispatch(name: str, words: Sequence[str]) -> int:
    """Run one command; returns the exit status. Raises Fatal, CommandError."""
    if name in ("--version", "-v"):
        print(f"k3s version {version()} (stand-in)")
        return 0
    if name in ("kubectl", "ctr", "crictl"):
        _program(name, words)
    if name not in MODULES:
        raise Fatal(f"No help topic for {name!r}: the stand-in for k3s knows {USAGE}")
    hide_arguments()
    module = importlib.import_module(f".{MODULES[name]}", __package__)
    return int(module.main(name, words))


def main() -> None:
    """The program."""
    signal.signal(
        signal.SIGPIPE, signal.SIG_DFL
    )  # for `k3s kubectl ... | head`; Python ignores it, and exec keeps that
    called = Path(sys.argv[0]).name
    words = ([called] if called in ("kubectl", "ctr", "crictl") else []) + sys.argv[1:]
    name, *rest = words or ["help"]
    try:
        sys.exit(dispatch(name, rest))
    except (Fatal, CommandError) as failure:
        log.fatal(str(failure))
        sys.exit(1)
