"""Stands in for the workflow controller: it runs the pods of workflows, and says how they ended.

See `workflow` for what it honours, and `run` for what it does. The steps of a group run one after another, where the
real ones run beside each other. Beside each step there is a container of the executor's stand-in, whose log tells what
the step left. There is no archive.
"""

import http
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from rehearsal.programs.argo import crons, locks, variables, web, workflow
from rehearsal.programs.argo.locks import Locks
from rehearsal.programs.argo.outcome import ENDED, Ended
from rehearsal.programs.argo.reach import PHASE, Reach
from rehearsal.programs.argo.run import Run
from rehearsal.programs.argo.variables import Object
from rehearsal.programs.kube import ARGO, Api, core, custom, forever, own_space, say

SECONDS = 2
SPACE = "workflows"
AFTER = {"Succeeded": "secondsAfterSuccess", "Failed": "secondsAfterFailure", "Error": "secondsAfterFailure"}


def metrics(
    phases: dict[tuple[str, str], int], ended: dict[tuple[str, str, str], int], there: Mapping[tuple[str, str], int]
) -> str:
    """Those of the controller's metrics that the platform's rules and dashboards read."""
    lines = [
        f'argo_workflows_gauge{{namespace="{space}",phase="{phase}"}} {count}'
        for (space, phase), count in sorted(there.items())
    ]
    lines += [
        f'argo_workflows_total_count{{namespace="{space}",phase="{phase}"}} {count}'
        for (space, phase), count in sorted(phases.items())
    ]
    lines += [
        f'argo_workflows_workflowtemplate_triggered_total{{name="{name}",namespace="{space}",phase="{phase}"}} {count}'
        for (name, space, phase), count in sorted(ended.items())
    ]
    return "\n".join(lines) + "\n"


def expired(item: Object, spec: Object, time: datetime) -> bool:
    """Whether an ended workflow is older than it is kept."""
    status, strategy = item.get("status") or {}, spec.get("ttlStrategy") or {}
    kept = strategy.get(AFTER.get(status.get("phase", ""), ""), strategy.get("secondsAfterCompletion"))
    if kept is None or not status.get("finishedAt"):
        return False
    return (time - variables.moment(status["finishedAt"])).total_seconds() > int(kept)


class Controller:
    """The workflows of one namespace."""

    def __init__(self, api: Api, settings: Object, image: str, space: str = SPACE) -> None:
        """The cluster, the controller's settings, and the image of the executor's stand-in."""
        self.api, self.settings, self.image, self.space = api, settings, image, space
        self.locks = Locks(int(settings.get("parallelism") or 0))
        self.crons = crons.Crons(api, space)
        self.phases: dict[tuple[str, str], int] = {}
        self.ended: dict[tuple[str, str, str], int] = {}
        self.there: Mapping[tuple[str, str], int] = {}
        """Workflows by their phase."""
        self.busy: set[str] = set()
        """Those that run."""

    def metrics(self) -> str:
        """As Prometheus reads them."""
        return metrics(self.phases, self.ended, self.there)

    def look(self) -> None:
        """Begin what is new, or was not ended when this program was; remove what is old; start what is scheduled."""
        # What ends while it is listed is listed as if it ran.
        busy = set(self.busy)
        items = self.api.list(custom(self.space, "workflows", version=ARGO))
        self.there = Counter((self.space, (item.get("status") or {}).get("phase") or "Pending") for item in items)
        self.locks.only({item["metadata"]["uid"] for item in items})
        for item in sorted(items, key=locks.order):
            if (item.get("status") or {}).get("phase", "") in ENDED:
                self.locks.leave(item["metadata"]["uid"])
                self._expire(item)
            elif item["metadata"]["uid"] not in busy and not item["metadata"].get("deletionTimestamp"):
                self._admit(item)
        self.crons.look(items, datetime.now(UTC))

    def _admit(self, item: Object) -> None:
        uid, shutdown = item["metadata"]["uid"], item["spec"].get("shutdown")
        if not self.locks.admit(uid, terminated=shutdown == "Terminate"):
            self._pending(item, locks.CROWDED)
            return
        spec = self.spec(item)
        names = [] if shutdown else locks.mutexes(spec, variables.of_workflow(item, spec))
        taken = self.locks.take(uid, names)
        if taken is not None:
            self._pending(item, locks.waiting(self.space, taken))
            return
        self.busy.add(uid)
        reach = Reach(self.api, item)
        run = Run(reach, spec, self.settings, self.image, self._entered)
        threading.Thread(target=self._run, args=(uid, run, item), daemon=True).start()

    def _run(self, uid: str, run: Run, item: Object) -> None:
        try:
            self._count(item, run.go())
        except Exception as error:
            # Another look goes on with it.
            say(f"{item['metadata']['name']}: {type(error).__name__}: {error}")
        finally:
            self.locks.leave(uid)
            self.busy.discard(uid)

    def _entered(self, phase: str) -> None:
        key = (self.space, phase)
        self.phases[key] = self.phases.get(key, 0) + 1

    def _count(self, item: Object, found: Ended | None) -> None:
        template = (item["spec"].get("workflowTemplateRef") or {}).get("name", "")
        if found is not None and template:
            key = (template, self.space, found.phase)
            self.ended[key] = self.ended.get(key, 0) + 1

    def _pending(self, item: Object, message: str) -> None:
        status = item.get("status") or {}
        if (status.get("phase"), status.get("message")) != ("Pending", message):
            change = {"metadata": {"labels": {PHASE: "Pending"}}, "status": {"phase": "Pending", "message": message}}
            self.api.merge(custom(self.space, "workflows", item["metadata"]["name"], ARGO), change)

    def _expire(self, item: Object) -> None:
        if expired(item, self.spec(item), datetime.now(UTC)):
            self.api.delete(custom(self.space, "workflows", item["metadata"]["name"], ARGO))

    def spec(self, item: Object) -> Object:
        """A workflow's spec over that of its template, over the defaults."""
        stored: Object | None = (item.get("status") or {}).get("storedWorkflowTemplateSpec")
        if stored:
            return stored
        template = (item["spec"].get("workflowTemplateRef") or {}).get("name", "")
        # Its run says so, where there is none.
        found = (Reach(self.api, item).library(template) or {}) if template else None
        defaults: Any = (self.settings.get("workflowDefaults") or {}).get("spec") or {}
        return workflow.joined(item["spec"], found, defaults)


def main(arguments: Iterable[str]) -> None:
    """Watch the namespace of workflows."""
    words = list(arguments)
    options = dict(zip(words[::2], words[1::2], strict=True))
    api = Api()
    found = api.get(core(own_space(), "configmaps", options["--configmap"])) or {}
    settings = yaml.safe_load(found["data"]["config"])
    controller = Controller(api, settings, options["--executor-image"])
    web.serve(int(settings["metricsConfig"]["port"]), web.status_page(controller.metrics), wait=False)
    web.serve(6060, lambda _: web.Answer(http.HTTPStatus.OK, "ok\n"), wait=False)
    say("this is the rehearsal's stand-in for Argo Workflows")
    forever("controller", SECONDS, controller.look)


if __name__ == "__main__":
    main(sys.argv[1:])
