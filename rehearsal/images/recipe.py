"""What an image is made of, and how it is made: one layer for each thing that other images may share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rehearsal.images import debian, oci, store, wheels
from rehearsal.images.debian import Packages
from rehearsal.images.oci import Layer, Start
from rehearsal.kubernetes import build, tars
from rehearsal.kubernetes.build import Binary, Progress
from rehearsal.kubernetes.images import GROUP, PASSWD
from rehearsal.kubernetes.tars import Entries, File, Folder


@dataclass(frozen=True)
class Recipe:
    """An image: its layers from the bottom up, how it starts, and what of it is upstream's."""

    kind: Literal["real", "stand-in"]
    reason: str
    """Which software it really is, and in which version; or what stands in for it."""
    start: Start = Start()
    base: bool = False
    """Whether there is a Debian below; without one there is what `programs` and `files` say, and users' names."""
    packages: Packages | None = None
    lock: str = ""
    """Name of a lock of Python packages beside this file; they are installed in /opt/venv. "": none."""
    programs: Mapping[str, Binary] = field(default_factory=dict)
    """Path in the image, without a leading slash, to the program that is there."""
    files: Entries = field(default_factory=dict)
    """Files of our own."""

    def layers(self, progress: Progress) -> Iterator[Layer]:
        """Its layers, made where they are not kept yet."""
        if self.base:
            yield debian.base(progress)
        if self.packages:
            yield debian.packages(self.packages, progress)
        if self.lock:
            yield wheels.layer(self.lock, progress)
        own = self._own(progress)
        if own:
            yield _files(own)

    def _own(self, progress: Progress) -> Entries:
        built = {path: File(build.build(program, progress)) for path, program in self.programs.items()}
        below: Entries = {} if self.base else {"tmp": Folder(0o1777), "etc/passwd": PASSWD, "etc/group": GROUP}
        return {**below, **built, **self.files}


def make(recipe: Recipe, progress: Progress) -> str:
    """Make an image, or find it made; returns the digest of its manifest. Raises CloudError."""
    layers = list(recipe.layers(progress))
    described = oci.text(oci.config(recipe.start, [layer.content for layer in layers]))
    return store.put(oci.text(oci.manifest(store.put(described), len(described), layers)))


def _files(entries: Entries) -> Layer:
    """A layer of files; a program in the cache is known by its name, which says what it was built from."""
    key = "\0".join(f"{path} {entry!r}" for path, entry in sorted(entries.items()))

    def write(target: Path) -> None:
        with target.open("wb") as opened:
            tars.write(opened, entries)

    return store.layer(f"files\0{key}", write)
