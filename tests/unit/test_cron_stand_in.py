"""When the stand-in for the workflow controller starts what is scheduled."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rehearsal.programs.argo import cron
from rehearsal.programs.argo.cron import ScheduleError
from rehearsal.programs.argo.crons import Crons
from tests.unit.workflow_cluster import SPACE, Cluster

Object = dict[str, Any]
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def at(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def nightly(cluster: Cluster, **more: Any) -> Object:
    """A CronWorkflow for every five minutes."""
    work = {"workflowTemplateRef": {"name": "base"}}
    return cluster.put("cronworkflows", "nightly", {"schedules": ["*/5 * * * *"], "workflowSpec": work, **more})


def looked(crons: Crons, cluster: Cluster, time: datetime) -> list[str]:
    """The workflows after a look."""

    def listed() -> list[Object]:
        return [item for path, item in cluster.objects.items() if "/workflows/workflows/" in path]

    crons.look(listed(), time)
    return [item["metadata"]["annotations"]["workflows.argoproj.io/scheduled-time"] for item in listed()]


@pytest.mark.parametrize(
    ("text", "zone", "since", "due"),
    [
        ("30 2 * * *", "", "2026-03-01 12:00", "2026-03-02 02:30"),
        ("@hourly", "", "2026-03-01 12:00", "2026-03-01 13:00"),
        ("*/20 8-9 * * 1-5", "", "2026-03-06 09:40", "2026-03-09 08:00"),
        # Where day and weekday are given, either is enough.
        ("0 0 13 * 5", "", "2026-03-01 00:00", "2026-03-06 00:00"),
        ("0 6 * * *", "Europe/Berlin", "2026-03-01 12:00", "2026-03-02 05:00"),
        # In summer it is an hour earlier; the hour that is skipped is none.
        ("0 6 * * *", "Europe/Berlin", "2026-03-29 00:00", "2026-03-29 04:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-30 00:30"),
        ("0 0 29 2 *", "", "2026-03-01 12:00", "2028-02-29 00:00"),
    ],
)
def test_a_schedule_is_due_as_cron_reads_it(text: str, zone: str, since: str, due: str) -> None:
    """At the clock of its own place."""
    assert cron.parsed(text, zone).after(at(since)) == at(due)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("* * * *", ""),
        ("60 * * * *", ""),
        ("*/0 * * * *", ""),
        ("5-1 * * * *", ""),
        ("0 0 * * MON", ""),
        ("@daily", "Mars"),
    ],
)
def test_a_schedule_that_cannot_be_read_is_refused(text: str, zone: str) -> None:
    """It would never be due, and nobody would know."""
    with pytest.raises(ScheduleError):
        cron.parsed(text, zone)


def test_what_is_scheduled_is_started_once_for_each_time() -> None:
    """However often it is looked at; its name has the time, so another controller does not start it again."""
    cluster = Cluster()
    nightly(cluster)
    crons = Crons(cluster.api(), SPACE)
    assert looked(crons, cluster, NOON + MINUTE) == []
    assert looked(crons, cluster, NOON + 4 * MINUTE) == []
    for _ in range(3):
        assert looked(crons, cluster, NOON + 5 * MINUTE) == ["2026-03-01T12:05:00Z"]
    assert looked(Crons(cluster.api(), SPACE), cluster, NOON + 5 * MINUTE) == ["2026-03-01T12:05:00Z"]
    [made] = [item for item in cluster.objects.values() if item["metadata"]["name"].startswith("nightly-")]
    assert made["metadata"]["name"] == f"nightly-{int((NOON + 5 * MINUTE).timestamp())}"
    assert made["spec"] == {"workflowTemplateRef": {"name": "base"}}
    assert made["metadata"]["ownerReferences"][0]["kind"] == "CronWorkflow"


@pytest.mark.parametrize(("policy", "started"), [("Forbid", 1), ("Allow", 2), ("Replace", 2)])
def test_what_still_runs_is_waited_for_as_the_policy_says(policy: str, started: int) -> None:
    """Two builds of one night would hinder each other."""
    cluster = Cluster()
    nightly(cluster, concurrencyPolicy=policy)
    crons = Crons(cluster.api(), SPACE)
    looked(crons, cluster, NOON)
    first = looked(crons, cluster, NOON + 5 * MINUTE)
    assert len(first) == 1
    assert len(looked(crons, cluster, NOON + 10 * MINUTE)) == started
    [old] = [
        item for item in cluster.objects.values() if item["metadata"]["name"].endswith(str(int(NOON.timestamp()) + 300))
    ]
    assert old["spec"].get("shutdown") == ("Terminate" if policy == "Replace" else None)
    old["status"] = {"phase": "Succeeded", "finishedAt": "2026-03-01T12:11:00Z"}
    # What was not started is not made up for.
    assert len(looked(crons, cluster, NOON + 11 * MINUTE)) == started
    assert len(looked(crons, cluster, NOON + 15 * MINUTE)) == started + 1


@pytest.mark.parametrize(("late", "minutes", "started"), [(None, 6, 1), (120, 6, 2), (60, 7, 1), (600, 17, 2)])
def test_what_was_missed_while_nobody_looked_is_made_up_for_within_its_time(
    late: int | None, minutes: int, started: int
) -> None:
    """Only the last of it, and only after a controller was away."""
    cluster = Cluster()
    nightly(cluster, **({} if late is None else {"startingDeadlineSeconds": late}))
    crons = Crons(cluster.api(), SPACE)
    looked(crons, cluster, NOON + MINUTE)
    assert len(looked(crons, cluster, NOON + 5 * MINUTE)) == 1
    found = looked(Crons(cluster.api(), SPACE), cluster, NOON + 5 * MINUTE + minutes * MINUTE)
    assert len(found) == started


def test_a_schedule_that_is_suspended_starts_nothing() -> None:
    """Nor afterwards what would have been."""
    cluster = Cluster()
    item = nightly(cluster, suspend=True)
    crons = Crons(cluster.api(), SPACE)
    looked(crons, cluster, NOON)
    assert looked(crons, cluster, NOON + 5 * MINUTE) == []
    item["spec"]["suspend"] = False
    assert looked(crons, cluster, NOON + 6 * MINUTE) == []


def test_the_old_workflows_of_a_schedule_go() -> None:
    """The newest stay, by how they ended."""
    cluster = Cluster()
    item = nightly(cluster, successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0)
    label = {"workflows.argoproj.io/cron-workflow": "nightly"}
    ends = [("a", "Succeeded", 1), ("b", "Succeeded", 2), ("c", "Failed", 3)]
    mine = [
        cluster.put(
            "workflows",
            name,
            {},
            status={"phase": phase, "finishedAt": f"2026-03-01T12:0{n}:00Z"},
            metadata={"labels": label},
        )
        for name, phase, n in ends
    ]
    Crons(cluster.api(), SPACE).look(mine, NOON)
    assert sorted(cluster.removed) == ["a", "c"]
    assert item["metadata"]["name"] == "nightly"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"when": "1 == 1"}, "when"),
        ({"schedule": "@daily"}, "schedule"),
        ({"stopStrategy": {}}, "stopStrategy"),
        ({"workflowSpec": {"podSpecPatch": "{}"}}, "podSpecPatch"),
        ({"schedules": []}, "at least one schedule"),
        ({"schedules": ["never"]}, "1 fields"),
    ],
)
def test_a_schedule_that_is_not_honoured_says_so_and_lets_others_start(change: Object, named: str) -> None:
    """In its status, where Argo Workflows says it."""
    cluster = Cluster()
    nightly(cluster, **change)
    cluster.put("cronworkflows", "other", {"schedules": ["*/5 * * * *"], "workflowSpec": {}})
    crons = Crons(cluster.api(), SPACE)
    looked(crons, cluster, NOON)
    assert len(looked(crons, cluster, NOON + 5 * MINUTE)) == 1
    item = next(item for item in cluster.objects.values() if item["metadata"]["name"] == "nightly")
    [condition] = item["status"]["conditions"]
    assert condition["type"] == "SpecError"
    assert named in condition["message"]
