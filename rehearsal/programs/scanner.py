"""Stands in for docker/buildkit-syft-scanner: lists Debian's and Python's packages of a file system, as SPDX.

It follows BuildKit's protocol of scanners: the file system to look at is $BUILDKIT_SCAN_SOURCE, others are the folders
of $BUILDKIT_SCAN_SOURCE_EXTRAS, and of each a statement of in-toto goes to $BUILDKIT_SCAN_DESTINATION. The real one
knows many more kinds of packages, and their licences and files; a document of this one says that it knows two.
"""

import email.parser
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

NAME = "leasehold-rehearsal-scanner"
COMMENT = (
    "By the rehearsal's stand-in for docker/buildkit-syft-scanner: packages of Debian and of Python, and no others."
)
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v0.1", "https://spdx.dev/Document"


@dataclass(frozen=True, order=True)
class Package:
    """An installed package."""

    kind: str
    """deb or pypi."""
    name: str
    version: str

    @property
    def purl(self) -> str:
        """As others name it."""
        owner = "debian/" if self.kind == "deb" else ""
        return f"pkg:{self.kind}/{owner}{quote(self.name, safe='.')}@{quote(self.version, safe='.')}"


def debian(root: Path) -> Iterator[Package]:
    """What dpkg has installed."""
    status = root / "var/lib/dpkg/status"
    if not status.is_file():
        return
    for entry in status.read_text(errors="replace").split("\n\n"):
        found = dict(line.split(": ", 1) for line in entry.splitlines() if re.match(r"[A-Z][\w-]*: ", line))
        if found.get("Status", "").endswith(" installed"):
            yield Package("deb", found["Package"], found["Version"])


def python(root: Path) -> Iterator[Package]:
    """What pip and its like have installed, wherever it is. Links are not followed: they may lead out of it."""
    for folder, _, files in os.walk(root):
        if folder.endswith(".dist-info") and "METADATA" in files:
            text = Path(folder, "METADATA").read_text(errors="replace")
            head = email.parser.HeaderParser().parsestr(text)
            name = re.sub(r"[-_.]+", "-", head["Name"] or "").lower()
            if name and head["Version"]:
                yield Package("pypi", name, head["Version"])


def _entry(package: Package) -> dict[str, Any]:
    mark = hashlib.sha256(package.purl.encode()).hexdigest()[:16]
    return {
        "SPDXID": f"SPDXRef-Package-{package.kind}-{mark}",
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package.purl}
        ],
    }


def document(name: str, packages: list[Package], created: str) -> dict[str, Any]:
    """The SPDX document of a file system."""
    entries = [_entry(package) for package in packages]
    mark = hashlib.sha256(json.dumps([name, entries]).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://leasehold.invalid/{NAME}/{mark}",
        "comment": COMMENT,
        "creationInfo": {"created": created, "creators": [f"Tool: {NAME}"]},
        "packages": entries,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": entry["SPDXID"],
            }
            for entry in entries
        ],
    }


def scan(root: Path, target: Path, created: str) -> None:
    """Write what a file system holds."""
    packages = sorted({*debian(root), *python(root)})
    statement = {
        "_type": STATEMENT,
        "predicateType": PREDICATE,
        "predicate": document(root.name, packages, created),
    }
    (target / f"{root.name}.spdx.json").write_text(json.dumps(statement))
    print(f"{root.name}: {len(packages)} packages", flush=True)


def main(environment: Mapping[str, str]) -> None:
    """Scan what BuildKit says."""
    target, created = Path(environment["BUILDKIT_SCAN_DESTINATION"]), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    extras = Path(environment.get("BUILDKIT_SCAN_SOURCE_EXTRAS") or "/nonexistent")
    others = sorted(extras.iterdir()) if extras.is_dir() else []
    for root in (Path(environment["BUILDKIT_SCAN_SOURCE"]), *others):
        scan(root, target, created)


if __name__ == "__main__":
    main(os.environ)
