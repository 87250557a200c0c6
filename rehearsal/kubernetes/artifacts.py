"""Everything that a machine downloads, made on this computer: the files of a mirror, and their digests."""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import versions
from rehearsal.cloud import Cloud, image
from rehearsal.cloud.parts import ARTIFACTS
from rehearsal.cloud.process import run
from rehearsal.kubernetes import build, debs, images, names, pack, programs, server, tars
from rehearsal.kubernetes.build import Progress
from rehearsal.paths import PROJECT, alone, cache

IMAGES = "k3s-airgap-images-amd64.tar.zst"


@dataclass(frozen=True)
class Artifacts:
    """A folder with the layout of a mirror, and the sha256 of every file in it by its path."""

    folder: Path
    digests: dict[str, str]

    def config(self, source: str) -> dict[str, object]:
        """The value of `leasehold:artifacts` for a mirror with this base URL."""
        return {"source": source, "digests": self.digests}


def url(source: str, path: str) -> str:
    """Where a mirror has a path."""
    return f"{source}/{quote(path)}"


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _kept(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """A file of the cache whose content follows from `key`; made while others wait. Its digest lies beside it."""
    target = cache() / "artifacts" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    with alone(target):
        if not target.exists():
            new = Path(f"{target}.new")
            new.unlink(missing_ok=True)
            make(new)
            Path(f"{target}.sha256").write_text(_digest(new))
            new.replace(target)
    return target


def _images(fallback: Path, progress: Progress) -> Path:
    built = {binary.name: build.build(binary, progress) for binary in images.PROGRAMS}
    machine = image.build(fallback)
    sources = [Path(module.__file__ or "").read_text() for module in (images, names, tars)]
    key = "\0".join([*map(str, built.values()), machine.name, *sources])

    def make(target: Path) -> None:
        progress("packing the images of the cluster")
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            plain = Path(folder, "images.tar")
            shell = [f"./{file}" for file in images.SHELL]
            run(["tar", "--use-compress-program=zstd", "-xf", machine, "-C", folder, *shell])
            images.write(plain, images.system(built, Path(folder)))
            pack.compress(plain, target)

    return _kept("images", key, make)


def _k3s(version: str, progress: Progress) -> Path:
    kubernetes = build.kubernetes(version.partition("+")[0])
    binaries = (*kubernetes, *build.ETCD, *build.CONTAINERD, programs.KUBE_ROUTER)
    built = {binary.name: build.build(binary, progress) for binary in binaries}
    content = "\0".join(map(str, built.values()))

    def compress(target: Path) -> None:
        progress(f"packing the programs of {version}")
        pack.binaries(built, target)

    packed = _kept("programs", content, compress)
    own = hashlib.sha256(b"\0".join(f"{name}\0".encode() + text for name, text in pack.sources().items())).hexdigest()
    return _kept("k3s", f"{version} {packed.name} {own}", lambda target: pack.write(target, version, packed))


def _small(k3s: Iterable[str]) -> dict[str, Callable[[], bytes]]:
    """What is quickly made anew: packages and the install script."""
    toolkit = versions.NVIDIA_TOOLKIT
    found: dict[str, Callable[[], bytes]] = {}
    for package in debs.nvidia_toolkit(toolkit):
        found[f"nvidia-container-toolkit/{toolkit}/{package.file}"] = partial(debs.render, package)
    for version in k3s:
        found[f"k3s/{version}/install.sh"] = (pack.STAND_IN / "install.sh").read_bytes
    return found


def _large(k3s: Iterable[str]) -> list[str]:
    return [f"k3s/{version}/{name}" for version in k3s for name in ("k3s", IMAGES)]


def paths(k3s: Iterable[str]) -> list[str]:
    """What `prepare` makes for these releases of k3s; makes nothing."""
    releases = tuple(k3s)
    return [*_small(releases), *_large(releases)]


def prepare(folder: Path, progress: Progress, k3s: Iterable[str] = (versions.K3S,)) -> Artifacts:
    """Make the artifacts for these releases of k3s, and show them below `folder`. Raises CloudError.

    A release other than the one that was built is the same programs under another label.
    """
    releases = tuple(k3s)
    new = Path(f"{folder}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    digests = {}
    for version in releases:
        for path, source in zip(
            _large((version,)), (_k3s(version, progress), _images(folder.parent, progress)), strict=True
        ):
            digests[path] = Path(f"{source}.sha256").read_text()
            _parent(new, path).symlink_to(source)
    for path, content in _small(releases).items():
        data = content()
        digests[path] = hashlib.sha256(data).hexdigest()
        _parent(new, path).write_bytes(data)
    _swap(new, folder)
    return Artifacts(folder, dict(sorted(digests.items())))


def serve(cloud: Cloud, folder: Path) -> str:
    """Offer a folder to the machines until the cloud goes down; returns its base URL, which stays the same."""
    port = cloud.port(ARTIFACTS)
    command = [sys.executable, "-m", server.__name__, cloud.host_address(), str(port), str(folder)]
    cloud.beside(ARTIFACTS, command, {"PYTHONPATH": str(PROJECT)}, Path(server.__file__), port)
    return f"http://{cloud.host_address()}:{port}"


def _parent(folder: Path, path: str) -> Path:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _swap(new: Path, folder: Path) -> None:
    """Put a folder into another's place; a download that is under way keeps its open file."""
    old = Path(f"{folder}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
