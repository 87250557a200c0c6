"""Every object of ours before a real API server with the pinned definitions, in strict mode."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests import pinned_charts
from tests.rehearsal import api_server
from tests.rehearsal.cluster import Kubectl
from tests.unit import graph, platforms

STRICT = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "-f", "-")

MOCK = "Warning: tls: failed to find any PEM data in certificate input"
"""Certificates of a recorded graph are texts that say whose they are."""
BUILDER = re.compile(r'Warning: would violate PodSecurity "restricted:latest": [^:]*\(container "buildkitd" .*')
"""The one pod of ours that needs more than that level (apps/builds/spec.py); people see the warning too."""


@pytest.fixture(scope="module")
def server() -> Iterator[Kubectl]:
    with api_server.running() as kubectl:
        yield kubectl


def objects(recorded: graph.Graph) -> list[dict[str, Any]]:
    """As the provider sends them; those of a release are the chart's."""
    found = []
    for resource in recorded.resources.values():
        package, _, rest = resource.type.partition(":")
        group, _, version = rest.partition(":")[0].rpartition("/")
        if package == "kubernetes" and group != "helm.sh":
            kind = rest.partition(":")[2].removesuffix("Patch")
            api = version if group == "core" else f"{group}/{version}"
            found.append({**graph.unwrapped(resource.inputs), "apiVersion": api, "kind": kind})
    return found


def key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["apiVersion"].rpartition("/")[0], item["kind"]


@pytest.fixture(scope="module")
def defined(server: Kubectl) -> Kubectl:
    """The server with every kind that some form uses: the pinned charts', and ours."""
    found = [item for form in platforms.CHANGES for item in objects(platforms.recorded(form))]
    files = {pinned_charts.definitions()[key(item)] for item in found if key(item) in pinned_charts.definitions()}
    own = [item for item in found if item["kind"] == "CustomResourceDefinition"]
    words = [word for file in sorted(files) for word in ("-f", str(file))]
    # Ours as well: where a form brings a definition itself, that is what it writes to.
    server.run("apply", "--server-side", "--force-conflicts", *words, timeout=180)
    server.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(own), timeout=180)
    server.run("wait", "--for=condition=Established", "crd", "--all", timeout=120)
    return server


@pinned_charts.needed
@pytest.mark.parametrize("form", sorted(platforms.CHANGES))
def test_every_object_of_ours_is_taken_in_strict_mode(defined: Kubectl, form: str) -> None:
    """The server knows rules that no schema says (CEL, names, quantities), and refuses unknown fields here."""
    found, server = objects(platforms.recorded(form)), defined
    spaces = [item for item in found if item["kind"] == "Namespace"]
    server.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(spaces))
    said = server.run(*STRICT, stdin=yaml.safe_dump_all(found), check=False, timeout=180)
    known = [line for line in said.splitlines() if line == MOCK or BUILDER.fullmatch(line)]
    refused = [line for line in said.splitlines() if line and "serverside-applied" not in line and line not in known]
    assert not refused, "\n".join(refused)


def test_a_misspelt_field_would_be_refused(server: Kubectl) -> None:
    """A test that cannot fail proves nothing."""
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"}, "dta": {}}
    assert "dta" in server.run(*STRICT, stdin=yaml.safe_dump(item), check=False)
