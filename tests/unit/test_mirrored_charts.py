"""Charts of a mirror: those that somebody looked at, or none."""

from collections.abc import Iterator
from pathlib import Path

import pulumi
import pytest

import config
from rehearsal.kubernetes import charts
from tests.environments import complete, dev
from tests.unit.test_config_secrets import load


@pytest.fixture(autouse=True)
def _no_configuration_left() -> Iterator[None]:
    yield
    pulumi.runtime.config.set_all_config({}, [])


def refused(given: dict[str, object]) -> list[str]:
    """Load the shipped environment with charts from elsewhere; what is wrong with it."""
    try:
        load(complete(dev()) | {"charts": given})
    except config.BadEnvironment as error:
        return [str(problem) for problem in error.problems]
    return []


def test_a_flipped_bit_in_a_chart_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Helm asks a folder for no proof: what a poisoned chart brings would run with the rights of the platform."""
    given = charts.config(tmp_path)
    assert refused(given) == []
    package = min(tmp_path.iterdir())
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    [line] = refused(given)
    assert line.startswith(f"charts.digests.{package.name} = ")
    assert "another one" in line
    assert "fetch it anew" in line


def test_every_package_that_is_wrong_or_missing_is_named_at_once(tmp_path: Path) -> None:
    """Whoever mends a mirror mends it once."""
    given = charts.config(tmp_path)
    first, second, *_ = sorted(tmp_path.iterdir())
    first.write_bytes(b"")
    second.unlink()
    assert [line.split(" = ")[0] for line in refused(given)] == [
        f"charts.digests.{package.name}" for package in (first, second)
    ]


@pytest.mark.parametrize("mirror", [None, "https://mirror.example.org/charts", "oci://mirror.example.org/charts"])
def test_digests_that_nobody_would_check_are_refused(mirror: str | None) -> None:
    """They would look like safety."""
    [line] = refused({"mirror": mirror, "digests": {"traefik-41.3.0.tgz": "0" * 64}})
    assert "digests are of packages in a folder" in line
