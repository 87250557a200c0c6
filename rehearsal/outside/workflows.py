"""Workflows, as a person starts and watches them with kubectl."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.outside.kubectl import Kubectl
from rehearsal.outside.waiting import until

SPACE = "workflows"
MINUTES = 15
OVER = ("Succeeded", "Failed", "Error")
Status = Mapping[str, Any]


def _ignored(_: Status) -> None:
    pass


@dataclass(frozen=True)
class Workflows:
    """Those of the delivery's namespace."""

    kubectl: Kubectl

    def start(self, template: str, **parameters: str) -> str:
        """A workflow of a template; its name."""
        listed = [{"name": name, "value": value} for name, value in parameters.items()]
        spec = {"workflowTemplateRef": {"name": template}, "arguments": {"parameters": listed}}
        name = f"{template}-{time.time_ns() // 1000000}"
        item = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": spec}
        self.kubectl.apply(json.dumps({**item, "metadata": {"name": name, "namespace": SPACE}}))
        return name

    def wait(self, name: str, minutes: float = MINUTES, seen: Callable[[Status], None] = _ignored) -> Status:
        """Its status when it has ended; `seen` gets each one on the way."""

        def ended() -> Any:
            status = self.kubectl.get("workflow", name, "-n", SPACE).get("status") or {}
            seen(status)
            return status if status.get("phase") in OVER else None

        status: Status = until(f"{name} to end", ended, minutes * 60)
        return status

    def log(self, name: str, container: str = "main") -> str:
        """What all of its steps printed."""
        mine = f"workflows.argoproj.io/workflow={name}"
        return self.kubectl.run("logs", "-n", SPACE, "-l", mine, "-c", container, "--tail=-1")


def steps(status: Status) -> list[Mapping[str, Any]]:
    """Its nodes, by when they began."""
    return sorted((status.get("nodes") or {}).values(), key=lambda node: str(node.get("startedAt")))


def output(status: Status, name: str) -> str:
    """A parameter that some step left. Raises KeyError."""
    for node in steps(status):
        for entry in (node.get("outputs") or {}).get("parameters") or []:
            if entry["name"] == name:
                return str(entry["value"])
    raise KeyError(f"no step left {name}")
