"""The project's bill of materials: all that is pinned is in it, and the same pins make the same bytes."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import cyclonedx.schema
import jsonschema
import pytest
import referencing

import versions
from docs import sbom
from tests.environments import PROJECT
from versions import Chart, Image


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sbom.bom(sbom.texts()))
    return found


def components() -> dict[str, dict[str, Any]]:
    return {item["purl"]: item for item in document()["components"]}


def test_equal_pins_make_equal_bytes() -> None:
    """Two releases are compared by it; what names a time or a chance differs each time."""
    assert sbom.bom(sbom.texts()) == sbom.bom(sbom.texts())
    assert "timestamp" not in document()["metadata"]
    other = {lock: text.replace("pulumi==", "pulumi==9") for lock, text in sbom.texts().items()}
    assert json.loads(sbom.bom(other))["serialNumber"] != document()["serialNumber"]


def test_it_is_what_cyclonedx_says_it_must_be() -> None:
    """Whoever reads it checks that first."""
    folder = Path(cyclonedx.schema.__file__).parent / "_res"
    schemas = {file.name: json.loads(file.read_text()) for file in folder.glob("*.schema.json")}
    known = referencing.Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name.replace('.SNAPSHOT', '')}", referencing.Resource.from_contents(schema))
        for name, schema in schemas.items()
    )
    known = known.with_resources(
        (f"http://cyclonedx.org/schema/{name}", referencing.Resource.from_contents(schema))
        for name, schema in schemas.items()
    )
    validator = jsonschema.Draft7Validator(schemas["bom-1.6.SNAPSHOT.schema.json"], registry=known)
    assert [error.message for error in validator.iter_errors(document())] == []


@pytest.mark.parametrize("lock", sbom.LOCKS)
def test_every_line_of_a_lock_file_is_in_it_with_every_hash(lock: str) -> None:
    """Read by other means than the program's: a line that it does not understand would be left out in silence."""
    text, found = (PROJECT / lock).read_text(), components()
    lines = re.findall(r"^(\S+)==(\S+)", text, flags=re.MULTILINE)
    assert len(lines) == len([line for line in text.splitlines() if line[:1].isalnum()])
    told = set()
    for name, version in lines:
        item = found[f"pkg:pypi/{name}@{version}"]
        assert {"name": "leasehold:lock", "value": lock} in item["properties"]
        told |= {entry["content"] for ref in item["externalReferences"] for entry in ref["hashes"]}
    assert set(re.findall("--hash=sha256:([0-9a-f]{64})", text)) <= told


def test_every_pin_of_versions_is_in_it() -> None:
    """By its name, version and digest; texts of versions that no chart, image or file has would be seen here, too."""
    found = {(item["name"], item["version"]): item for item in document()["components"]}
    digests = {entry["content"] for item in document()["components"] for entry in item.get("hashes", [])}
    told = {version for _, version in found}
    for name, value in vars(versions).items():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Chart):
                assert (item.name, item.version) in found
            elif isinstance(item, Image):
                assert (item.name, item.tag) in found
                assert item.digest is None or item.digest.removeprefix("sha256:") in digests
            elif name.isupper() and isinstance(item, str):
                assert item in told | digests or name == "KUBESPRAY_KUBERNETES", name
    for release, sums in versions.K3S_SHA256.items():
        assert {found[file, release]["hashes"][0]["content"] for file in sums} == set(sums.values())
    for package in versions.NVIDIA_TOOLKIT_SHA256:
        assert (package, versions.NVIDIA_TOOLKIT) in found


def test_it_says_who_needs_whom() -> None:
    """A package that is found bad is removed by way of what asks for it."""
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document()["dependencies"]}
    names = {ref.partition("@")[0]: ref for ref in needs}
    assert names["pkg:pypi/pulumi"] in needs["leasehold"]
    assert names["pkg:pypi/grpcio"] in needs[names["pkg:pypi/pulumi"]]
    reached, ahead = set(), ["leasehold"]
    while ahead:
        ref = ahead.pop()
        if ref not in reached:
            reached.add(ref)
            ahead += needs[ref]
    assert reached == {"leasehold", *components()}
