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
    """Upstream: an https repository, or the OCI address that the chart's name follows."""
    app: str
    """Version of what it installs."""

    @property
    def file(self) -> str:
        """Name of its package."""
        return f"{self.name}-{self.version}.tgz"


@dataclass(frozen=True)
class Image:
    """A container image."""

    name: str
    """With its registry, such as quay.io/argoproj/argocd."""
    tag: str
    digest: str | None = None
    """sha256:... of its manifest or index. None: not known here, so an environment may give it (`leasehold:images`)."""

    @property
    def registry(self) -> str:
        """Host that it comes from."""
        return self.name.partition("/")[0]

    @property
    def repository(self) -> str:
        """Its name without the registry."""
        return self.name.partition("/")[2]

    @property
    def tagged(self) -> str:
        """Name and tag."""
        return f"{self.name}:{self.tag}"


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
DEVICE_PLUGIN = Chart("nvidia-device-plugin", "0.20.0", "https://nvidia.github.io/k8s-device-plugin", "0.20.0")
# renovate: datasource=helm depName=dcgm-exporter registryUrl=https://nvidia.github.io/dcgm-exporter/helm-charts
DCGM_EXPORTER = Chart("dcgm-exporter", "4.8.2", "https://nvidia.github.io/dcgm-exporter/helm-charts", "4.5.3")

# renovate: datasource=docker depName=quay.io/jetstack/charts/cert-manager
CERT_MANAGER_CHART = Chart("cert-manager", "v1.21.1", "oci://quay.io/jetstack/charts", "v1.21.1")
# renovate: datasource=helm depName=traefik registryUrl=https://traefik.github.io/charts
TRAEFIK_CHART = Chart("traefik", "41.3.0", "https://traefik.github.io/charts", "v3.7.11")
# renovate: datasource=helm depName=oauth2-proxy registryUrl=https://oauth2-proxy.github.io/manifests
OAUTH2_PROXY_CHART = Chart("oauth2-proxy", "10.7.0", "https://oauth2-proxy.github.io/manifests", "7.15.3")
# renovate: datasource=helm depName=cloudnative-pg registryUrl=https://cloudnative-pg.github.io/charts
CNPG_CHART = Chart("cloudnative-pg", "0.29.0", "https://cloudnative-pg.github.io/charts", "1.30.0")
# renovate: datasource=helm depName=plugin-barman-cloud registryUrl=https://cloudnative-pg.github.io/charts
BARMAN_CHART = Chart("plugin-barman-cloud", "0.7.0", "https://cloudnative-pg.github.io/charts", "v0.13.0")
# renovate: datasource=helm depName=seaweedfs registryUrl=https://seaweedfs.github.io/seaweedfs/helm
SEAWEEDFS_CHART = Chart("seaweedfs", "4.44.0", "https://seaweedfs.github.io/seaweedfs/helm", "4.44")
# renovate: datasource=docker depName=ghcr.io/mlflow/charts/mlflow
MLFLOW_CHART = Chart("mlflow", "0.1.0", "oci://ghcr.io/mlflow/charts", "3.14.0")
# renovate: datasource=helm depName=argo-cd registryUrl=https://argoproj.github.io/argo-helm
ARGO_CD_CHART = Chart("argo-cd", "10.1.1", "https://argoproj.github.io/argo-helm", "v3.4.4")
# renovate: datasource=helm depName=argo-workflows registryUrl=https://argoproj.github.io/argo-helm
ARGO_WORKFLOWS_CHART = Chart("argo-workflows", "1.0.18", "https://argoproj.github.io/argo-helm", "v4.0.6")
# renovate: datasource=helm depName=argo-events registryUrl=https://argoproj.github.io/argo-helm
ARGO_EVENTS_CHART = Chart("argo-events", "2.4.22", "https://argoproj.github.io/argo-helm", "v1.9.10")
# renovate: datasource=helm depName=kube-prometheus-stack registryUrl=https://prometheus-community.github.io/helm-charts
PROMETHEUS_STACK_CHART = Chart(
    "kube-prometheus-stack", "88.5.3", "https://prometheus-community.github.io/helm-charts", "v0.93.1"
)

