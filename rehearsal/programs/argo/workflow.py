"""What a workflow means, for the controller's stand-in: its steps in order, and texts with their values. Pure.

Honoured: templates of steps, dag, container and script; parameters; results and outputs of steps; retryStrategy.limit.
Every other field of a template is refused by name, so that nothing is left out in silence.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
TEMPLATE = {
    *(
        "name",
        "inputs",
        "outputs",
        "metadata",
        "container",
        "script",
        "steps",
        "dag",
        "retryStrategy",
        "serviceAccountName",
    ),
    *(
        "automountServiceAccountToken",
        "securityContext",
        "volumes",
        "activeDeadlineSeconds",
        "nodeSelector",
        "tolerations",
    ),
}
STEP = {"name", "template", "arguments", "dependencies", "depends"}
OUTPUTS = {"parameters", "artifacts"}


class UnsupportedError(Exception):
    """A workflow asks for what the stand-in cannot do."""


@dataclass
class Node:
    """A template with its inputs: a pod, or a group of others."""

    name: str
    template: Object
    inputs: Mapping[str, str]
    groups: list[list["Node"]] = field(default_factory=list)
    """Nodes that run beside each other, one group after another; none for a pod."""

    def pods(self) -> Iterator["Node"]:
        """Every pod below, in order."""
        if not self.groups:
            yield self
        for group in self.groups:
            for node in group:
                yield from node.pods()


def merged(below: Any, above: Any) -> Any:
    """Two trees; what the second says counts."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}
    return below if above is None else above


def filled(value: Any, known: Mapping[str, str]) -> Any:
    """A tree with `{{name}}` replaced by what is known; others stay."""
    if isinstance(value, str):
        return re.sub(r"\{\{\s*([^}]+?)\s*\}\}", lambda found: known.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {key: filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, known) for item in value]
    return value


def missing(value: Any) -> list[str]:
    """Names in a tree that nothing was put in for."""
    return sorted(set(re.findall(r"\{\{\s*((?:inputs|workflow|steps|tasks)\.[^}]+?)\s*\}\}", str(value))))


def parameters(arguments: Any) -> dict[str, str]:
    """Name to value."""
    listed = (arguments or {}).get("parameters") or []
    return {entry["name"]: str(entry["value"]) for entry in listed if entry.get("value") is not None}


def checked(template: Object) -> Object:
    """A template without anything that would be left out."""
    strange = {*(set(template) - TEMPLATE), *(set(template.get("outputs") or {}) - OUTPUTS)}
    strange |= {"inputs.artifacts"} if (template.get("inputs") or {}).get("artifacts") else set()
    if strange:
        raise UnsupportedError(f"template {template.get('name')}: {', '.join(sorted(strange))}")
    return template


def groups(template: Object) -> list[list[Object]]:
    """The steps of a template in the order in which they may run. A dag's run in the order of what they depend on."""
    if "steps" in template:
        listed = [list(group) for group in template["steps"]]
    else:
        tasks = {task["name"]: task for task in template["dag"]["tasks"]}
        listed, done = [], set[str]()
        while len(done) < len(tasks):
            ready = [task for name, task in tasks.items() if name not in done and needs(task) <= done]
            if not ready:
                raise UnsupportedError(f"template {template['name']}: a circle in its dag")
            listed.append(ready)
            done |= {task["name"] for task in ready}
    for step in (step for group in listed for step in group):
        if set(step) - STEP:
            raise UnsupportedError(f"step {step['name']}: {', '.join(sorted(set(step) - STEP))}")
    return listed


def needs(task: Object) -> set[str]:
    """The tasks that a task comes after."""
    words = re.split(r"\s*&&\s*", task["depends"]) if task.get("depends") else []
    if any(not re.fullmatch(r"[A-Za-z0-9_-]+(\.Succeeded)?", word) for word in words):
        raise UnsupportedError(f"task {task['name']}: depends {task['depends']}")
    return {*(task.get("dependencies") or []), *(word.removesuffix(".Succeeded") for word in words)}


def tree(spec: Object, name: str, template: str, inputs: Mapping[str, str]) -> Node:
    """A node with all that is below it."""
    templates = {entry["name"]: entry for entry in spec["templates"]}
    if template not in templates:
        raise UnsupportedError(f"template {template}: is not in the workflow")
    found = checked(templates[template])
    defaults = parameters(found.get("inputs"))
    node = Node(name, found, {**defaults, **inputs})
    if "steps" in found or "dag" in found:
        node.groups = [
            [
                tree(spec, f"{name}.{step['name']}", step["template"], parameters(step.get("arguments")))
                for step in group
            ]
            for group in groups(found)
        ]
    return node
