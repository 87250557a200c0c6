"""The component binaries: they travel inside the executable and are unpacked once per build, as k3s does."""

import fcntl
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from .files import digest
from .log import Fatal

ARCHIVE = "bin.tar.zst"


def _unpack(source: zipfile.ZipFile, folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    (partial / "bin").mkdir(parents=True, exist_ok=True)
    with source.open(ARCHIVE) as packed:
        unpacker = subprocess.Popen(
            ["tar", "--use-compress-program=zstd", "-xf", "-", "-C", partial / "bin"], stdin=subprocess.PIPE
        )
        if unpacker.stdin is None:
            raise Fatal("tar: no standard input")
        while block := packed.read(1 << 20):
            unpacker.stdin.write(block)
        unpacker.stdin.close()
        if unpacker.wait():
            raise Fatal(f"{ARCHIVE} inside {sys.argv[0]} cannot be unpacked: install the executable again")
    for name in source.namelist():
        if name.startswith("k3s/manifests/"):
            target = partial / "manifests" / Path(name).name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(source.read(name))
    partial.rename(folder)
    current = folder.parent / "current"
    current.unlink(missing_ok=True)
    current.symlink_to(folder.name)


def unpack(data: Path) -> Path:
    """The folder with `bin/` and `manifests/` below `data`.

    Raises Fatal if the executable does not hold them.
    """
    executable = Path(sys.argv[0]).resolve()
    if not zipfile.is_zipfile(executable):
        raise Fatal(f"{executable} is not the packed executable: see rehearsal/kubernetes/k3s/README.md, Packing")
    with zipfile.ZipFile(executable) as source:
        try:
            info = source.getinfo(ARCHIVE)
        except KeyError:
            raise Fatal(f"{executable} holds no {ARCHIVE}: pack it again") from None
        manifests = "".join(
            str(entry.CRC) for entry in source.infolist() if entry.filename.startswith("k3s/manifests/")
        )
        folder = data / "data" / digest(f"{info.CRC} {info.file_size} {manifests}")
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with (folder.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.exists():
                    _unpack(source, folder)
    os.environ["PATH"] = f"{folder / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return folder
