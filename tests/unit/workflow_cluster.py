"""An API in memory for what stands in for the workflow controller: its pods end as a test says."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from mlops.argo import workflows
from rehearsal.programs.argo import outcome
from rehearsal.programs.argo.controller import Controller
from rehearsal.programs.argo.reach import Reach
from rehearsal.programs.argo.run import Run
from rehearsal.programs.kube import ARGO, Api, core, custom

Object = dict[str, Any]
SPACE = "workflows"
SETTINGS: Mapping[str, Any] = {
    "workflowDefaults": workflows.defaults(),
    "mainContainer": {"securityContext": dict(workflows.RESTRICTED)},
}
BARE: Mapping[str, Any] = {}
"""Without defaults, which would try each template again."""
RUNNING = -1
"""Instead of an exit code: the pod goes on."""


def merged(below: Any, change: Any) -> Any:
    """RFC 7386: null removes."""
    if not isinstance(change, dict):
        return change
    found = dict(below) if isinstance(below, dict) else {}
    for key, value in change.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def wrong(code: int) -> Object:
    """The status of a pod whose program failed."""
    ended = {"name": "main", "state": {"terminated": {"exitCode": code, "reason": "Error"}}}
    return {"phase": "Failed", "containerStatuses": [ended]}


EVICTED: Mapping[str, Any] = {
    "phase": "Failed",
    "initContainerStatuses": [{"name": "wait", "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}],
}
"""The executor failed, and not the program: an error."""


class Cluster:
    """Objects by their paths. A pod leaves its input in brackets as a parameter, and prints a word."""

    def __init__(self, ends: Callable[[Object], Any] = lambda _: 0) -> None:
        """`ends` says of a pod its exit code, RUNNING, or its whole status."""
        self.ends = ends
        self.objects: dict[str, Object] = {}
        self.made: list[Object] = []
        """Pods in the order in which they were made."""
        self.removed: list[str] = []
        self.phases: list[tuple[str, str]] = []
        """Each phase of each workflow, in their order."""

    def put(self, kind: str, name: str, spec: Object, **more: Any) -> Object:
        """Store an object of Argo's."""
        metadata = {"name": name, "namespace": SPACE, "uid": f"uid-{name}", "generation": 1}
        item = {"metadata": {**metadata, **more.pop("metadata", {})}, "spec": spec, **more}
        self.objects[custom(SPACE, kind, name, ARGO)] = item
        return item

    def workflow(self, name: str = "w") -> Object:
        """A workflow as it stands."""
        return self.objects[custom(SPACE, "workflows", name, ARGO)]

    def get(self, path: str) -> Object | None:
        found = self.objects.get(path)
        if found is None or "/pods/" not in path:
            return found
        wanted = self.ends(found)
        if isinstance(wanted, int):
            wanted = {"phase": "Running" if wanted == RUNNING else "Succeeded"} if wanted <= 0 else wrong(wanted)
        return {**found, "status": wanted}

    def list(self, path: str) -> list[Object]:
        return [json.loads(json.dumps(item)) for at, item in self.objects.items() if at.rpartition("/")[0] == path]

    def create(self, path: str, item: Object) -> bool:
        where = f"{path}/{item['metadata']['name']}"
        if where in self.objects:
            return False
        if path == core(SPACE, "pods"):
            self.made.append(item)
        self.objects[where] = {**item, "metadata": {"uid": f"uid-{item['metadata']['name']}", **item["metadata"]}}
        return True

    def merge(self, path: str, change: Object) -> Object:
        self.objects[path] = merged(self.objects[path], change)
        phase = (change.get("status") or {}).get("phase")
        entry = (path.rpartition("/")[2], str(phase))
        if phase and "/workflows/" in path and entry not in self.phases[-1:]:
            self.phases.append(entry)
        return self.objects[path]

    def delete(self, path: str) -> None:
        if self.objects.pop(path, None) is not None:
            self.removed.append(path.rpartition("/")[2])

    def text(self, path: str) -> str:
        main = self.objects[path.partition("/log")[0]]["spec"]["containers"][0]
        given = next((entry["value"] for entry in main.get("env", []) if entry["name"] == "INPUT"), "")
        left = json.dumps({"parameters.result": f"<{given}>"})
        return f"outputs: {left}\n" if path.endswith("wait") else "printed\n"

    def names(self) -> Sequence[str]:
        """The nodes of the pods, in the order in which they were made."""
        return [pod["metadata"]["annotations"]["workflows.argoproj.io/node-name"] for pod in self.made]

    def api(self) -> Api:
        return cast(Api, self)


def hurried(patch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for long."""
    sleep = time.sleep
    patch.setattr("time.sleep", lambda _: sleep(0.001))


def ended(cluster: Cluster, spec: Object, settings: Mapping[str, Any] = BARE, **more: Any) -> Object:
    """Run a workflow to its end; returns its status."""
    item = cluster.put("workflows", "w", spec, **more)
    made = Controller(cluster.api(), dict(settings), "executor-image")
    Run(Reach(cluster.api(), item), made.spec(item), dict(settings), "executor-image").go()
    status: Object = cluster.workflow()["status"]
    return status


def settled(found: Controller, cluster: Cluster, *names: str) -> None:
    """Let a controller look until workflows ended."""
    pause = threading.Event()
    for _ in range(2000):
        found.look()
        phases = [(cluster.workflow(name).get("status") or {}).get("phase") for name in names]
        if all(phase in outcome.ENDED for phase in phases) and not found.busy:
            return
        pause.wait(0.005)
    raise AssertionError(f"{names}: {phases}")


def nodes(status: Object) -> dict[str, Object]:
    """The nodes of a status by their names."""
    return {node["name"]: node for node in status["nodes"].values()}
