"""The stand-in for what lists an image's packages: BuildKit's protocol, and SPDX as its readers want it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rehearsal.images import catalogue
from rehearsal.programs import scanner
from versions import SBOM_SCANNER

STATUS = """Package: libc6
Status: install ok installed
Version: 2.36-9+deb12u10
Description: GNU C Library
 more: than one line

Package: gone
Status: deinstall ok config-files
Version: 1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system as BuildKit mounts it, by the name that the protocol wants."""
    found = tmp_path / "core" / "sbom"
    for name, text in (
        ("var/lib/dpkg/status", STATUS),
        (
            "opt/venv/lib/python3.11/site-packages/Demo_Pkg-1.2.dist-info/METADATA",
            "Name: Demo_Pkg\nVersion: 1.2\n\nName: x",
        ),
        ("app/other-2.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 2\n"),
    ):
        file = found / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    (tmp_path / "out").mkdir()
    return found


def scanned(root: Path, **more: str) -> dict[str, Any]:
    """File name to statement."""
    target = root.parents[1] / "out"
    scanner.main({"BUILDKIT_SCAN_SOURCE": str(root), "BUILDKIT_SCAN_DESTINATION": str(target), **more})
    return {file.name: json.loads(file.read_text()) for file in target.iterdir()}


def test_it_lists_what_is_installed_and_nothing_else(root: Path) -> None:
    """Names as indexes write them: whoever looks for a package asks by these."""
    [(name, statement)] = scanned(root).items()
    assert name == "sbom.spdx.json"
    found = statement["predicate"]["packages"]
    assert [entry["externalRefs"][0]["referenceLocator"] for entry in found] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10",
        "pkg:pypi/demo-pkg@1.2",
        "pkg:pypi/other@2",
    ]


def test_a_statement_has_what_buildkit_and_readers_of_spdx_need(root: Path) -> None:
    """BuildKit 0.34 has taken such a one; it sets the subject itself."""
    statement = scanned(root)["sbom.spdx.json"]
    assert statement["predicateType"] == "https://spdx.dev/Document"
    document = statement["predicate"]
    wanted = {"spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo", "packages"}
    assert wanted <= set(document)
    marks = [entry["SPDXID"] for entry in document["packages"]]
    assert len(set(marks)) == len(marks)
    assert {entry["relatedSpdxElement"] for entry in document["relationships"]} == set(marks)
    assert all({"name", "versionInfo", "downloadLocation"} <= set(entry) for entry in document["packages"])


def test_it_says_that_it_is_a_stand_in(root: Path) -> None:
    """A list that looks complete and is not would be believed."""
    assert "stand-in" in scanned(root)["sbom.spdx.json"]["predicate"]["comment"]
    recipe = catalogue.recipes()[SBOM_SCANNER.tagged]
    assert recipe.kind == "stand-in"
    assert recipe.start.entrypoint[-1].removeprefix("/") in recipe.files


def test_other_stages_have_lists_of_their_own_and_their_absence_is_no_error(root: Path) -> None:
    """As the protocol says of what is optional."""
    extras = root.parents[1] / "extras"
    (extras / "sbom-builder").mkdir(parents=True)
    found = scanned(root, BUILDKIT_SCAN_SOURCE_EXTRAS=str(extras))
    assert set(found) == {"sbom.spdx.json", "sbom-builder.spdx.json"}
    assert found["sbom-builder.spdx.json"]["predicate"]["packages"] == []
    assert scanned(root, BUILDKIT_SCAN_SOURCE_EXTRAS="/nonexistent")
    assert scanned(root, BUILDKIT_SCAN_SOURCE_EXTRAS="")


def test_a_link_does_not_lead_out_of_the_image(root: Path) -> None:
    """It would list what the scanner itself has."""
    other = root.parents[1] / "elsewhere" / "own-9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Name: own\nVersion: 9\n")
    (root / "usr").symlink_to(other.parent)
    said = json.dumps(scanned(root))
    assert "pkg:pypi/own" not in said
