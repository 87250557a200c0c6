"""Known sites: what really exists there, so that a name that does not exist is found before a deployment.

Sizes are the sites' published ones; capacities and default quotas are the rehearsal's.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Flavor:
    """A machine size: vCPUs, memory in MiB, root disk in GiB."""

    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    gpus: int = 0


@dataclass(frozen=True)
class Quota:
    """What one project may use; memory in MiB, volumes in GiB."""

    instances: int = 20
    cores: int = 128
    ram_mb: int = 512 * 1024
    volumes: int = 20
    gigabytes: int = 1000
    networks: int = 10
    ports: int = 100
    routers: int = 10
    floating_ips: int = 10
    security_groups: int = 30
    security_group_rules: int = 300


@dataclass(frozen=True)
class Site:
    """What one region offers."""

    flavors: tuple[Flavor, ...]
    images: tuple[str, ...]
    shared_networks: tuple[str, ...]
    external_networks: tuple[str, ...]
    volume_types: tuple[str, ...]
    quota: Quota = Quota()
    bare_metal: bool = False


M1 = (
    Flavor("m1.tiny", 1, 512, 1),
    Flavor("m1.small", 1, 2048, 20),
    Flavor("m1.medium", 2, 4096, 40),
    Flavor("m1.large", 4, 8192, 40),
    Flavor("m1.xlarge", 8, 16384, 40),
)
GPU = (
    Flavor("g1.h100.pci.1", 48, 250 * 1024, 40, gpus=1),
    Flavor("g1.h100.vgpu.1g.12gb", 8, 32 * 1024, 40, gpus=1),
)
BARE_METAL = Flavor("baremetal", 1, 1024, 20)
IMAGES = (
    "CC-Ubuntu20.04",
    "CC-Ubuntu22.04",
    "CC-Ubuntu24.04",
    "CC-Ubuntu20.04-CUDA",
    "CC-Ubuntu22.04-CUDA",
    "CC-Ubuntu24.04-CUDA",
    "CC-Debian12",
)
_METAL = Site((BARE_METAL,), IMAGES, ("sharednet1",), ("public",), (), bare_metal=True)
SITES: Mapping[str, Site] = {
    "KVM@TACC": Site(
        M1 + GPU,
        (*IMAGES, "CC-Ubuntu24.04-CUDA-VGPU"),
        ("sharednet1", "sharednet2"),
        ("public",),
        ("ceph-ssd", "ceph-hdd"),
    ),
    "CHI@TACC": _METAL,
    "CHI@UC": _METAL,
}
GENERIC_QUOTA = Quota(50, 256, 1024 * 1024, 50, 10000, 20, 500, 20, 50, 50, 500)


def sized(name: str) -> Flavor:
    """A flavor of an unknown site: the known size of that name, else a medium one."""
    known = {flavor.name: flavor for flavor in (*M1, *GPU, BARE_METAL)}
    return known.get(name, Flavor(name, 2, 4096, 40, gpus=int(name.startswith("g1."))))
