"""Debian packages, and those that stand in for NVIDIA's container toolkit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.kubernetes import tars
from rehearsal.kubernetes.tars import Entries, File

GPU = Path(__file__).resolve().parent / "gpu"
MAGIC = b"!<arch>\n"
DESCRIPTION = "stand-in of a rehearsal: not NVIDIA's software"


@dataclass(frozen=True)
class Package:
    """A binary package for amd64."""

    name: str
    version: str
    depends: str = ""
    files: Entries = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Its file's name."""
        return f"{self.name}_{self.version}_amd64.deb"

    def control(self) -> str:
        """Its control file."""
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": "amd64",
            "Maintainer": "Leasehold rehearsal <nobody@example.org>",
            "Depends": self.depends,
            "Section": "utils",
            "Priority": "optional",
            "Description": DESCRIPTION,
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


def _member(name: str, data: bytes) -> bytes:
    """One file of an `ar` archive, at an even length."""
    header = f"{name:<16}{tars.TIME:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
    return header + data + b"\n" * (len(data) % 2)


def render(package: Package) -> bytes:
    """The package's file."""
    members: Mapping[str, bytes] = {
        "debian-binary": b"2.0\n",
        "control.tar": tars.packed({"control": File(package.control(), 0o644)}, "./"),
        "data.tar": tars.packed(package.files, "./"),
    }
    return MAGIC + b"".join(_member(name, data) for name, data in members.items())


def nvidia_toolkit(version: str) -> list[Package]:
    """The four packages of the toolkit's release, without the revision in `version`."""
    full = f"{version}-1"
    tool = (GPU / "nvidia-ctk").read_text().replace("@VERSION@", version)
    base: Entries = {
        "usr/bin/nvidia-container-runtime": File(GPU / "nvidia_container_runtime.py"),
        "usr/bin/nvidia-ctk": File(tool),
    }
    return [
        Package("libnvidia-container1", full),
        Package("libnvidia-container-tools", full, f"libnvidia-container1 (>= {full})"),
        Package("nvidia-container-toolkit-base", full, "", base),
        Package(
            "nvidia-container-toolkit",
            full,
            f"libnvidia-container-tools (>= {full}), nvidia-container-toolkit-base (= {full})",
        ),
    ]
