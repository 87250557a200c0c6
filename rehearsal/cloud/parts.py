"""What of the cloud is real and what stands in for something, for `status` and the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rehearsal.cloud import packages


@dataclass(frozen=True)
class Part:
    """One part of the cloud."""

    name: str
    kind: Literal["real", "stand-in"]
    reason: str
    """Why it stands in, or what makes it real; for a process also whether it runs."""
    seconds: float = 0.0
    """What it took in the last `up`; 0 when it was there already."""


SERVICES = {
    "mariadb": "the database server, durability off",
    "keystone": "identity",
    "placement": "resource inventories",
    "nova": "compute: API, conductor, scheduler and computes in one process, message bus in memory",
    "neutron": "networking",
    "cinder": "volumes",
    "glance": "images",
    "blazar": "leases of flavors and of hosts, looked at every second instead of every ten",
}
ARTIFACTS = "artifacts"
"""The process that serves what machines download."""
IMAGES = "images"
"""The process that serves what their runtimes pull."""
PACKAGES = {"placement": "openstack-placement"}
STAND_INS = (
    ("machines", "podman containers with systemd, cloud-init and sshd instead of virtual machines; sizes are no limit"),
    (
        "machine image",
        "Debian 12 by debootstrap under every image name; no kernel; CUDA images have a GPU driver by name only",
    ),
    ("capacity", "256 vCPU, 1 TiB of memory and 100 TB of disk are offered, whatever this computer has"),
    ("volumes", "sparse files on loop devices: real block devices, one backend for every volume type"),
    ("internet", "machines reach this computer, nothing beyond it"),
    ("agent", "bridges and nftables in a network namespace instead of OVN; IPv4, no DHCP, no metadata address"),
)


def describe(plan: Mapping[str, Any], running: Mapping[str, int | None], seconds: Mapping[str, float]) -> list[Part]:
    """Every part of a cloud with this plan."""
    parts = []
    for name, what in SERVICES.items():
        pid = running.get(name)
        took = seconds.get("database" if name == "mariadb" else "services", 0.0)
        release = "" if name == "mariadb" else f" {packages.version(PACKAGES.get(name, name))}"
        state = f"runs (process {pid})" if pid else "does not run"
        parts.append(Part(name, "real", f"{what}{release}; {state}", took))
    for name, why in STAND_INS:
        if name == "agent":
            why = f"{why}; {'runs' if running.get('agent') else 'does not run'}"  # noqa: PLW2901
        parts.append(Part(name, "stand-in", why, seconds.get(name, 0.0)))
    if pid := running.get(ARTIFACTS):
        what = f"a mirror on this computer, with stand-ins instead of upstream's files; runs (process {pid})"
        parts.append(Part(ARTIFACTS, "stand-in", what, seconds.get(ARTIFACTS, 0.0)))
    if pid := running.get(IMAGES):
        what = f"one registry on this computer instead of upstream's, and it only gives; runs (process {pid})"
        parts.append(Part(IMAGES, "stand-in", what, seconds.get(IMAGES, 0.0)))
    regions = plan.get("regions", [])
    if len(regions) > 1:
        parts.append(Part("regions", "stand-in", f"{', '.join(regions)}: one set of services in one catalogue"))
    if plan.get("missing_regions"):
        names = ", ".join(plan["missing_regions"])
        parts.append(Part("unknown regions", "stand-in", f"{names}: of no known site, so not made"))
    if plan.get("metal_hosts"):
        count = len(plan["metal_hosts"])
        parts.append(Part("bare metal", "stand-in", f"{count} hosts to lease, whose machines are containers too"))
    return parts
