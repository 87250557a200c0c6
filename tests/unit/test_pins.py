"""Everything that comes from elsewhere is pinned by version and digest; what is not stands here, with the reason.

An exception that is no longer one fails too: the lists say how things are.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import versions
from tests.environments import PROJECT
from versions import Chart, Image

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
VERSION = re.compile(r"v?[0-9]+(\.[0-9]+){1,2}([-+.][A-Za-z0-9.+-]+)?")
NAMED = re.compile(
    r"(?:docker\.io|quay\.io|ghcr\.io|nvcr\.io|registry\.k8s\.io|ecr-public\.aws\.com)"
    r"/[a-z0-9._/-]+:[A-Za-z0-9_][A-Za-z0-9._-]*"
)
TAG_ONLY = "no digest was at hand; `leasehold:images.digests` gives it, as every rehearsal does: docs/policy.md"
IMAGES_WITHOUT_DIGEST = dict.fromkeys(
    (
        *("quay.io/jetstack/cert-manager-controller", "quay.io/jetstack/cert-manager-webhook"),
        *("quay.io/jetstack/cert-manager-cainjector", "quay.io/jetstack/cert-manager-startupapicheck"),
        *("quay.io/jetstack/cert-manager-acmesolver", "docker.io/library/traefik", "quay.io/oauth2-proxy/oauth2-proxy"),
        *("ghcr.io/cloudnative-pg/cloudnative-pg", "ghcr.io/cloudnative-pg/plugin-barman-cloud"),
        *("ghcr.io/cloudnative-pg/plugin-barman-cloud-sidecar", "ghcr.io/cloudnative-pg/postgresql"),
        *("docker.io/minio/minio", "docker.io/chrislusf/seaweedfs", "ghcr.io/mlflow/mlflow"),
        *("docker.io/library/registry", "quay.io/argoproj/argocd", "ecr-public.aws.com/docker/library/redis"),
        *("quay.io/argoproj/workflow-controller", "quay.io/argoproj/argoexec", "quay.io/argoproj/argocli"),
        *("quay.io/argoproj/argo-events", "docker.io/library/nats"),
        *("quay.io/prometheus-operator/prometheus-operator", "quay.io/prometheus-operator/prometheus-config-reloader"),
        *("quay.io/prometheus/prometheus", "quay.io/prometheus/alertmanager", "quay.io/prometheus/node-exporter"),
        *("registry.k8s.io/kube-state-metrics/kube-state-metrics", "docker.io/grafana/grafana"),
        *("nvcr.io/nvidia/cuda", "docker.io/library/python", "docker.io/moby/buildkit"),
        *("docker.io/locustio/locust", "docker.io/rayproject/ray"),
    ),
    TAG_ONLY,
)
FILES_WITHOUT_DIGEST = {
    **dict.fromkeys(
        (
            "libnvidia-container1",
            "libnvidia-container-tools",
            "nvidia-container-toolkit-base",
            "nvidia-container-toolkit",
        ),
        "no digest was at hand: an environment with GPUs is refused until `leasehold:artifacts` gives it",
    ),
    "kubespray": "GitHub publishes no digest of an archive: an environment that wants it must give its own",
}
CHARTS_WITHOUT_DIGEST = dict.fromkeys(
    (
        *("nvidia-device-plugin", "dcgm-exporter", "cert-manager", "traefik", "oauth2-proxy", "cloudnative-pg"),
        *("plugin-barman-cloud", "seaweedfs", "mlflow", "argo-cd", "argo-workflows", "argo-events"),
        "kube-prometheus-stack",
    ),
    "Pulumi's Release takes a version and no digest; `leasehold:charts.digests` pins what a mirror's folder holds",
)
WORKFLOW_IMAGES = {"debian:12": "CI's test machine: what it runs is installed by apt, which checks its archive's keys"}
IMAGES_ELSEWHERE = {
    "docker.io/leasehold/tools:1": "made by the rehearsal, from a lock file",
    "docker.io/rancher/mirrored-pause:3.6": "built by the rehearsal from go.sum, under k3s' name",
    "docker.io/rancher/local-path-provisioner:v0.0.30": "built by the rehearsal from go.sum, under k3s' name",
    "docker.io/rancher/mirrored-library-busybox:1.37.0": "made by the rehearsal, under k3s' name",
    "docker.io/rancher/mirrored-metrics-server:v0.9.0": "built by the rehearsal from go.sum, under k3s' name",
    "docker.io/rancher/mirrored-coredns-coredns:1.15.0": "built by the rehearsal from go.sum, under k3s' name",
    "docker.io/library/python:3.11.14-slim-trixie": "an example for users to build: no digest was at hand",
    "docker.io/leasehold/gpu-stand-in:1": "built by the rehearsal from a program of its own",
    "quay.io/argoproj/argocd:v3.4.4": "an example in a message of config/fields.py",
}
CODE = ("*.py", "*.yaml", "*.yml", "*.sh", "Dockerfile", "Makefile")


def files(*patterns: str) -> Iterator[Path]:
    """Files of the project: nothing below a folder of tools, which begin with a dot, but for CI's."""
    for pattern in patterns:
        for path in sorted(PROJECT.rglob(pattern)):
            parts = path.relative_to(PROJECT).parts
            if not any(part.startswith(".") and part != ".github" for part in parts):
                yield path


def pins(kind: type) -> list[Any]:
    """What versions.py has of a kind."""
    found = [item for value in vars(versions).values() for item in (value if isinstance(value, tuple) else (value,))]
    return list(dict.fromkeys(item for item in found if isinstance(item, kind)))


