"""Writes the project's bill of materials, CycloneDX 1.6 as JSON: `python docs/sbom.py [FILE]`.

It holds all that is pinned: packages of the product's lock files with the hashes that pip accepts, and charts, images
and files of versions.py with their digests where these are known. Equal pins, equal bytes: it says no time, and its
serial number follows from its content. Packages of the rehearsal's other environments are not delivered, nor in it.
"""

import hashlib
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT)]

import versions  # noqa: E402  the project's folder first
from versions import Artifact, Chart, Image  # noqa: E402

LOCKS = ("requirements.lock", "policy/requirements.lock", "cluster/kubespray/ansible.lock")
"""The program's, its policy's, and what a bastion installs to run Kubespray."""
FILE = "sbom.cdx.json"
PACKAGE = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
VIA = re.compile(r"# +(?:via )?(?!via$)(\S+).*")
"""Who needs a package: another one, or the project, by the name of a file."""
NAMESPACE = uuid.UUID("6f1c2f5e-57a5-5cbb-9a3f-7d1c8f8b9a10")
"""Of serial numbers."""


@dataclass(frozen=True)
class Locked:
    """A package of a lock file."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """SHA-256 of each file that may be installed."""
    needed_by: tuple[str, ...]
    """Names of packages of the same file; any other name is the project's. Empty where the file does not say."""
    lock: str

    @property
    def purl(self) -> PackageURL:
        """As others name it."""
        return PackageURL("pypi", None, self.name, self.version)


def locked(lock: str, text: str) -> Iterator[Locked]:
    """The packages of a lock file, as uv and pip-compile write them."""
    # An entry begins where a line is not indented.
    for entry in re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE):
        found = PACKAGE.match(entry)
        if found is not None:
            lines = [line.strip() for line in entry.splitlines()]
            via = tuple(match[1] for line in lines if (match := VIA.fullmatch(line)))
            yield Locked(found[1], found[2], tuple(HASH.findall(entry)), via, lock)


def named() -> Iterator[Chart | Image]:
    """The charts and images of versions.py."""
    for value in vars(versions).values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Chart | Image):
                yield item


def files() -> Iterator[tuple[str, str, Artifact]]:
    """What machines download: name, version, and where from."""
    for release in versions.K3S_SHA256:
        yield from ((made.path.rpartition("/")[2], release, made) for made in versions.k3s(release))
    for name, made in zip(versions.NVIDIA_TOOLKIT_SHA256, versions.nvidia_toolkit(), strict=True):
        yield name, versions.NVIDIA_TOOLKIT, made
    yield "tailscale", versions.TAILSCALE, versions.tailscale()
    yield "kubespray", versions.KUBESPRAY, versions.kubespray()


def _digest(sha256: str | None) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256.removeprefix("sha256:"))] if sha256 else []


def _from(url: str, hashes: Sequence[HashType] = ()) -> list[ExternalReference]:
    return [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(url), hashes=hashes)]


def filed(name: str, version: str, artifact: Artifact) -> Component:
    """A file that machines download."""
    sum_ = {"checksum": f"sha256:{artifact.sha256}"} if artifact.sha256 else {}
    purl = PackageURL("generic", None, name, version, {"download_url": artifact.url, **sum_})
    hashes, where = _digest(artifact.sha256), _from(artifact.url)
    kind = ComponentType.FILE
    return Component(
        name=name, version=version, type=kind, purl=purl, bom_ref=str(purl), hashes=hashes, external_references=where
    )


def pinned(item: Chart | Image) -> Component:
    """A chart or an image."""
    if isinstance(item, Chart):
        purl = PackageURL("helm", None, item.name, item.version, {"repository_url": item.repository})
        kind, version, hashes, where = ComponentType.APPLICATION, item.version, [], _from(item.repository)
    else:
        told = {"repository_url": item.name, "tag": item.tag}
        purl = PackageURL("oci", None, item.name.rpartition("/")[2], item.digest, told)
        kind, version, hashes = ComponentType.CONTAINER, item.tag, _digest(item.digest)
        where = _from(f"https://{item.name}")
    return Component(
        name=item.name,
        version=version,
        type=kind,
        purl=purl,
        bom_ref=str(purl),
        hashes=hashes,
        external_references=where,
    )


def packaged(package: Locked, locks: Sequence[str]) -> Component:
    """A Python package: its hashes are those of several files, of which one is installed."""
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256) for sha256 in package.hashes]
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        purl=package.purl,
        bom_ref=str(package.purl),
        external_references=_from(f"https://pypi.org/project/{package.name}/{package.version}/", hashes),
        properties=[Property(name="leasehold:lock", value=lock) for lock in locks],
    )


def _project() -> Component:
    told = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return Component(
        name=told["name"],
        version=told["version"],
        type=ComponentType.APPLICATION,
        description=told["description"],
        bom_ref=told["name"],
        licenses=[DisjunctiveLicense(id=told["license"])],
    )


def _packages(bom: Bom, root: Component, found: Sequence[Locked]) -> None:
    """The packages, and who needs whom."""
    made: dict[str, Component] = {}
    for package in found:
        ref = str(package.purl)
        same = [other for other in found if other.purl == package.purl]
        hashes = tuple(sorted({sha256 for other in same for sha256 in other.hashes}))
        merged = Locked(package.name, package.version, hashes, (), "")
        made.setdefault(ref, packaged(merged, sorted({other.lock for other in same})))
    bom.components.update(made.values())
    for package in found:
        names = {other.name: made[str(other.purl)] for other in found if other.lock == package.lock}
        for user in [names.get(name, root) for name in package.needed_by] or [root]:
            bom.register_dependency(user, [made[str(package.purl)]])


def bom(locks: Mapping[str, str]) -> str:
    """The document; `locks` are the texts of lock files by their paths."""
    root, made = _project(), Bom()
    made.metadata.component = root
    pieces = [*map(pinned, dict.fromkeys(named())), *(filed(*piece) for piece in files())]
    made.components.update(pieces)
    made.register_dependency(root, pieces)
    _packages(made, root, [package for lock, text in locks.items() for package in locked(lock, text)])
    tree = json.loads(JsonV1Dot6(made).output_as_string())
    del tree["metadata"]["timestamp"], tree["serialNumber"]
    content = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    tree["serialNumber"] = uuid.uuid5(NAMESPACE, content).urn
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"


def texts() -> dict[str, str]:
    """The lock files."""
    return {lock: (PROJECT / lock).read_text() for lock in LOCKS}


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else PROJECT / FILE)
    target.write_text(bom(texts()))
    print(f"wrote {target}")
