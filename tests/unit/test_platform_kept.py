"""Objects of ours are written as the API server keeps them: what it writes otherwise would change at every `up`."""

from collections.abc import Iterator
from typing import Any

import pytest

from mlops import quantities
from tests.unit import graph, platforms
from tests.unit.test_platform_isolation import RELEASE, texts

QUANTITIES = ("memory", "storage", "requests.memory", "limits.memory", "requests.storage", "sizeLimit")
SELECTS_ALL = ("podSelector", "namespaceSelector", "emptyDir")
"""Mappings that mean something when they are empty."""


def objects(form: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and fields of every object that is not a release's."""
    for resource in platforms.recorded(form).resources.values():
        if resource.type.startswith("kubernetes:") and resource.type != RELEASE:
            yield resource.name, graph.unwrapped(resource.inputs)


def empty(value: Any, path: str = "") -> Iterator[str]:
    """Paths of what the API server leaves out: empty mappings, lists and nulls."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if item is None or (item in ({}, []) and key not in SELECTS_ALL):
            yield f"{path}.{key}"
        yield from empty(item, f"{path}.{key}")


@pytest.fixture(params=sorted(platforms.CHANGES))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_quantity_is_in_its_largest_unit(form: str) -> None:
    """`3072Mi` comes back as `3Gi`; of a claim that difference is a new volume."""
    said = [
        (name, path, text)
        for name, item in objects(form)
        for path, text in texts(item)
        if path[-1] in QUANTITIES and text != quantities.written(text)
    ]
    assert not said


def test_no_object_has_an_empty_mapping_in_its_metadata(form: str) -> None:
    """It comes back as none at all."""
    assert not [(name, path) for name, item in objects(form) for path in empty(item["metadata"])]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("3072Mi", "3Gi"), ("1536Mi", "1536Mi"), ("0Gi", "0"), ("0", "0"), ("2048Gi", "2Ti"), ("1048576Mi", "1Ti")],
)
def test_quantities_are_written_as_kubernetes_does(given: str, kept: str) -> None:
    """As `kubectl get` shows them after an apply."""
    assert quantities.written(given) == kept
