"""Each bad revision is bad in its one way, and looks good in every other."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from digits import network, release
from processes import Running, Tracked, checkout, serving
from trainer import result
from trainer.task import LABELS

LIMIT_MIB = 256
"""Memory that a model server of this size is given."""


def load(server: Running, requests: int, at_once: int = 10) -> list[float]:
    """Seconds of each request, sorted."""

    def one(_: int) -> float:
        began = time.monotonic()
        assert server.ask("/test").status == 200
        return time.monotonic() - began

    with ThreadPoolExecutor(at_once) as clients:
        return sorted(clients.map(one, range(requests)))


def p95(seconds: list[float]) -> float:
    return seconds[int(len(seconds) * 0.95)]


def test_main_is_quick_and_small(start: Callable[..., Any]) -> None:
    with start() as server:
        assert p95(load(server, 100)) < 2
        assert server.memory_mib < LIMIT_MIB / 2


def test_good_is_another_model_that_passes(tracked: Tracked, tmp_path: Path) -> None:
    """There must be something to promote after the first version."""
    done = tracked.run(checkout("good", tmp_path), "trainer", "--result", "good.json")
    left = result.read(tracked.folder / "good.json")
    assert done.returncode == 0, done.stderr
    assert left.metrics["parameters"] > 64 * 96


def test_bad_arch_passes_its_own_tests_and_breaks_the_contract(tracked: Tracked, tmp_path: Path) -> None:
    """Only the gate's integration part can see it."""
    code = checkout("bad-arch", tmp_path)
    trained = tracked.run(code, "trainer", "--result", "bad-arch.json")
    assert trained.returncode == 0, trained.stderr
    left = result.read(tracked.folder / "bad-arch.json")
    fetched = tracked.run(code, "trainer.fetch", "--version", str(left.model_version), "--to", str(tmp_path / "model"))
    assert fetched.returncode == 0, fetched.stderr
    assert len(network.load(tmp_path / "model" / release.WEIGHTS).classes) != len(LABELS)
    with serving(code, tmp_path / "model") as server:
        answer = server.ask("/test")
        assert answer.status == 200
        assert answer.body not in LABELS
        assert server.memory_mib < LIMIT_MIB / 2
        assert p95(load(server, 100)) < 2


def test_bad_size_is_small_until_it_is_loaded(start: Callable[..., Any]) -> None:
    with start("bad-size") as server:
        assert server.ask("/test").body == "seven"
        assert server.memory_mib < LIMIT_MIB / 2
        assert p95(load(server, 60)) < 2
        assert server.memory_mib > 2 * LIMIT_MIB


def test_slow_is_slow_with_any_number_of_servers(start: Callable[..., Any]) -> None:
    """Its delay does not come from a queue, which another replica would shorten."""
    with start("slow") as server:
        assert server.ask("/test").body == "seven"
        assert server.ask("/healthz").status == 200
        assert load(server, 10)[0] > 2
        assert server.memory_mib < LIMIT_MIB / 2
