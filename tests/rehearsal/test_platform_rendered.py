"""The charts of the rehearsal, rendered with our values: images, credentials, and room in every namespace.

They are stand-ins with the names, pods and resources of upstream's: what is counted here is what would be asked there.
"""

import base64
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import versions
from rehearsal.kubernetes import build
from rehearsal.paths import PROJECT
from tests import workloads
from tests.unit import graph, platforms
from tests.unit.test_platform_isolation import KNOWN, RELEASE, SECRET_KEY, native, texts

BUDGET = {"default": 6 * 1024, "small": 2.5 * 1024}
"""Mebibytes that the whole platform may request: half of three nodes, and what a node of 4 GiB has left."""
NOT_REHEARSED = {versions.SEAWEEDFS_CHART.name: {versions.SEAWEEDFS}}
"""Charts without a stand-in, and the images that their values name: the objects of such a release are not seen here."""
CATALOGUE = {image.tagged for image in versions.IMAGES}


def template(name: str, space: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a release."""
    chart = PROJECT / "rehearsal" / "charts" / name.rpartition("/")[2]
    words: list[str | Path] = [build.helm(), "template", "x", chart, "--namespace", space, "--values", "-"]
    done = subprocess.run(words, input=yaml.safe_dump(dict(values)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{name}: {done.stderr}"
    return [item for item in yaml.safe_load_all(done.stdout) if item]


@cache
def rendered(form: str) -> list[tuple[str, dict[str, Any]]]:
    """Namespace and object of every release of a form."""
    found = []
    for release in platforms.recorded(form).of(RELEASE).values():
        inputs = graph.unwrapped(release.inputs)
        if inputs["chart"].rpartition("/")[2] in NOT_REHEARSED:
            continue
        for item in template(inputs["chart"], inputs["namespace"], inputs.get("values") or {}):
            found.append((inputs["namespace"], item))
    return found


def pods(form: str) -> Iterator[workloads.Pods]:
    """Every pod of a form: ours, and those of charts."""
    yield from native(platforms.recorded(form))
    for space, item in rendered(form):
        yield from workloads.pods(item, space, 1 if form == "small" else workloads.NODES)


@pytest.fixture(params=sorted(platforms.CHANGES))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_image_is_of_the_catalogue(form: str) -> None:
    """What is not there has no pinned version, no digest, and is not in a mirror."""
    images = {c["image"].partition("@")[0] for group in pods(form) for c in group.containers if "image" in c}
    assert images
    assert not images - CATALOGUE - {platforms.PAGE}  # Streamlit publishes none: the environment names one


def test_every_image_of_the_catalogue_is_used() -> None:
    """What nobody uses is still pulled into every mirror. Operators are told theirs in arguments and objects."""
    said = " ".join(
        text
        for form in platforms.CHANGES
        for tree in (
            *(graph.unwrapped(r.inputs) for r in platforms.recorded(form).resources.values()),
            *(item for _, item in rendered(form)),
        )
        for _, text in texts(tree)
    )
    unseen = {image for images in NOT_REHEARSED.values() for image in images}
    assert not [image.tagged for image in versions.IMAGES if image not in unseen and image.tagged not in said]


def test_the_quotas_hold_every_pod(form: str) -> None:
    """Also while pods are replaced and Jobs run beside them: else an upgrade would stop half way."""
    spaces = {space.name: space for space in platforms.spaces(form)}
    short = []
    for name, asked in workloads.sums(pods(form)).items():
        room = spaces[name]
        if asked.cpu > workloads.quantity(room.cpu):
            short.append(f"{name}: cpu {asked.cpu} of {room.cpu}: {asked.owners}")
        if asked.memory > workloads.quantity(room.memory):
            short.append(f"{name}: memory {asked.memory / 2**20} Mi of {room.memory}: {asked.owners}")
        if asked.pods > room.pods:
            short.append(f"{name}: {asked.pods} of {room.pods} pods")
    assert not short


def test_the_platform_leaves_room_for_applications(form: str) -> None:
    """What pods request is what the scheduler takes from the nodes, used or not."""
    requested = sum(asked.requested for asked in workloads.sums(pods(form)).values()) / 2**20
    # Three databases and every option, or a Ray cluster: more than the smallest nodes are for.
    copies = {"full": 2, "extras": 3}.get(form, 1)
    assert requested <= BUDGET[platforms.platform(form).profile] * copies, requested


def test_no_known_password_is_in_what_charts_render(form: str) -> None:
    """Defaults of charts are tried first, by everybody."""
    for _, item in rendered(form):
        plain = dict(item)
        if item["kind"] == "Secret":
            data = {
                key: base64.b64decode(value).decode(errors="replace") for key, value in (item.get("data") or {}).items()
            }
            plain = {**item, "data": data}
        found = [".".join(p) for p, text in texts(plain) if text.lower() in KNOWN and SECRET_KEY.search(p[-1])]
        found += [".".join(p) for p, text in texts(plain) if "minioadmin" in text]
        assert not found, f"{item['kind']} {item['metadata']['name']}"
