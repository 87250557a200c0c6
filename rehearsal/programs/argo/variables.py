"""The names that texts of a workflow may hold in double braces, and what they stand for. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
LETTERS = "aAbBcCdDeFgGHIjklmMnpQrRStTuUvVwWxXyYzZ"
"""Those after `workflow.creationTimestamp.`: a part of the time, as strftime writes it."""
NAME = re.compile(r"\{\{\s*([^}]+?)\s*\}\}")
PART = r"(\d+(?:\.\d+)?)(h|ms|m|s)"
PARTS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
SCHEDULED = "workflows.argoproj.io/scheduled-time"


def filled(value: Any, known: Mapping[str, str]) -> Any:
    """A tree with `{{name}}` replaced by what is known; others stay."""
    if isinstance(value, str):
        return NAME.sub(lambda found: known.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {key: filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, known) for item in value]
    return value


def missing(value: Any) -> list[str]:
    """Names in a tree that nothing was put in for."""
    first = ("inputs", "workflow", "steps", "tasks", "lastRetry", "retries", "item")
    # What begins with = would be computed.
    return sorted({name for name in NAME.findall(str(value)) if name.partition(".")[0] in first or name[0] == "="})


def parameters(arguments: Any) -> dict[str, str]:
    """Name to value."""
    listed = (arguments or {}).get("parameters") or []
    values = {entry["name"]: entry.get("value", entry.get("default")) for entry in listed}
    return {name: text(value) for name, value in values.items() if value is not None}


def text(value: Any) -> str:
    """A parameter's value: what is no text becomes JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def seconds(duration: Any) -> float:
    """A duration as Go writes it, such as 1m30s; a number alone is of seconds."""
    written = str(duration)
    if re.fullmatch(r"\d+", written):
        return float(written)
    if not re.fullmatch(rf"(?:{PART})+", written):
        raise ValueError(f"{written!r} is no duration; write it as 90s, 5m or 1h30m")
    return sum(float(number) * PARTS[unit] for number, unit in re.findall(PART, written))


def moment(written: str) -> datetime:
    """A time as Kubernetes writes it."""
    return datetime.strptime(written, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def of_workflow(item: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, str]:
    """What every text of a workflow may name."""
    metadata = item["metadata"]
    given = parameters(spec.get("arguments"))
    known = {
        "workflow.name": metadata["name"],
        "workflow.namespace": metadata["namespace"],
        "workflow.uid": metadata["uid"],
        "workflow.serviceAccountName": spec.get("serviceAccountName") or "",
        "workflow.mainEntrypoint": spec.get("entrypoint") or "",
        "workflow.parameters": json.dumps([{"name": name, "value": value} for name, value in given.items()]),
        **{f"workflow.parameters.{name}": value for name, value in given.items()},
    }
    if "priority" in spec:
        known["workflow.priority"] = str(spec["priority"])
    written = metadata.get("creationTimestamp")
    if written:
        made = moment(written)
        known |= {f"workflow.creationTimestamp.{letter}": made.strftime(f"%{letter}") for letter in LETTERS}
        known["workflow.creationTimestamp"] = known["workflow.creationTimestamp.RFC3339"] = written
        known["workflow.creationTimestamp.s"] = str(int(made.timestamp()))
    more = spec.get("workflowMetadata") or {}
    for kind in ("labels", "annotations"):
        entries = {**(metadata.get(kind) or {}), **(more.get(kind) or {})}
        known |= {f"workflow.{kind}.{name}": value for name, value in entries.items()}
        known[f"workflow.{kind}"] = json.dumps(entries)
    scheduled = (metadata.get("annotations") or {}).get(SCHEDULED)
    return {**known, "workflow.scheduledTime": scheduled} if scheduled else known


def failures(nodes: Mapping[str, Any], pods: Mapping[str, str]) -> str:
    """`workflow.failures`: a JSON text whose content is the JSON list of the nodes that did not succeed.

    So is it in Argo Workflows: a program that gets it reads JSON twice. Where nothing failed, the list is null.
    """
    listed = [
        {
            "displayName": node["displayName"],
            "message": node.get("message", ""),
            "templateName": node.get("templateName", ""),
            "phase": node["phase"],
            "podName": pods.get(key, ""),
            "finishedAt": node.get("finishedAt"),
        }
        for key, node in nodes.items()
        if node["phase"] in ("Failed", "Error")
    ]
    return json.dumps(json.dumps(listed or None))
