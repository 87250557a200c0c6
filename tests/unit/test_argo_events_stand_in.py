"""What stands in for Argo Events: who may tell of an event, which events count, and what becomes of them."""

import hashlib
import hmac
import json
from typing import Any, cast

import pytest

from mlops.argo import bus, events, github
from rehearsal.programs.argo import events as stand_in
from rehearsal.programs.argo import hooks, triggers
from rehearsal.programs.argo.counters import metrics
from rehearsal.programs.argo.sensors import Trigger
from rehearsal.programs.argo.triggers import Limit
from rehearsal.programs.argo.web import Request
from rehearsal.programs.kube import Api, ApiError

REPOSITORY, COMMIT = "team/model", "3f2a9c1b77de" + "0" * 28
HOOKS = {hook.event: hook for hook in hooks.hooks(events.source("tokens"))}
[SIGNED] = hooks.hooks(github.source("secret", REPOSITORY))
ALERTS = events.sensor("alerts", "log-analysis", "alerts", "workflows")
COMMITS = github.sensor(github.Watched(REPOSITORY, "main", "pipeline", "revision", {"who": "github"}), "workflows")


def pushed(**changes: Any) -> dict[str, Any]:
    """What GitHub tells of a push, with changes."""
    said = {"ref": "refs/heads/main", "after": COMMIT, "deleted": False, "repository": {"full_name": REPOSITORY}}
    return {**said, **changes}


def request(body: bytes, signer: str = "secret", **headers: str) -> Request:
    """A signed delivery, with other headers."""
    digest = hmac.new(signer.encode(), body, hashlib.sha256).hexdigest()
    given = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-Hub-Signature-256": f"sha256={digest}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Request("POST", "/github", given, body)


def counts(body: dict[str, Any], event: str = "push") -> bool:
    """Whether an event starts the pipeline."""
    sent = request(json.dumps(body).encode(), X_GitHub_Event=event)
    [dependency] = COMMITS["dependencies"]
    return triggers.passes(dependency, hooks.data(sent, SIGNED))


