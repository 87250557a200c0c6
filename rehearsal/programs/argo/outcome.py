"""How a node ended, and how that is written in a workflow's status. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rehearsal.programs.argo.variables import NAME, Object, filled, moment
from rehearsal.programs.kube import now

BAD = ("Failed", "Error")
OVER = ("Succeeded", "Skipped", *BAD)
ENDED = ("Succeeded", *BAD)
"""Phases of a workflow that ended."""


@dataclass(frozen=True)
class Ended:
    """How a node stands, or ended."""

    phase: str
    message: str = ""
    left: Mapping[str, str] = field(default_factory=dict)
    """What it leaves: `result`, `exitCode`, and `parameters.NAME`."""

    @property
    def bad(self) -> bool:
        """Whether what comes after it may not run."""
        return self.phase in BAD


def of_group(template: Object, scope: Mapping[str, str]) -> Ended:
    """A group whose nodes all ended well, with what it hands on of what they left."""
    left = {}
    for entry in (template.get("outputs") or {}).get("parameters") or []:
        source = entry["valueFrom"]
        value = filled(source.get("parameter", ""), scope)
        if not value or NAME.search(value):
            # What was skipped left nothing.
            if "default" not in source:
                return Ended("Error", f"unable to resolve outputs.parameters.{entry['name']}")
            value = source["default"]
        left[f"parameters.{entry['name']}"] = value
    return Ended("Succeeded", left=left)


def written(ended: Ended, *, kind: str, begun: str) -> Object:
    """A node's fields in a workflow's status."""
    found = ended.left.items()
    listed = [{"name": k.partition(".")[2], "value": v} for k, v in found if k.startswith("parameters.")]
    outputs: Object = {"parameters": listed} if listed else {}
    outputs |= {key: value for key, value in found if key in ("result", "exitCode") and value}
    made: Object = {"type": kind, "phase": ended.phase, "message": ended.message, "startedAt": begun}
    if ended.phase in OVER:
        made["finishedAt"] = now()
    return {**made, "outputs": outputs} if outputs else made


def read(node: Mapping[str, Any]) -> Ended:
    """The other way."""
    outputs = node.get("outputs") or {}
    left = {f"parameters.{entry['name']}": entry["value"] for entry in outputs.get("parameters") or []}
    left |= {key: outputs[key] for key in ("result", "exitCode") if key in outputs}
    return Ended(node["phase"], node.get("message", ""), left)


def seconds(node: Mapping[str, Any]) -> float:
    """How long a node took that ended."""
    return (moment(node["finishedAt"]) - moment(node["startedAt"])).total_seconds()
