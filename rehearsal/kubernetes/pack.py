"""The executable `k3s` of the rehearsal: the stand-in's Python and the component binaries in one file."""

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from rehearsal.cloud.process import run
from rehearsal.kubernetes import tars
from rehearsal.kubernetes.tars import File

HERE = Path(__file__).resolve().parent
STAND_IN = HERE / "k3s"
INTERPRETER = b"#!/usr/bin/env python3\n"
START = 'import runpy\n\nrunpy.run_module("k3s", run_name="__main__")\n'
LEFT_OUT = ("README.md", "install.sh")


def sources() -> dict[str, bytes]:
    """The stand-in's own files, by their path in the executable."""
    files = [file for file in sorted(STAND_IN.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
    found = {f"k3s/{file.relative_to(STAND_IN)}": file.read_bytes() for file in files if file.name not in LEFT_OUT}
    return {"__main__.py": START.encode(), **found, "k3s/names.py": (HERE / "names.py").read_bytes()}


def compress(source: Path, target: Path) -> None:
    """Compress a file at a level that unpacks in about a second."""
    run(["zstd", "-q", "-f", "-3", "-T0", source, "-o", target], timeout=600)


def binaries(programs: Mapping[str, Path], target: Path) -> None:
    """Pack the component binaries, by their names."""
    with tempfile.NamedTemporaryFile(dir=target.parent) as plain:
        tars.write(plain, {name: File(program) for name, program in programs.items()})
        plain.flush()
        compress(Path(plain.name), target)


def write(target: Path, version: str, packed: Path) -> None:
    """Write the executable of a version around packed binaries."""
    with target.open("wb") as file:
        file.write(INTERPRETER)
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in {**sources(), "VERSION": version.encode()}.items():
                archive.writestr(_info(name), content)
            with packed.open("rb") as source, archive.open(_info("bin.tar.zst"), "w", force_zip64=True) as inside:
                while block := source.read(1 << 20):
                    inside.write(block)
    target.chmod(0o755)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # with zip's first date, whatever the clock says
    info.external_attr = 0o644 << 16
    return info
