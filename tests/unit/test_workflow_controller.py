"""What the stand-in for the workflow controller does with many workflows, with time, and after it was away."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehearsal.programs.argo import outcome
from rehearsal.programs.argo.controller import Controller
from rehearsal.programs.argo.locks import Locks
from rehearsal.programs.argo.reach import Reach
from rehearsal.programs.argo.run import Run
from tests.unit.workflow_cluster import RUNNING, Cluster, ended, hurried, settled

Object = dict[str, Any]
T = {"name": "t", "container": {"image": "image", "command": ["true"]}}
ALONE = {"synchronization": {"mutexes": [{"name": "production"}]}}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurried(monkeypatch)


def one(**more: Any) -> Object:
    return {"entrypoint": "t", "templates": [T], **more}


def two(**more: Any) -> Object:
    """Two steps."""
    listed = [[{"name": "a", "template": "t"}], [{"name": "b", "template": "t"}]]
    return {"entrypoint": "main", "templates": [{"name": "main", "steps": listed}, T], **more}


def controlling(cluster: Cluster, **settings: Any) -> Controller:
    return Controller(cluster.api(), settings, "executor-image")


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (1, "Failed")])
def test_a_workflow_waits_for_a_mutex_until_the_other_ended(code: int, phase: str) -> None:
    """However that ended: what holds it for ever stops every release."""
    goes = [RUNNING]
    cluster = Cluster(lambda pod: goes[0] if pod["metadata"]["name"] == "first" else 0)
    cluster.put("workflows", "first", one(**ALONE), metadata={"creationTimestamp": "2026-03-01T12:00:00Z"})
    cluster.put("workflows", "second", one(**ALONE), metadata={"creationTimestamp": "2026-03-01T12:00:01Z"})
    cluster.put("workflows", "other", one(), metadata={"creationTimestamp": "2026-03-01T12:00:02Z"})
    found = controlling(cluster)
    found.look()
    waiting = cluster.workflow("second")["status"]
    assert waiting["phase"] == "Pending"
    assert waiting["message"] == "Waiting for workflows/Mutex/production lock. Lock status: 0/1"
    for _ in range(200):
        found.look()
    assert [pod["metadata"]["name"] for pod in cluster.made if pod["metadata"]["name"] == "second"] == []
    goes[0] = code
    settled(found, cluster, "first", "second", "other")
    assert cluster.workflow("first")["status"]["phase"] == phase
    assert cluster.workflow("second")["status"]["phase"] == "Succeeded"
    order = [entry for entry in cluster.phases if entry in (("first", phase), ("second", "Running"))]
    assert order == [("first", phase), ("second", "Running")]


def test_a_mutex_is_let_go_by_a_workflow_that_is_deleted() -> None:
    """Nobody would ever end it."""
    locks = Locks()
    assert locks.take("a", ["m"]) is None
    assert locks.take("b", ["n", "m"]) == "m"
    assert locks.take("c", ["n"]) is None
    locks.only({"b", "c"})
    assert locks.take("b", ["m"]) is None


def test_what_held_a_mutex_has_it_again_after_the_controller_was_away() -> None:
    """Though what waits for it is older, or was made meanwhile."""
    cluster = Cluster(lambda _: RUNNING)
    later = {"creationTimestamp": "2026-03-01T12:00:01Z"}
    cluster.put(
        "workflows",
        "holds",
        one(**ALONE),
        metadata=later,
        status={"phase": "Running", "startedAt": "2026-03-01T12:00:02Z"},
    )
    cluster.put("workflows", "waits", one(**ALONE), metadata={"creationTimestamp": "2026-03-01T12:00:00Z"})
    found = controlling(cluster)
    found.look()
    assert cluster.workflow("waits")["status"]["phase"] == "Pending"
    cluster.ends = lambda _: 0
    settled(found, cluster, "holds", "waits")


def test_no_more_workflows_run_at_once_than_the_controller_allows() -> None:
    """The higher priority comes first."""
    cluster = Cluster(lambda _: RUNNING)
    cluster.put("workflows", "low", one())
    cluster.put("workflows", "high", one(priority=5))
    found = controlling(cluster, parallelism=1)
    found.look()
    assert cluster.workflow("low")["status"]["phase"] == "Pending"
    assert "too many workflows" in cluster.workflow("low")["status"]["message"]
    cluster.ends = lambda _: 0
    settled(found, cluster, "low", "high")


def test_a_workflow_that_takes_too_long_fails_and_its_handler_runs() -> None:
    """The pod goes, and is told how much time it had."""
    cluster = Cluster(lambda pod: RUNNING if pod["metadata"]["name"] == "w" else 0)
    begun = (datetime.now(UTC) - timedelta(seconds=99)).strftime("%Y-%m-%dT%H:%M:%SZ")
    last = {**T, "name": "last"}
    spec = one(activeDeadlineSeconds=100, onExit="last")
    spec["templates"] = [T, last]
    status = ended(cluster, spec, status={"phase": "Running", "startedAt": begun})
    assert (status["phase"], status["message"]) == ("Failed", "Step exceeded its deadline")
    assert cluster.removed == ["w"]
    limits = [pod["spec"].get("activeDeadlineSeconds") for pod in cluster.made]
    assert limits[0] in (1, 2)
    assert limits[1:] == [None]


def test_a_template_has_a_deadline_of_its_own() -> None:
    """The shorter counts; Kubernetes ends the pod."""
    cluster = Cluster()
    spec = one(activeDeadlineSeconds=3600)
    spec["templates"] = [{**T, "activeDeadlineSeconds": 60}]
    ended(cluster, spec)
    assert cluster.made[0]["spec"]["activeDeadlineSeconds"] == 60


@pytest.mark.parametrize(
    ("strategy", "phase", "seconds", "gone"),
    [
        ({}, "Succeeded", 10**6, False),
        ({"secondsAfterCompletion": 100}, "Succeeded", 99, False),
        ({"secondsAfterCompletion": 100}, "Failed", 101, True),
        ({"secondsAfterCompletion": 100, "secondsAfterFailure": 200}, "Error", 101, False),
        ({"secondsAfterCompletion": 100, "secondsAfterSuccess": 0}, "Succeeded", 1, True),
    ],
)
def test_an_ended_workflow_goes_after_its_time(strategy: Object, phase: str, seconds: int, gone: bool) -> None:
    """How it ended has a time of its own."""
    finished = (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster = Cluster()
    cluster.put("workflows", "old", one(ttlStrategy=strategy), status={"phase": phase, "finishedAt": finished})
    controlling(cluster).look()
    assert (cluster.removed == ["old"]) is gone


def test_another_controller_goes_on_where_one_stopped() -> None:
    """What ended is not run again, and a pod that runs is the same."""
    cluster = Cluster()
    item = cluster.put("workflows", "w", two())

    class StoppedError(BaseException):
        """The program is ended in the middle."""

    def stopped(pod: Object) -> Any:
        if pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"] == "w[1].b":
            raise StoppedError
        return 0

    cluster.ends = stopped
    with pytest.raises(StoppedError):
        Run(Reach(cluster.api(), item), item["spec"], {}, "executor-image").go()
    assert cluster.workflow()["status"]["phase"] == "Running"
    assert cluster.names() == ["w[0].a", "w[1].b"]
    cluster.ends = lambda _: 0
    settled(controlling(cluster), cluster, "w")
    assert cluster.workflow()["status"]["phase"] == "Succeeded"
    assert len(cluster.made) == 2


def test_a_step_that_was_tried_is_not_tried_from_the_beginning_by_another_controller() -> None:
    """A limit holds for all of them together."""
    cluster = Cluster(lambda _: 1)
    spec = one()
    spec["templates"] = [{**T, "retryStrategy": {"limit": "1"}}]
    status = ended(cluster, spec)
    assert len(cluster.made) == 2
    before = {key: node for key, node in status["nodes"].items() if node["name"] == "w(0)"}
    again = Cluster(lambda _: 1)
    kept = {"phase": "Running", "startedAt": status["startedAt"], "nodes": before}
    assert ended(again, spec, status=kept)["message"] == "No more retries left"
    assert again.names() == ["w(1)"]


def test_a_workflow_that_ends_while_it_is_listed_is_not_run_again() -> None:
    """The list is older than its end."""
    cluster = Cluster(lambda _: RUNNING)
    cluster.put("workflows", "w", one())
    found = controlling(cluster)
    found.look()
    listed = cluster.list

    def slow(path: str) -> list[Object]:
        items = listed(path)
        cluster.ends = lambda _: 0
        until = time.monotonic() + 10
        while found.busy and time.monotonic() < until:
            time.sleep(0.01)
        return items

    cluster.list = slow  # type: ignore[method-assign]
    found.look()
    settled(found, cluster, "w")
    assert [phase for _, phase in cluster.phases] == ["Running", "Succeeded"]


@pytest.mark.parametrize(("how", "handled"), [("Stop", 1), ("Terminate", 0)])
def test_a_workflow_that_is_stopped_fails_and_its_handler_runs_unless_it_is_terminated(how: str, handled: int) -> None:
    """Somebody wants it to end."""
    cluster = Cluster()
    spec = two(onExit="last", shutdown=how)
    spec["templates"] = [*spec["templates"], {**T, "name": "last"}]
    status = ended(cluster, spec)
    assert (status["phase"], status["message"]) == ("Failed", f"Stopped with strategy '{how}'")
    assert len(cluster.made) == handled


def test_a_workflow_that_is_deleted_takes_its_pods_along() -> None:
    """The garbage collection does so in a cluster; its program ends, too."""
    cluster = Cluster()
    item = cluster.put("workflows", "w", one())

    def gone(_: Object) -> int:
        cluster.workflow()["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
        return RUNNING

    cluster.ends = gone
    assert Run(Reach(cluster.api(), item), item["spec"], {}, "executor-image").go() is None
    assert cluster.removed == ["w"]


def test_what_the_rules_of_the_platform_read_is_counted() -> None:
    """An alert on a metric that does not exist never fires."""
    cluster = Cluster(lambda _: 1)
    cluster.put("workflowtemplates", "base", one())
    cluster.put("workflows", "w", {"workflowTemplateRef": {"name": "base"}})
    found = controlling(cluster)
    settled(found, cluster, "w")
    found.look()  # the gauge is of the last look, which may have been before the end
    assert found.metrics().splitlines() == [
        'argo_workflows_gauge{namespace="workflows",phase="Failed"} 1',
        'argo_workflows_total_count{namespace="workflows",phase="Failed"} 1',
        'argo_workflows_total_count{namespace="workflows",phase="Running"} 1',
        'argo_workflows_workflowtemplate_triggered_total{name="base",namespace="workflows",phase="Failed"} 1',
    ]
    assert outcome.ENDED == ("Succeeded", "Failed", "Error")
