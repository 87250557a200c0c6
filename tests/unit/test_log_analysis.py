"""The steps of the log analysis: what they find out, what they hide, and what they do when something is missing."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops.flows import port_of
from mlops.monitoring import analysis
from mlops.monitoring.scripts import log_analysis as steps
from tests.unit import platforms

KILLED = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-21T10:00:00Z"}
MESSAGE = {
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "PodOutOfMemory", "namespace": "web", "pod": "a", "container": "c"},
            "annotations": {"summary": "c was killed", "remedy": "raise its limit"},
        },
        {"status": "resolved", "labels": {"alertname": "TargetDown"}},
    ],
}


def pod(name: str, status: dict[str, Any], phase: str = "Running") -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"limits": {"memory": "64Mi"}}}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "node1", "containers": [container]},
        "status": {"phase": phase, "containerStatuses": [{"name": "c", "restartCount": 2, **status}]},
    }


class Fake:
    """A cluster with some pods."""

    def __init__(self, *pods: dict[str, Any], text: str = "line\nMemoryError: no more") -> None:
        self._pods = {item["metadata"]["name"]: item for item in pods}
        self._text = text
        self.previous: list[bool] = []

    def pods(self, space: str) -> list[dict[str, Any]]:  # noqa: ARG002
        return list(self._pods.values())

    def pod(self, space: str, name: str) -> dict[str, Any]:
        if name not in self._pods:
            raise OSError(f"HTTP 404: {space}/{name}")
        return self._pods[name]

    def events(self, space: str, name: str) -> list[dict[str, Any]]:  # noqa: ARG002
        return [{"reason": "BackOff", "message": "restarting", "lastTimestamp": "2026-11-21T10:00:01Z"}]

    def log(self, space: str, pod: str, container: str, lines: int, *, previous: bool) -> str:  # noqa: ARG002
        self.previous.append(previous)
        return self._text


def test_the_report_names_the_cause_the_limit_and_the_last_words() -> None:
    """Whoever reads it should not need the cluster to understand it."""
    text = steps.digest(steps.collect(MESSAGE, Fake(pod("a", {"lastState": {"terminated": KILLED}}))))
    for part in (
        "PodOutOfMemory web/a/c",
        "OOMKilled (137)",
        "memory limit 64Mi",
        "2 restarts",
        "BackOff",
        "MemoryError",
    ):
        assert part in text
    assert "TargetDown" not in text


def test_the_log_of_a_restarted_container_is_that_of_the_one_that_broke() -> None:
    """The new one has just begun, and says nothing of it."""
    fake = Fake(pod("a", {"lastState": {"terminated": KILLED}}))
    steps.collect(MESSAGE, fake)
    assert fake.previous == [True]


def test_an_alert_without_a_pod_is_about_those_that_failed_last() -> None:
    """A failed workflow's alert knows its namespace only."""
    message = {"alerts": [{"status": "firing", "labels": {"alertname": "WorkflowFailed", "namespace": "workflows"}}]}
    old = {"state": {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": "2026-11-20T10:00:00Z"}}}
    new = {"state": {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": "2026-11-21T10:00:00Z"}}}
    well = {"state": {"terminated": {"reason": "Completed", "exitCode": 0, "finishedAt": "2026-11-22T10:00:00Z"}}}
    [found] = steps.collect(message, Fake(pod("old", old), pod("well", well), pod("new", new)))
    assert [item["pod"] for item in found["pods"]] == ["new", "old"]


def test_a_pod_that_is_gone_does_not_hide_its_alert() -> None:
    """The alert is worth telling all the same."""
    [found] = steps.collect(MESSAGE, Fake())
    assert "404" in found["problem"]
    assert "PodOutOfMemory" in steps.digest([found])


@pytest.mark.parametrize(
    "text",
    [
        "password=canary-1",
        'PASSWORD: "canary-1"',
        "Authorization: Bearer canary-1.canary-1",
        "postgresql://mlflow:canary-1@postgres:5432/mlflow",
        "AWS_SECRET_ACCESS_KEY=canary-1",
        '{"api_key": "canary-1"}',
        "token=canary-1&x=1",
        "curl -H 'authorization: basic canary-1canary-1='",
        "-----BEGIN EC PRIVATE KEY-----\ncanary-1\n-----END EC PRIVATE KEY-----",
    ],
)
def test_what_looks_like_a_secret_is_not_in_a_report(text: str) -> None:
    """Logs have them; a report goes to chats and to language models."""
    assert "canary-1" not in steps.redact(f"before {text} after")
    assert "before" in steps.redact(f"before {text}")


def test_what_is_handed_on_fits_the_argument_of_a_pod() -> None:
    """Linux takes 128 KiB for one argument or variable; of a long log the end is kept."""
    pods = [pod(str(number), {"lastState": {"terminated": KILLED}}) for number in range(9)]
    alerts = [{"status": "firing", "labels": {"alertname": "A", "namespace": "web"}}] * 9
    found = steps.collect({"alerts": alerts}, Fake(*pods, text='"\\' * 60_000 + "the end"))
    assert len(json.dumps(found)) <= steps.FINDINGS
    assert found[0]["pods"][0]["logs"]["c"].endswith("the end")


class Server(BaseHTTPRequestHandler):
    """Takes what is posted, and answers."""

    got: list[tuple[str, str, Any]] = []  # noqa: RUF012  one for the module
    answer: bytes = b"{}"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.got.append((self.path, self.headers.get("Authorization", ""), body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Server.got.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


FINDINGS = [{"alertname": "A", "summary": "s", "remedy": "r", "problem": "", "pods": []}]


def test_a_language_model_is_asked_with_its_key_and_its_words_come_first(url: str) -> None:
    """The digest stays below: a summary may be wrong."""
    Server.answer = json.dumps({"choices": [{"message": {"content": "Too little memory. password=canary"}}]}).encode()
    text = steps.report(FINDINGS, f"{url}/v1", "small", "key")
    [(path, authorization, body)] = Server.got
    assert (path, authorization, body["model"]) == ("/v1/chat/completions", "Bearer key", "small")
    assert text.startswith("Too little memory.")
    assert "canary" not in text
    assert "## A" in text


def test_without_an_answer_of_the_model_there_is_the_digest(url: str) -> None:
    """A report must not depend on somebody else's service."""
    Server.answer = b'{"error": "overloaded"}'
    assert "(No summary: no summary in the answer of small)" in steps.report(FINDINGS, url, "small")
    assert "(No summary:" in steps.report(FINDINGS, "http://127.0.0.1:1", "small")


def test_a_comment_is_posted_as_chats_and_trackers_take_it(url: str) -> None:
    """Slack and its kin read `text`, GitHub and its kin `body`."""
    steps.comment("hello", f"{url}/hook")
    assert Server.got == [("/hook", "", {"text": "hello", "body": "hello"})]


def test_a_url_that_is_a_file_is_refused() -> None:
    """urllib would read it."""
    with pytest.raises(OSError, match="neither http nor https"):
        steps.comment("hello", "file:///etc/passwd")


def test_a_step_writes_its_result_where_the_workflow_reads_it(tmp_path: Path) -> None:
    """The next step gets it as its input."""
    steps.main("report", {"INPUT": json.dumps(FINDINGS)}, tmp_path / "result")
    assert (tmp_path / "result").read_text().startswith("## A")


def test_the_account_that_reads_pods_reads_nothing_else() -> None:
    """Secrets least of all; and it changes nothing."""
    assert {verb for rule in analysis.reading() for verb in rule["verbs"]} == {"get", "list"}
    assert {item for rule in analysis.reading() for item in rule["resources"]} == {"pods", "events", "pods/log"}


def test_the_step_that_reads_pods_reaches_nothing_outside_and_the_others_read_no_pods() -> None:
    """A log may have anything in it, also words that a language model obeys."""
    summaries = platforms.platform("full").monitoring.summaries
    spec = analysis.template("python:3", summaries, comments=True)
    by_name = {item["name"]: item for item in spec["templates"]}
    assert by_name["collect"]["serviceAccountName"] == analysis.NAME
    assert "metadata" not in by_name["collect"]
    for step in ("report", "comment"):
        assert by_name[step]["metadata"]["labels"] == analysis.OUTSIDE
        assert "serviceAccountName" not in by_name[step]
        assert "automountServiceAccountToken" not in by_name[step]
    assert spec["automountServiceAccountToken"] is False
    assert by_name["collect"]["automountServiceAccountToken"] is True


def test_without_somebody_to_tell_no_step_reaches_outside() -> None:
    """Closed by default."""
    spec = analysis.template("python:3", None, comments=False)
    assert [item["name"] for item in spec["templates"]] == ["analysis", "collect", "report"]
    assert analysis.OUTSIDE not in [item.get("metadata", {}).get("labels") for item in spec["templates"]]


def test_the_policy_opens_the_ports_that_are_needed_and_never_the_metadata_service() -> None:
    """It hands out the machine's user data."""
    found = analysis.outside([port_of("https://llm.example.org/v1"), port_of("http://chat:8065/x"), 443])
    assert [item["port"] for item in found["egress"][0]["ports"]] == [443, 8065]
    assert found["egress"][0]["to"][0]["ipBlock"]["except"] == ["169.254.169.254/32"]
