"""The air-gap images archive: what a bare cluster runs, in the format of `docker save`, which containerd imports."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.cloud.process import run
from rehearsal.kubernetes import build, names, tars
from rehearsal.kubernetes.tars import Entries, File, Folder, Link

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "ld-linux-x86-64.so.2"
# Not the static one: its look-ups of names crash now and then (glibc's resolver is not made to be linked statically).
SHELL = ("usr/bin/busybox", *(f"{LIBRARIES}/{name}" for name in ("libc.so.6", "libresolv.so.2", LOADER)))
"""Files of the machines' image that make the shell of the cluster's images."""
PASSWD = File("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", 0o644)
GROUP = File("root:x:0:\nnogroup:x:65534:\n", 0o644)


@dataclass(frozen=True)
class Image:
    """A container image: its names, its layers from the bottom up, and how it starts."""

    names: tuple[str, ...]
    layers: tuple[Entries, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})

    def config(self, digests: Sequence[str]) -> dict[str, Any]:
        """The image's configuration, for layers with these sha256 digests."""
        started = {
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            **({"Entrypoint": list(self.entrypoint)} if self.entrypoint else {}),
            **({"Cmd": list(self.command)} if self.command else {}),
        }
        return {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": started,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        }


def write(target: Path, images: Sequence[Image]) -> None:
    """Write an archive of images, uncompressed. A layer that several images share is in it once."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        layers: dict[int, str] = {}
        entries: dict[str, File | Link | Folder] = {}
        manifest = []
        for image in images:
            for layer in image.layers:
                if id(layer) not in layers:
                    file = Path(folder, str(len(layers)))
                    with file.open("wb") as opened:
                        tars.write(opened, layer)
                    with file.open("rb") as opened:
                        layers[id(layer)] = hashlib.file_digest(opened, "sha256").hexdigest()
                    entries[f"{layers[id(layer)]}.tar"] = File(file, 0o644)
            digests = [layers[id(layer)] for layer in image.layers]
            config = json.dumps(image.config(digests), sort_keys=True)
            name = f"{hashlib.sha256(config.encode()).hexdigest()}.json"
            entries[name] = File(config, 0o644)
            manifest.append(
                {"Config": name, "RepoTags": list(image.names), "Layers": [f"{digest}.tar" for digest in digests]}
            )
        entries["manifest.json"] = File(json.dumps(manifest), 0o644)
        with target.open("wb") as opened:
            tars.write(opened, entries)


def busybox(root: Path) -> Entries:
    """A small root file system around the busybox below `root`, with every applet."""
    libraries = root / LIBRARIES
    words = run([libraries / LOADER, "--library-path", libraries, root / SHELL[0], "--list"]).split()
    return {
        "bin/busybox": File(root / SHELL[0]),
        **{f"bin/{applet}": Link("busybox") for applet in words if applet != "busybox"},
        **{file.removeprefix("usr/"): File(root / file) for file in SHELL[1:]},
        f"lib64/{LOADER}": Link(f"/{LIBRARIES.removeprefix('usr/')}/{LOADER}"),
        "etc/passwd": PASSWD,
        "etc/group": GROUP,
        "etc/nsswitch.conf": File("hosts: files dns\n", 0o644),
        "tmp": Folder(0o1777),
        "root": Folder(0o700),
        # What a runtime mounts a program into; made by runc itself, only root could look into it.
        "usr": Folder(0o755),
        "usr/bin": Folder(0o755),
    }


def system(programs: Mapping[str, Path], shell: Path) -> list[Image]:
    """The images of names.py; `programs` maps a binary's name to its file, `shell` is the folder with SHELL."""

    def only(path: str, name: str) -> Entries:
        return {path: File(programs[name]), "tmp": Folder(0o1777), "etc/passwd": PASSWD, "etc/group": GROUP}

    files = busybox(shell)
    gpu = {"gpu-stand-in": File(programs["gpu-stand-in"])}
    nvidia = {"PATH": "/usr/bin:/bin", "NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    return [
        Image((names.PAUSE,), ({"pause": File(programs["pause"])},), ("/pause",)),
        Image((names.BUSYBOX,), (files,), (), ("sh",)),
        Image((names.COREDNS,), (only("coredns", "coredns"),), ("/coredns",)),
        Image((names.LOCAL_PATH,), (only("bin/local-path-provisioner", "local-path-provisioner"),)),
        Image((names.METRICS_SERVER,), (only("metrics-server", "metrics-server"),), ("/metrics-server",)),
        Image((names.GPU_STAND_IN,), (files, gpu), ("/gpu-stand-in",), (), nvidia),
        Image((names.CUDA_STAND_IN,), (files,), (), ("sh",), nvidia),
    ]


PROGRAMS = (build.PAUSE, build.COREDNS, build.LOCAL_PATH, build.METRICS_SERVER, build.GPU_STAND_IN)
