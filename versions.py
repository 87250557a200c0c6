"""Every pinned version and digest of what is downloaded, in one place.

The comment above a pin is for Renovate (regex manager): it says where newer releases are found. A digest belongs
to its version: whoever changes one changes both. None stands where no published digest was at hand: an
environment that needs such an artifact gives the digest itself (`leasehold:artifacts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Artifact:
    """A file that a machine downloads."""

    path: str
    """Below a mirror's base URL."""
    url: str
    """Upstream."""
    sha256: str | None
    """None: not pinned here, so the environment must say it."""
    proof: str = ""
    """Where its publisher says the digest."""


@dataclass(frozen=True)
class Chart:
    """A Helm chart."""

    name: str
    version: str
    repository: str
    """Upstream repository, https."""
    sha256: str | None

    @property
    def path(self) -> str:
        """Below a mirror's base URL."""
        return f"charts/{self.name}-{self.version}.tgz"


# renovate: datasource=github-releases depName=k3s-io/k3s versioning=semver-coerced
K3S = "v1.36.4+k3s1"
# sha256sum-amd64.txt of the release; install.sh of the tag.
K3S_SHA256: Mapping[str, Mapping[str, str]] = {
    "v1.36.4+k3s1": {
        "k3s": "835873f37245fc615f547a2fe2af9402a347875f13fa64a1f136de644955ea3f",
        "k3s-airgap-images-amd64.tar.zst": "9024613e2d468c51ba0e5ba21898604c41339354449fb3338cc6a7931189eb6a",
        "install.sh": "46177d4c99440b4c0311b67233823a8e8a2fc09693f6c89af1a7161e152fbfad",
    },
}

# renovate: datasource=github-releases depName=NVIDIA/nvidia-container-toolkit
NVIDIA_TOOLKIT = "1.20.1"
# Packages file of the repository: nvidia.github.io/libnvidia-container/stable/deb/amd64/Packages
NVIDIA_TOOLKIT_SHA256: Mapping[str, str | None] = {
    "libnvidia-container1": None,
    "libnvidia-container-tools": None,
    "nvidia-container-toolkit-base": None,
    "nvidia-container-toolkit": None,
}

# renovate: datasource=github-releases depName=tailscale/tailscale
TAILSCALE = "1.98.9"
# pkgs.tailscale.com/stable/tailscale_VERSION_amd64.tgz.sha256
TAILSCALE_SHA256: str | None = "11be30ad301d48f84ff52fec34f8a2f78eb3e3dee1be4e9624d19fccc8df5540"

# renovate: datasource=github-releases depName=kubernetes-sigs/kubespray
KUBESPRAY = "v2.31.0"
KUBESPRAY_SHA256: str | None = None
# The Kubernetes that this release of Kubespray installs and was tested with.
KUBESPRAY_KUBERNETES = "1.35.4"

# renovate: datasource=helm depName=nvidia-device-plugin registryUrl=https://nvidia.github.io/k8s-device-plugin
DEVICE_PLUGIN = Chart("nvidia-device-plugin", "0.20.0", "https://nvidia.github.io/k8s-device-plugin", None)
# renovate: datasource=helm depName=dcgm-exporter registryUrl=https://nvidia.github.io/dcgm-exporter/helm-charts
DCGM_EXPORTER = Chart("dcgm-exporter", "4.8.2", "https://nvidia.github.io/dcgm-exporter/helm-charts", None)


def k3s(version: str = K3S) -> tuple[Artifact, Artifact, Artifact]:
    """Binary, images and install script of a k3s release, amd64."""
    digests, tag = K3S_SHA256.get(version, {}), quote(version)
    release = f"https://github.com/k3s-io/k3s/releases/download/{tag}"

    source = f"https://raw.githubusercontent.com/k3s-io/k3s/{tag}"

    def artifact(file: str, base: str, proof: str) -> Artifact:
        return Artifact(f"k3s/{version}/{file}", f"{base}/{file}", digests.get(file), f"{base}/{proof}")

    return (
        artifact("k3s", release, "sha256sum-amd64.txt"),
        artifact("k3s-airgap-images-amd64.tar.zst", release, "sha256sum-amd64.txt"),
        artifact("install.sh", source, "install.sh.sha256sum"),
    )


def nvidia_toolkit() -> tuple[Artifact, ...]:
    """The packages of the NVIDIA container toolkit, in the order in which they depend on each other."""
    base = "https://nvidia.github.io/libnvidia-container/stable/deb/amd64"
    files = {f"{name}_{NVIDIA_TOOLKIT}-1_amd64.deb": sha256 for name, sha256 in NVIDIA_TOOLKIT_SHA256.items()}
    return tuple(
        Artifact(f"nvidia-container-toolkit/{NVIDIA_TOOLKIT}/{file}", f"{base}/{file}", sha256, f"{base}/Packages")
        for file, sha256 in files.items()
    )


def tailscale() -> Artifact:
    """Tailscale's static binaries, amd64."""
    file = f"tailscale_{TAILSCALE}_amd64.tgz"
    url = f"https://pkgs.tailscale.com/stable/{file}"
    return Artifact(f"tailscale/{file}", url, TAILSCALE_SHA256, f"{url}.sha256")


def kubespray() -> Artifact:
    """Kubespray's source."""
    base = "https://github.com/kubernetes-sigs/kubespray/archive/refs/tags"
    url = f"{base}/{KUBESPRAY}.tar.gz"
    proof = f"your own sha256sum of {url} (GitHub publishes none; compare its files with the signed tag)"
    return Artifact(f"kubespray/{KUBESPRAY}.tar.gz", url, KUBESPRAY_SHA256, proof)
