"""The CronWorkflows of a namespace, for the controller's stand-in: each starts its workflow when it is time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rehearsal.programs.argo import cron, workflow
from rehearsal.programs.argo.cron import ScheduleError
from rehearsal.programs.argo.outcome import ENDED
from rehearsal.programs.argo.variables import SCHEDULED, Object, moment
from rehearsal.programs.kube import ARGO, Api, custom, say

LABEL = "workflows.argoproj.io/cron-workflow"
PLURAL = "cronworkflows"
KEPT = {True: ("successfulJobsHistoryLimit", 3), False: ("failedJobsHistoryLimit", 1)}
FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def started(item: Object, time: datetime) -> Object:
    """The workflow of a CronWorkflow for a time; started twice, it is the same."""
    metadata, spec = item["metadata"], item["spec"]
    more = spec.get("workflowMetadata") or {}
    owner = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": f"{metadata['name']}-{int(time.timestamp())}",
            "namespace": metadata["namespace"],
            "labels": {LABEL: metadata["name"], **(more.get("labels") or {})},
            "annotations": {SCHEDULED: time.strftime(FORMAT), **(more.get("annotations") or {})},
            "ownerReferences": [owner],
        },
        "spec": spec["workflowSpec"],
    }


def phase(item: Mapping[str, Any]) -> str:
    """Of a workflow."""
    return str((item.get("status") or {}).get("phase", ""))


def old(item: Object, mine: Sequence[Object]) -> list[Object]:
    """The ended workflows of a CronWorkflow that are too many."""
    found = []
    for succeeded, (key, default) in KEPT.items():
        ended = [one for one in mine if phase(one) in ENDED and (phase(one) == "Succeeded") is succeeded]
        ended.sort(key=lambda one: str(one["status"].get("finishedAt", "")), reverse=True)
        found += ended[int(item["spec"].get(key, default)) :]
    return found


class Crons:
    """Looks at them again and again."""

    def __init__(self, api: Api, space: str) -> None:
        """The cluster, and the namespace."""
        self.api, self.space = api, space
        self._seen: dict[tuple[str, int], datetime] = {}
        """Each as it is written, and since when that was looked at."""

    def look(self, workflows: Sequence[Object], time: datetime) -> None:
        """Start what is due, and remove what is too many."""
        for item in self.api.list(custom(self.space, PLURAL, version=ARGO)):
            name = item["metadata"]["name"]
            mine = [one for one in workflows if (one["metadata"].get("labels") or {}).get(LABEL) == name]
            try:
                strange = [*cron.unknown(item["spec"]), *workflow.unknown(item["spec"]["workflowSpec"])]
                if strange:
                    raise ScheduleError(f"not honoured by the rehearsal's stand-in: {', '.join(strange)}")
                self._start(item, mine, time)
                problem = ""
            except ScheduleError as error:
                problem = str(error)
            for one in old(item, mine):
                self.api.delete(custom(self.space, "workflows", one["metadata"]["name"], ARGO))
            self._say(item, mine, problem)

    def _start(self, item: Object, mine: Sequence[Object], time: datetime) -> None:
        metadata, spec, status = item["metadata"], item["spec"], item.get("status") or {}
        schedules = [cron.parsed(text, spec.get("timezone", "")) for text in spec.get("schedules") or []]
        if not schedules:
            raise ScheduleError("cron workflow must have at least one schedule")
        # Another generation is another schedule, perhaps: nothing of it was missed.
        key = (metadata["uid"], int(metadata.get("generation", 1)))
        fresh = not any(uid == key[0] for uid, _ in self._seen)
        if key not in self._seen:
            self._seen = {one: seen for one, seen in self._seen.items() if one[0] != key[0]}
            self._seen[key] = time
        last = moment(status["lastScheduledTime"]) if status.get("lastScheduledTime") else None
        late = spec.get("startingDeadlineSeconds") if fresh else None
        wanted = cron.due(schedules, last=last, seen=self._seen[key], time=time, late=late)
        self._seen[key] = max(self._seen[key], wanted or self._seen[key])
        if wanted is None or spec.get("suspend"):
            return
        active = [one for one in mine if phase(one) not in ENDED]
        policy = spec.get("concurrencyPolicy") or "Allow"
        if active and policy == "Forbid":
            say(f"{metadata['name']}: not started at {wanted.strftime(FORMAT)}: its last workflow still runs")
            return
        for one in active if policy == "Replace" else []:
            self.api.merge(
                custom(self.space, "workflows", one["metadata"]["name"], ARGO), {"spec": {"shutdown": "Terminate"}}
            )
        self.api.create(custom(self.space, "workflows", version=ARGO), started(item, wanted))
        self._status(item, {"lastScheduledTime": wanted.strftime(FORMAT), "phase": "Active"})

    def _say(self, item: Object, mine: Sequence[Object], problem: str) -> None:
        active = [
            {"kind": "Workflow", "name": one["metadata"]["name"], "uid": one["metadata"]["uid"]}
            for one in mine
            if phase(one) not in ENDED
        ]
        conditions = [{"type": "SpecError", "status": "True", "message": problem}] if problem else []
        status = item.get("status") or {}
        if (status.get("active") or [], status.get("conditions") or []) != (active, conditions):
            self._status(item, {"active": active, "conditions": conditions})

    def _status(self, item: Object, status: Object) -> None:
        # The kind has no part of its own for the status.
        self.api.merge(custom(self.space, PLURAL, item["metadata"]["name"], ARGO), {"status": status})
