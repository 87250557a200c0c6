"""Layers of Debian: one root file system below every image that needs more than one program, and packages on top."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.cloud import image
from rehearsal.cloud.process import run
from rehearsal.images import changes, store
from rehearsal.images.oci import Layer
from rehearsal.kubernetes.build import Progress

PYTHON = "3.11"
"""Of the suite; the locks beside this file are for it."""
BASE = ("ca-certificates", "curl", "openssl", "python3", "tini")
LEFT_OUT = (
    *("etc/resolv.conf", "etc/hostname", "var/cache/apt/*", "var/cache/debconf/*-old", "var/cache/ldconfig/*"),
    *("var/lib/apt/lists/*", "var/lib/dpkg/*-old", "var/log/*", "usr/share/doc/*", "usr/share/locale/*"),
    *("usr/share/man/*", "tmp/*", "root/.[a-z]*/*"),
)
# Packages start services; here there is nothing that could run them.
NO_SERVICES = "#!/bin/sh\nexit 101\n"
DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}
TIMEOUT = 1800.0
"""Seconds for what is downloaded."""
VERSION = 1  # raise it to rebuild although no recipe changed


@dataclass(frozen=True)
class Packages:
    """A layer of Debian packages."""

    names: tuple[str, ...]
    before: str = ""
    """Shell commands ahead of the installation."""
    after: str = ""
    """Shell commands after it."""
    left_out: tuple[str, ...] = ()
    """Patterns of paths that are not kept."""


def base(progress: Progress) -> Layer:
    """The root file system below all others: a Debian with Python, TLS roots and curl."""

    def make(target: Path) -> None:
        progress("making the Debian below the platform's images (the first time only)")
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            root, since = Path(folder, "root"), time.time()
            wanted = f"--include={','.join(BASE)}"
            log = store.folder().with_name("debootstrap.log")
            run(
                ["debootstrap", "--variant=minbase", wanted, image.SUITE, root, image.mirror()],
                timeout=TIMEOUT,
                log=log,
            )
            services = root / "usr/sbin/policy-rc.d"
            services.write_text(NO_SERVICES)
            services.chmod(0o755)
            clean(root, LEFT_OUT)
            changes.write(target, root, {}, since)

    return store.layer(_key("base", image.SUITE, *BASE), make)


def packages(wanted: Packages, progress: Progress) -> Layer:
    """Packages on top of the base, with all that they need."""
    below = base(progress)
    install = f"apt-get -q update\napt-get -q -y --no-install-recommends install {' '.join(wanted.names)}"

    def work(root: Path) -> None:
        progress(f"installing {', '.join(wanted.names)} (the first time only)")
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        inside(root, "\n".join(part for part in (wanted.before, install, wanted.after) if part))
        clean(root, (*LEFT_OUT, *wanted.left_out))

    parts = (*wanted.names, wanted.before, wanted.after, *wanted.left_out)
    return layer(_key("packages", *parts), [below], work)


def layer(key: str, below: Sequence[Layer], work: Callable[[Path], None]) -> Layer:
    """The layer of what `work` changes in the root file system that these layers make."""

    def make(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            root = Path(folder, "root")
            root.mkdir(mode=0o755)
            for under in below:
                run(["tar", "--use-compress-program=zstd", "-xpf", store.blob(under.digest), "-C", root])
            _devices(root)
            before, since = changes.snapshot(root), time.time()
            work(root)
            changes.write(target, root, before, since)

    return store.layer("\0".join([key, *(under.digest for under in below)]), make)


def inside(root: Path, script: str) -> None:
    """Run shell commands in a root file system. Raises CloudError with the end of what they said."""
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    fixed = {
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C",
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
    }
    run(["chroot", root, "/bin/sh", "-euc", script], env={**proxies, **fixed}, timeout=TIMEOUT)


def clean(root: Path, patterns: Sequence[str]) -> None:
    """Take away what matches."""
    for pattern in patterns:
        for path in list(root.glob(pattern)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _devices(root: Path) -> None:
    """What programs of an installation open; images have none, the runtime makes them."""
    (root / "dev").mkdir(exist_ok=True)
    for name, (major, minor) in DEVICES.items():
        os.mknod(root / "dev" / name, 0o020666, os.makedev(major, minor))
        (root / "dev" / name).chmod(0o666)
    (root / "dev/shm").mkdir()  # semaphores of programs that work in several processes
    (root / "dev/shm").chmod(0o1777)


def _key(*parts: str) -> str:
    return "\0".join([*parts, str(VERSION)])
