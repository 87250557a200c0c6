"""The server as a process: its contract, its bounds, its end."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import MODEL, REVISION, ROOT, Running
from server.sample import SAMPLE
from trainer.task import LABELS


@pytest.fixture(scope="module")
def server(start: Callable[..., Any]) -> Iterator[Running]:
    with start() as running:
        yield running


def test_it_says_which_version_it_serves(server: Running) -> None:
    assert server.ask("/version").json == {"model_version": "7", "model": MODEL, "revision": REVISION}


def test_its_test_answers_the_name_of_a_class(server: Running) -> None:
    answer = server.ask("/test")
    assert (answer.status, answer.body) == (200, "seven")


def test_a_prediction_names_every_class_and_its_version(server: Running) -> None:
    answer = server.ask("/predict", {"pixels": list(SAMPLE)})
    assert answer.status == 200
    said = answer.json
    assert said.keys() == {"label", "probability", "probabilities", "model_version"}
    assert tuple(said["probabilities"]) == LABELS
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert (said["label"], said["model_version"]) == ("seven", "7")
    assert said["probability"] == max(said["probabilities"].values())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"pixels": [0] * 63},
        {"pixels": [0] * 65},
        {"pixels": [17] + [0] * 63},
        {"pixels": [-1] + [0] * 63},
        {"pixels": ["1"] + [0] * 63},
        {"pixels": [0.5] * 64},
        {"pixels": [0] * 64, "more": 1},
    ],
)
def test_what_is_no_picture_is_refused(server: Running, body: object) -> None:
    assert server.ask("/predict", body).status == 422


def test_a_body_that_is_too_long_is_refused(server: Running) -> None:
    answer = server.ask("/predict", raw=b"x" * (17 << 10))
    assert answer.status == 413
    assert answer.headers["connection"] == "close"


def test_a_body_in_pieces_is_bounded_too(server: Running) -> None:
    """A client need not say how long its body will be."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/predict", (b"x" * 1024 for _ in range(64)), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_a_person_finds_a_page(server: Running) -> None:
    answer = server.ask("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "Which digit?" in answer.body


def test_requests_latency_and_classes_are_counted(server: Running) -> None:
    requests = 'http_requests_total{handler="/test",method="GET",status="200"}'
    latency = 'http_request_duration_seconds_count{handler="/test"}'
    classes = 'model_predictions_total{class="seven"}'
    before = [server.metric(name) for name in (requests, latency, classes)]
    server.ask("/test")
    assert [server.metric(name) for name in (requests, latency, classes)] == [count + 1 for count in before]
    info = f'model_info{{model="{MODEL}",model_version="7",revision="{REVISION}"}}'
    assert server.metric(info) == 1
    assert server.metric("process_resident_memory_bytes") > 0


def test_unknown_paths_do_not_fill_the_metrics(server: Running) -> None:
    """Every label that a client can choose would be a series that Prometheus keeps."""
    assert server.ask("/one").status == server.ask("/two").status == 404
    assert server.metric('http_requests_total{handler="other",method="GET",status="404"}') >= 2
    assert "/one" not in server.ask("/metrics").body


def test_it_goes_on_answering_while_it_leaves(start: Callable[..., Any]) -> None:
    """Others learn of its end only after it was told: until then their requests still come here."""
    with start(drain_seconds=2) as running:
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        answer = running.ask("/test")
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, "seven", "close")
        assert running.ask("/healthz").status == 503
        assert running.process.wait(20) == 0
        assert 2 <= time.monotonic() - began < 10


def test_a_request_that_was_begun_is_answered_before_the_end(start: Callable[..., Any]) -> None:
    with start("slow") as running, socket.create_connection(("127.0.0.1", running.port), timeout=30) as client:
        client.sendall(b"GET /test HTTP/1.1\r\nhost: server\r\n\r\n")
        time.sleep(0.5)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_without_a_model_it_says_why_and_ends(tmp_path: Path) -> None:
    """A port that opens without a model would look like a server."""
    command = [sys.executable, "-m", "server"]
    done = subprocess.run(
        command, cwd=ROOT, env={"MODEL_FOLDER": str(tmp_path)}, text=True, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("no model to serve: ")