def workflows() -> list[Path]:
    """CI's."""
    return sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


LOCKS = list(files("*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_package_of_a_lock_file_has_a_version_and_hashes(lock: Path) -> None:
    """pip refuses what differs from them, and anything that is not there."""
    entries = re.split(r"^(?=[A-Za-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
    assert entries
    loose = [entry.splitlines()[0] for entry in entries if not re.match(r"[\w.\[\]-]+==\S+ ", entry)]
    bare = [entry.splitlines()[0] for entry in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)]
    assert (loose, bare) == ([], [])


def test_packages_are_installed_from_lock_files_only_and_with_their_hashes() -> None:
    """One line without it would take whatever the index has that day."""
    called = re.compile(r"(?:bin/pip|pip3|-m pip|\bpip) install\b")
    lines = {
        f"{path.relative_to(PROJECT)}: {line.strip()}"
        for path in files("Makefile", "*.yml", "*.sh", "Dockerfile")
        for line in path.read_text().splitlines()
        if called.search(line)
    }
    assert len(lines) >= 4
    assert [line for line in sorted(lines) if "--require-hashes" not in line] == []


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    """A tag can be moved by whoever takes over its repository."""
    used = [line.strip() for path in workflows() for line in path.read_text().splitlines() if "uses:" in line]
    assert len(used) > 5
    known = re.compile(r"- uses: [\w-]+/[\w./-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+")
    assert [line for line in used if not known.fullmatch(line)] == []


def test_workflows_run_in_known_images_and_with_the_locked_pulumi() -> None:
    """A container of a job is code that runs first."""
    jobs = [job for path in workflows() for job in yaml.safe_load(path.read_text())["jobs"].values()]
    containers = [job["container"] for job in jobs if "container" in job]
    named = {entry["image"] if isinstance(entry, dict) else entry for entry in containers}
    assert {name for name in named if not DIGEST.search(name)} == set(WORKFLOW_IMAGES)
    steps = [step for job in jobs for step in job.get("steps", []) if "pulumi-version" in step.get("with", {})]
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert steps
    assert {f"pulumi=={step['with']['pulumi-version']}" for step in steps} <= set(wanted)


def test_every_image_has_a_tag_that_stays_and_a_digest() -> None:
    """A tag such as `latest` is another image tomorrow."""
    found = pins(Image)
    assert [image.tagged for image in found if not re.search(r"[0-9]", image.tag) or "latest" in image.tag] == []
    assert [image.tagged for image in found if image.digest and not DIGEST.fullmatch(image.digest)] == []
    assert {image.name for image in found if image.digest is None} == set(IMAGES_WITHOUT_DIGEST)


def test_every_chart_has_one_version() -> None:
    """A range would be resolved anew at each `up`."""
    found = pins(Chart)
    assert [chart.name for chart in found if not VERSION.fullmatch(chart.version)] == []
    assert {chart.name for chart in found} == set(CHARTS_WITHOUT_DIGEST)


def test_every_file_that_a_machine_downloads_has_a_digest() -> None:
    """It runs as root."""
    sums: dict[str, str | None] = {}
    for release, each in versions.K3S_SHA256.items():
        sums |= {f"k3s {release} {name}": sha256 for name, sha256 in each.items()}
    sums |= versions.NVIDIA_TOOLKIT_SHA256
    sums |= {"tailscale": versions.TAILSCALE_SHA256, "kubespray": versions.KUBESPRAY_SHA256}
    assert {name for name, sha256 in sums.items() if sha256 is None} == set(FILES_WITHOUT_DIGEST)
    assert [name for name, sha256 in sums.items() if sha256 and not SHA256.fullmatch(sha256)] == []


def test_no_image_is_named_but_by_versions() -> None:
    """A second place for a pin is forgotten when the first one changes."""
    known = {image.tagged for image in pins(Image)} | set(IMAGES_ELSEWHERE)
    found: dict[str, str] = {}
    for path in files(*CODE):
        relative = path.relative_to(PROJECT)
        if relative.parts[0] not in ("tests", "docs"):
            found |= dict.fromkeys(NAMED.findall(path.read_text()), str(relative))
    assert {name: path for name, path in found.items() if name not in known} == {}
    assert set(IMAGES_ELSEWHERE) <= set(found)
    assert versions.MLFLOW.tagged in found, "the example's Dockerfile names its base image"


@pytest.mark.parametrize("module", list(files("go.mod")), ids=lambda path: path.parent.name)
def test_every_go_module_has_the_checksums_of_all_that_it_builds(module: Path) -> None:
    """A build asks a proxy, and never trusts it."""
    text = module.read_text()
    wanted = set(re.findall(r"^(?:require |\t)(\S+ v\S+)", text, flags=re.MULTILINE))
    sums = module.with_name("go.sum")
    lines = sums.read_text().splitlines() if sums.exists() else []
    assert [line for line in lines if not re.fullmatch(r"\S+ v\S+ h1:[A-Za-z0-9+/]{43}=", line)] == []
    told = {" ".join(line.split()[:2]).removesuffix("/go.mod") for line in lines}
    replaced = set(re.findall(r"^(?:replace |\t)(\S+)(?: v\S+)? =>", text, flags=re.MULTILINE))
    missing = {item for item in wanted if item.split()[0] not in replaced} - told
    assert missing == set()


def test_every_list_of_packages_has_its_lock_file() -> None:
    """What is not locked is resolved when it is installed."""
    asked = [path.relative_to(PROJECT) for path in files("*.in")]
    assert asked
    assert [str(path) for path in asked if not (PROJECT / path).with_suffix(".lock").exists()] == []
