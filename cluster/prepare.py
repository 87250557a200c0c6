"""A machine before Kubernetes comes: kernel, time, firewall, volumes, GPU runtime, VPN."""

from dataclasses import dataclass

from cluster import step
from config import Download

MINUTES = 25
"""Bound of the step: copying a container store to a new volume takes the longest."""


@dataclass(frozen=True)
class Preparation:
    """What a machine needs before it can be a node."""

    host: str
    address: str
    """Address for the other nodes."""
    volumes: tuple[tuple[str, str], ...] = ()
    """Name and device of each data volume; the first carries container storage, local volumes and snapshots."""
    gpu: bool = False
    """A GPU must be there."""
    toolkit: tuple[Download, ...] = ()
    """Packages of the NVIDIA container toolkit, in the order of their dependencies."""
    tailscale: Download | None = None
    tailscale_tag: str | None = None
    api_forward: bool = False
    """Port 6443 leads to the servers: for a bastion that is none itself."""


def script(preparation: Preparation) -> str:
    """Render the command; running it again changes nothing that is as it should be."""
    vpn = preparation.tailscale
    return step.command(
        host=preparation.host,
        step="prepare",
        minutes=MINUTES,
        variables={
            "address": preparation.address,
            "gpu": preparation.gpu,
            "api_forward": preparation.api_forward,
            "volume_names": [name for name, _ in preparation.volumes],
            "volume_devices": [device for _, device in preparation.volumes],
            "toolkit_paths": [package.path for package in preparation.toolkit],
            "toolkit_urls": [package.url for package in preparation.toolkit],
            "toolkit_sha256s": [package.sha256 for package in preparation.toolkit],
            "tailscale_path": vpn.path if vpn else "",
            "tailscale_url": vpn.url if vpn else "",
            "tailscale_sha256": vpn.sha256 if vpn else "",
            "tailscale_tag": preparation.tailscale_tag or "",
        },
        parts=("volumes.sh", "prepare.sh"),
    )


def secrets(auth_key: str | None) -> str:
    """Render the command's stdin; the key is for machines that join the VPN."""
    return step.stdin({"tailscale_auth_key": auth_key})