@pytest.mark.parametrize(
    ("header", "status"),
    [({}, 401), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": "Bearer right"}, None)],
)
def test_an_event_without_its_token_is_refused(header: dict[str, str], status: int | None) -> None:
    """Whoever reaches the webhook could start workflows."""
    found = hooks.admitted(Request("POST", "/alerts", header, b"{}"), HOOKS["alerts"], "right")
    assert (found.status if found else None) == status


def test_an_empty_secret_lets_nobody_in() -> None:
    """A key that is missing would equal a header that is missing."""
    bearer = Request("POST", "/alerts", {"Authorization": "Bearer "}, b"{}")
    assert hooks.admitted(bearer, HOOKS["alerts"], "") is not None
    assert hooks.admitted(request(b"{}", ""), SIGNED, "") is not None


def test_what_github_signed_is_taken_byte_for_byte() -> None:
    """Another order of the same keys has another signature."""
    assert hooks.admitted(request(b'{"a": 1}'), SIGNED, "secret") is None
    forged = Request("POST", "/github", request(b'{"a": 1}').headers, b'{"a":1}')
    refused = hooks.admitted(forged, SIGNED, "secret")
    assert refused is not None
    assert refused.status == 400


@pytest.mark.parametrize(
    "sent",
    [
        request(b"{}", "other"),
        request(b"{}", X_Hub_Signature_256=""),
        request(b"{}", X_Hub_Signature_256="sha256="),
        request(b"{}", X_Hub_Signature_256="sha256=é"),
        request(b"{}", X_Hub_Signature_256="none=" + "0" * 64),
        request(b"{}", Content_Type="application/x-www-form-urlencoded"),
        request(b"no JSON"),
        request(b"[]"),
        request(b" " * (github.LARGEST + 1)),
    ],
)
def test_what_github_did_not_send_like_this_is_refused(sent: Request) -> None:
    """Unsigned, signed by another, no JSON or too large."""
    refused = hooks.admitted(sent, SIGNED, "secret")
    assert refused is not None
    assert refused.status == 400


def test_a_push_to_the_branch_starts_the_pipeline_and_nothing_else_does() -> None:
    """Filters are regular expressions: a branch whose name only begins like ours must not do."""
    assert counts(pushed())
    assert not counts(pushed(), "ping")
    for ref in ("refs/heads/main-2", "refs/heads/other", "refs/tags/main", "x/refs/heads/main", "refs/heads/main\n"):
        assert not counts(pushed(ref=ref)), ref
    assert not counts(pushed(repository={"full_name": "other/model"}))
    assert not counts({})


def test_a_branch_that_is_deleted_starts_nothing() -> None:
    """There is no commit to build."""
    assert not counts(pushed(after="0" * 40, deleted=True))
    assert not counts(pushed(after="0" * 40))
    assert not counts(pushed(deleted=True))
    assert not counts(pushed(after="$(reboot)"))


def test_a_dot_in_a_branch_is_a_dot() -> None:
    """In a regular expression it would be anything."""
    [dependency] = github.sensor(
        github.Watched(REPOSITORY, "v1.2", "pipeline", "revision", {"who": "github"}), "workflows"
    )["dependencies"]
    data = {"body": {**pushed(ref="refs/heads/v1x2"), "X-GitHub-Event": "push"}}
    assert not triggers.passes(dependency, data)
    data["body"]["ref"] = "refs/heads/v1.2"
    assert triggers.passes(dependency, data)


def test_a_commit_names_its_workflow_and_is_its_parameter() -> None:
    """Told twice, it meets the workflow of the first time."""
    made = triggers.filled(COMMITS["triggers"][0], {"body": pushed()})
    assert made["metadata"]["name"] == "pipeline-3f2a9c1b77de"
    given = {entry["name"]: entry["value"] for entry in made["spec"]["arguments"]["parameters"]}
    assert given == {"revision": COMMIT, "who": "github"}
    assert COMMITS["triggers"][0]["template"]["k8s"]["source"]["resource"]["metadata"]["name"] == ""


def test_a_push_that_is_told_twice_starts_one_workflow() -> None:
    """The name is there already. The sensor counts a failed action, as Argo Events does, and makes nothing."""
    made: list[str] = []

    class Stored:
        def call(self, _method: str, path: str, item: dict[str, Any]) -> None:
            assert path.endswith("/namespaces/workflows/workflows")
            if item["metadata"]["name"] in made:
                raise ApiError(409, "AlreadyExists")
            made.append(item["metadata"]["name"])

    trigger = Trigger("github", COMMITS["triggers"][0], cast(Api, Stored()))
    assert [trigger.made({"body": pushed()}) for _ in range(3)] == [True, False, False]
    assert trigger.made({"body": pushed(after="f" * 40)})
    assert made == ["pipeline-3f2a9c1b77de", "pipeline-ffffffffffff"]
    counted = 'argo_events_action_failed_total{sensor_name="github",trigger_name="pipeline"} 2'
    assert counted in metrics().splitlines()


def test_an_event_becomes_the_parameter_of_the_workflow_as_text() -> None:
    """Argo Events gives an object as JSON text."""
    made = triggers.filled(ALERTS["triggers"][0], {"body": {"alerts": [{"status": "firing"}]}})
    assert json.loads(made["spec"]["arguments"]["parameters"][0]["value"]) == {"alerts": [{"status": "firing"}]}


def test_a_storm_of_commits_gets_its_turns_as_the_limit_says() -> None:
    """Nothing is thrown away: what is too much waits. A quiet time is saved for ten turns."""
    limit = Limit.of(COMMITS["triggers"][0])
    waits = [limit.take(1000.0) for _ in range(200)]
    assert [wait for wait in waits if wait < 60] == [6.0 * index for index in range(10)]
    assert waits[-1] == 199 * 6.0
    later = [limit.take(10_000.0) for _ in range(200)]
    assert sum(wait == 0 for wait in later) == 11
    assert sum(wait <= 60 for wait in later) == 21


def test_only_what_happens_at_least_once_is_tried_again() -> None:
    """So is it in Argo Events, which says nothing of it."""
    trigger = COMMITS["triggers"][0]
    assert list(triggers.pauses(trigger)) == [5.0, 10.0, 20.0, 40.0]
    assert triggers.pauses({**trigger, "atLeastOnce": False}) == ()


def test_the_objects_of_events_are_honoured_in_full() -> None:
    """The stand-in says which fields it would leave out; of ours there is none."""
    for source in (events.source("tokens"), github.source("secret", REPOSITORY)):
        assert stand_in.unknown(stand_in.SOURCES, source) == []
    for sensor in (ALERTS, COMMITS):
        assert stand_in.unknown(stand_in.SENSORS, sensor) == []
    assert stand_in.unknown(stand_in.BUSES, bus.event_bus("nats://bus", "bus")) == []
    assert stand_in.unknown(stand_in.SENSORS, {"triggers": [{"template": {"name": "x", "http": {}}}]}) == ["http"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"apiToken": {}}, "github.push.apiToken"),
        ({"repositories": []}, "github.push: either repositories or organizations is required"),
        ({"webhookSecret": None}, "github.push: without a secret"),
        ({"contentType": "form"}, "github.push.contentType form"),
    ],
)
def test_a_source_that_argo_events_would_refuse_is_refused(change: dict[str, Any], named: str) -> None:
    """And one that would take whatever comes."""
    spec = github.source("secret", REPOSITORY)
    spec["github"]["push"].update(change)
    assert hooks.unknown(spec) == [named]


def test_a_factor_that_argo_events_cannot_read_is_refused() -> None:
    """With it, a trigger fails before it is tried even once."""
    trigger = {**ALERTS["triggers"][0], "retryStrategy": {"steps": 5, "factor": {"value": "2"}}}
    assert triggers.unknown({**ALERTS, "triggers": [trigger]}) == ["retryStrategy.factor must be a number"]


def test_an_event_goes_to_the_sensors_that_wait_for_it() -> None:
    """Each event has its own sensors, or none."""
    sensor = {"metadata": {"name": "one"}, "spec": ALERTS}
    assert stand_in.waiting([sensor], "webhook", "alerts") == ["one"]
    assert stand_in.waiting([sensor], "webhook", "deployments") == []


def test_the_pods_of_a_source_see_the_secret_of_each_event() -> None:
    """A secret that is not mounted would be asked for in vain."""
    item = {
        "metadata": {"name": "github", "namespace": "argo-events", "uid": "u"},
        "spec": github.source("word", REPOSITORY),
    }
    sensor = {"metadata": {"name": "github"}, "spec": COMMITS}
    pod = stand_in.deployment(stand_in.SOURCES, item, "image", [sensor])["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "secret-word", "secret": {"secretName": "word"}}]
    environment = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
    assert json.loads(environment["TARGETS"]) == {"push": ["github-sensor-svc"]}