# Images. A chart's own pods take them by these names; operators are told theirs.
CERT_MANAGER_IMAGES = tuple(
    Image(f"quay.io/jetstack/cert-manager-{part}", CERT_MANAGER_CHART.app)
    for part in ("controller", "webhook", "cainjector", "startupapicheck", "acmesolver")
)
TRAEFIK = Image("docker.io/library/traefik", TRAEFIK_CHART.app)
OAUTH2_PROXY = Image("quay.io/oauth2-proxy/oauth2-proxy", f"v{OAUTH2_PROXY_CHART.app}")
CNPG_OPERATOR = Image("ghcr.io/cloudnative-pg/cloudnative-pg", CNPG_CHART.app)
BARMAN_PLUGIN = Image("ghcr.io/cloudnative-pg/plugin-barman-cloud", BARMAN_CHART.app)
BARMAN_SIDECAR = Image("ghcr.io/cloudnative-pg/plugin-barman-cloud-sidecar", BARMAN_CHART.app)
# renovate: datasource=docker depName=ghcr.io/cloudnative-pg/postgresql allowedVersions=<19
POSTGRES = Image("ghcr.io/cloudnative-pg/postgresql", "18.1-minimal-trixie")
# The last release with security fixes of a project that has ended: docs/decisions, "The object store's contract".
MINIO = Image("docker.io/minio/minio", "RELEASE.2025-10-15T17-29-55Z")
SEAWEEDFS = Image("docker.io/chrislusf/seaweedfs", SEAWEEDFS_CHART.app)
# renovate: datasource=docker depName=ghcr.io/mlflow/mlflow
MLFLOW = Image("ghcr.io/mlflow/mlflow", "v3.17.2-full")
# renovate: datasource=docker depName=docker.io/library/registry
REGISTRY = Image("docker.io/library/registry", "3.1.2")
ARGO_CD = Image("quay.io/argoproj/argocd", ARGO_CD_CHART.app)
# renovate: datasource=docker depName=ecr-public.aws.com/docker/library/redis allowedVersions=<9
REDIS = Image("ecr-public.aws.com/docker/library/redis", "8.2.3-alpine")
ARGO_WORKFLOWS_IMAGES = tuple(
    Image(f"quay.io/argoproj/{part}", ARGO_WORKFLOWS_CHART.app)
    for part in ("workflow-controller", "argoexec", "argocli")
)
ARGO_EVENTS = Image("quay.io/argoproj/argo-events", ARGO_EVENTS_CHART.app)
# renovate: datasource=docker depName=docker.io/library/nats allowedVersions=<2.11
NATS = Image("docker.io/library/nats", "2.10.29")
PROMETHEUS_OPERATOR = Image("quay.io/prometheus-operator/prometheus-operator", PROMETHEUS_STACK_CHART.app)
CONFIG_RELOADER = Image("quay.io/prometheus-operator/prometheus-config-reloader", PROMETHEUS_STACK_CHART.app)
# renovate: datasource=docker depName=quay.io/prometheus/prometheus
PROMETHEUS = Image("quay.io/prometheus/prometheus", "v3.14.0-distroless")
# renovate: datasource=docker depName=quay.io/prometheus/alertmanager
ALERTMANAGER = Image("quay.io/prometheus/alertmanager", "v0.34.0")
# renovate: datasource=docker depName=quay.io/prometheus/node-exporter
NODE_EXPORTER = Image("quay.io/prometheus/node-exporter", "v1.12.1")
# renovate: datasource=docker depName=registry.k8s.io/kube-state-metrics/kube-state-metrics
KUBE_STATE_METRICS = Image("registry.k8s.io/kube-state-metrics/kube-state-metrics", "v2.20.0")
# renovate: datasource=docker depName=docker.io/grafana/grafana
GRAFANA = Image("docker.io/grafana/grafana", "13.2.0")
# An image with a C library that the driver's nvidia-smi runs with: busybox's has not all of it.
SMOKE = Image("nvcr.io/nvidia/cuda", "13.0.1-base-ubuntu24.04")
# Our own small Jobs: Python with its standard library; what they run is a mounted script.
# renovate: datasource=docker depName=docker.io/library/python allowedVersions=<3.14
PYTHON = Image("docker.io/library/python", "3.13.9-slim-trixie")
# renovate: datasource=docker depName=docker.io/moby/buildkit
BUILDKIT = Image("docker.io/moby/buildkit", "v0.34.2-rootless")
# Lists what is in an image, beside each build of it. The digest is the index's, as BuildKit's default tag has it too.
# renovate: datasource=docker depName=docker.io/docker/buildkit-syft-scanner
SBOM_SCANNER = Image(
    "docker.io/docker/buildkit-syft-scanner",
    "1.12.0",
    "sha256:ae4f3b554449e7e25548e7d8ccc029d17357348e30c6e3df01b92bc93654d6a9",
)
# Steps of the pipeline: Python with git.
# renovate: datasource=docker depName=docker.io/library/python allowedVersions=<3.14
PYTHON_GIT = Image("docker.io/library/python", "3.13.9-trixie")

IMAGES: tuple[Image, ...] = (
    *CERT_MANAGER_IMAGES,
    *(
        TRAEFIK,
        OAUTH2_PROXY,
        CNPG_OPERATOR,
        BARMAN_PLUGIN,
        BARMAN_SIDECAR,
        POSTGRES,
        MINIO,
        SEAWEEDFS,
        MLFLOW,
        REGISTRY,
    ),
    *(ARGO_CD, REDIS, *ARGO_WORKFLOWS_IMAGES, ARGO_EVENTS, NATS, PROMETHEUS_OPERATOR, CONFIG_RELOADER, PROMETHEUS),
    *(ALERTMANAGER, NODE_EXPORTER, KUBE_STATE_METRICS, GRAFANA, PYTHON, PYTHON_GIT, BUILDKIT, SBOM_SCANNER),
)
"""Every image that the platform runs."""


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
