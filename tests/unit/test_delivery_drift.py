"""Drift: what production answers, against the labels of its repository's samples."""

import json
import random
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from apps.delivery import drift, gate
from apps.delivery.steps import Address, Drift, StepError
from apps.delivery.steps.drift import Comparison, look, query
from tests.unit.test_delivery_measure_load import CLASSES, listening
from tests.unit.test_delivery_steps import NOWHERE, given

LIMITS = drift.Limits(index=0.2, predictions=100, hours=24)
EVEN = dict.fromkeys("abcdefghij", 100.0)


def test_the_same_shares_are_no_drift_however_many() -> None:
    """Only what is asked counts, not how much."""
    assert drift.index(EVEN, {name: 7 * count for name, count in EVEN.items()}) < 0.001
    assert not drift.judge(LIMITS, EVEN, EVEN).drifted


def test_another_mix_is_drift_and_says_how_much() -> None:
    """A third of what is asked is one class, where it was a tenth."""
    found = drift.judge(LIMITS, EVEN, {**EVEN, "a": 450.0})
    assert found.drifted
    assert found.reason == f"the index of 1350 predictions in 24 h is {found.index:.2f}, which reaches 0.2"
    assert 0.3 < found.index < 0.5


@pytest.mark.parametrize("seen", [{}, {"a": 99.0}])
def test_too_few_predictions_say_nothing(seen: dict[str, float]) -> None:
    """A quiet night would train the model again."""
    found = drift.judge(LIMITS, EVEN, seen)
    assert not found.drifted
    assert "100 are needed" in found.reason


def test_a_class_that_nobody_knew_or_nobody_asks_for_any_more_has_a_share() -> None:
    """No share is 0, whose logarithm there is not."""
    assert drift.index(EVEN, {"z": 1000.0}) > 5
    assert drift.index({}, {}) == 0


def test_chance_is_no_drift() -> None:
    """Of a thousand days without drift, with the fewest predictions that count, none is one at the default."""
    chance, limits = random.Random(20261129), drift.Limits()  # noqa: S311  a reproducible choice
    names = list(EVEN)
    for _ in range(1000):
        days = chance.choices(names, k=limits.predictions)
        assert not drift.judge(limits, EVEN, {name: float(days.count(name)) for name in names}).drifted


@pytest.mark.parametrize("name", ["index", "predictions", "hours"])
def test_limits_are_greater_than_nothing(name: str) -> None:
    """Everything would be drift."""
    with pytest.raises(ValueError, match=f"{name} = 0: must be greater"):
        replace(LIMITS, **{name: 0})


class Prometheus(BaseHTTPRequestHandler):
    """Answers one question."""

    answer: Any = None
    status = 200

    def do_GET(self) -> None:
        assert parse_qs(urlsplit(self.path).query)["query"] == [query("gourmetgram-production", 24)]
        body = json.dumps(self.answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def asked(answer: Any, folder: Path, status: int = 200) -> Comparison:
    samples = folder / "samples.jsonl"
    rows = [{"body": {"n": n}, "truth": CLASSES[n % len(CLASSES)]} for n in range(100)]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    handler = type("Bound", (Prometheus,), {"answer": answer, "status": status})
    addresses = tuple(Address(name, NOWHERE) for name in ("staging", "production"))
    with listening(handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        contract = gate.Settings(gate.Contract(frozenset(CLASSES)))
        settings = given(folder, gate=contract, addresses=addresses, drift=Drift(url, LIMITS))
        return look(settings, samples, folder / "drifted")


def counted(**counts: float) -> dict[str, Any]:
    rows = [{"metric": {"class": name}, "value": [1.0, str(count)]} for name, count in counts.items()]
    return {"status": "success", "data": {"resultType": "vector", "result": rows}}


def test_the_step_tells_the_workflow_what_it_found(tmp_path: Path) -> None:
    """By a file with one word, which the next step's condition reads."""
    assert asked(counted(**{CLASSES[0]: 400.0}), tmp_path).finding.drifted
    assert (tmp_path / "drifted").read_text() == "true"
    even = dict.fromkeys(CLASSES, 100.0)
    assert not asked(counted(**even), tmp_path).finding.drifted
    assert (tmp_path / "drifted").read_text() == "false"


@pytest.mark.parametrize(
    ("answer", "status"),
    [({"data": {"result": [{"value": []}]}}, 200), ([], 200), ({"error": "busy"}, 503), ({"data": None}, 200)],
)
def test_another_answer_is_an_error_and_no_drift(answer: Any, status: int, tmp_path: Path) -> None:
    """A Prometheus that is not there must not train anything."""
    with pytest.raises(StepError, match="Prometheus at http"):
        asked(answer, tmp_path, status)
    assert not (tmp_path / "drifted").exists()
