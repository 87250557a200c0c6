"""What a workflow means, for the controller's stand-in: its steps in order, each with its template. Pure.

Honoured: templates of steps, dag, container and script, and those of another WorkflowTemplate; parameters; results and
outputs of steps; `when` of steps; retryStrategy; init containers. Every other field is refused by name, so that
nothing is left out in silence. What is in a container goes into its pod as it is, where Kubernetes judges it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rehearsal.programs.argo import retries
from rehearsal.programs.argo.variables import Object, parameters

SPEC = {
    *("entrypoint", "arguments", "templates", "templateDefaults", "workflowTemplateRef", "workflowMetadata", "onExit"),
    *("volumes", "serviceAccountName", "automountServiceAccountToken", "executor", "securityContext", "priority"),
    *("activeDeadlineSeconds", "ttlStrategy", "podGC", "synchronization", "imagePullSecrets", "shutdown"),
    *("nodeSelector", "tolerations", "affinity"),
}
TEMPLATE = {
    *("name", "inputs", "outputs", "metadata", "container", "script", "steps", "dag", "initContainers"),
    *("retryStrategy", "serviceAccountName", "automountServiceAccountToken", "executor", "securityContext", "volumes"),
    *("activeDeadlineSeconds", "nodeSelector", "tolerations", "affinity"),
}
STEP = {"name", "template", "templateRef", "arguments", "when"}
TASK = {"name", "template", "templateRef", "arguments", "dependencies", "depends"}
OUTPUTS = {"parameters", "artifacts"}
GIVEN = {"name", "value", "default", "description"}
"""Of a parameter that goes in."""
LEFT = {"name", "valueFrom", "description"}
"""Of a parameter that comes out."""
ARTIFACT = {"name", "path", "archive", "s3"}
INIT = {
    *("name", "image", "imagePullPolicy", "command", "args", "env", "envFrom", "volumeMounts", "resources"),
    *("securityContext", "workingDir", "mirrorVolumeMounts", "terminationMessagePolicy"),
}
PARAMETER = {"path", "parameter", "default"}
"""Where the value of an output comes from."""
REFERENCE = {"name", "template"}
INNER = {
    "workflowTemplateRef": {"name"},
    "workflowMetadata": {"labels", "annotations"},
    "ttlStrategy": {"secondsAfterCompletion", "secondsAfterSuccess", "secondsAfterFailure"},
    "podGC": {"strategy"},
    "synchronization": {"mutexes"},
    "executor": {"serviceAccountName"},
}
"""Fields of a spec's fields."""
DEEPEST = 20
"""Templates in each other; Argo Workflows allows a hundred."""
Library = Callable[[str], Object | None]
"""The spec of a WorkflowTemplate by its name; None: there is none."""


class UnsupportedError(Exception):
    """A workflow asks for what the stand-in cannot do, or for what is not there."""


@dataclass
class Node:
    """A template with its inputs: a pod, or a group of others."""

    name: str
    """Of the step; of the workflow, where nothing is above."""
    template: Object
    inputs: Mapping[str, str]
    when: str = ""
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


def joined(spec: Object, template: Object | None, defaults: Object) -> Object:
    """The spec of a workflow over that of its template, over the defaults. Arguments are joined by their names."""
    if template is not None:
        listed = {**parameters(template.get("arguments")), **parameters(spec.get("arguments"))}
        declared = [entry["name"] for entry in (template.get("arguments") or {}).get("parameters") or []]
        names = [*declared, *(name for name in listed if name not in declared)]
        spec = merged(template, {key: value for key, value in spec.items() if key != "arguments"})
        entries = [{"name": name, **({"value": listed[name]} if name in listed else {})} for name in names]
        spec["arguments"] = {"parameters": entries}
    whole: Object = merged(defaults, spec)
    return whole


def unknown(spec: Mapping[str, Any]) -> list[str]:
    """Fields of a spec that the stand-in would leave out."""
    inner = [f"{key}.{name}" for key, known in INNER.items() for name in set(spec.get(key) or {}) - known]
    locks = (spec.get("synchronization") or {}).get("mutexes") or []
    inner += [f"synchronization.mutexes.{key}" for lock in locks for key in set(lock) - {"name"}]
    return sorted({*(set(spec) - SPEC), *inner, *_given("arguments", spec.get("arguments"))})


def _given(place: str, values: Object | None) -> set[str]:
    """Of what goes in, that which would be left out."""
    found = {f"{place}.{key}" for key, value in (values or {}).items() if key != "parameters" and value}
    return found | _of(f"{place}.parameters", (values or {}).get("parameters"), GIVEN)


def _of(place: str, items: Iterable[Object] | None, known: set[str]) -> set[str]:
    return {f"{place}.{key}" for item in items or [] for key in set(item) - known}


def _strange(template: Object) -> set[str]:
    """Of a template, that which would be left out."""
    outputs = template.get("outputs") or {}
    parameters, artifacts = outputs.get("parameters") or [], outputs.get("artifacts") or []
    stores = [entry["s3"] for entry in artifacts if "s3" in entry]
    return {
        *(set(template) - TEMPLATE),
        *_given("inputs", template.get("inputs")),
        *_of("outputs", [outputs], OUTPUTS),
        *_of("outputs.parameters", parameters, LEFT),
        *_of("outputs.parameters.valueFrom", [entry.get("valueFrom") or {} for entry in parameters], PARAMETER),
        *_of("outputs.artifacts", artifacts, ARTIFACT),
        *_of("outputs.artifacts.s3", stores, {"key"}),
        *_of("outputs.artifacts.archive", [entry.get("archive") or {} for entry in artifacts], {"none"}),
        *_of("metadata", [template.get("metadata") or {}], {"labels", "annotations"}),
        *_of("dag", [template.get("dag") or {}], {"tasks"}),
        *_of("executor", [template.get("executor") or {}], INNER["executor"]),
        *_of("initContainers", template.get("initContainers"), INIT),
        *retries.strange(template.get("retryStrategy") or {}),
    }


def checked(template: Object) -> Object:
    """A template without anything that would be left out."""
    strange = _strange(template)
    if strange:
        raise UnsupportedError(f"template {template.get('name')}: {', '.join(sorted(strange))}")
    if not {"container", "script", "steps", "dag"} & set(template):
        raise UnsupportedError(f"template {template.get('name')}: neither container nor script, steps or dag")
    # The real controller asks the registry for it.
    if not {"steps", "dag"} & set(template) and not (template.get("container") or template.get("script") or {}).get(
        "command"
    ):
        raise UnsupportedError(f"template {template.get('name')}: a container without a command")
    return template


def groups(template: Object) -> list[list[Object]]:
    """The steps of a template in the order in which they may run. A dag's run in the order of what they depend on."""
    allowed = STEP if "steps" in template else TASK
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
        strange = {*(set(step) - allowed), *(set(step.get("templateRef") or {}) - REFERENCE)}
        strange |= _given("arguments", step.get("arguments"))
        if strange:
            raise UnsupportedError(f"step {step['name']}: {', '.join(sorted(strange))}")
    return listed


def needs(task: Object) -> set[str]:
    """The tasks that a task comes after."""
    words = re.split(r"\s*&&\s*", task["depends"]) if task.get("depends") else []
    if any(not re.fullmatch(r"[A-Za-z0-9_-]+(\.Succeeded)?", word) for word in words):
        raise UnsupportedError(f"task {task['name']}: depends {task['depends']}")
    return {*(task.get("dependencies") or []), *(word.removesuffix(".Succeeded") for word in words)}


@dataclass(frozen=True)
class Forest:
    """The templates that a workflow may use: its own, and those of others by reference."""

    spec: Object
    """Of the workflow. Its defaults hold for the templates of others, too."""
    library: Library = lambda _: None

    def tree(self, name: str, template: str, inputs: Mapping[str, str]) -> Node:
        """A node with all that is below it."""
        return self._node(name, (self.spec, template), inputs, "", 0)

    def _node(self, name: str, place: tuple[Object, str], inputs: Mapping[str, str], when: str, depth: int) -> Node:
        spec, template = place
        templates = {entry["name"]: entry for entry in spec.get("templates") or []}
        if template not in templates:
            raise UnsupportedError(f"template {template}: is not in the workflow")
        if depth > DEEPEST:
            raise UnsupportedError(f"template {template}: more than {DEEPEST} templates in each other")
        found = checked(merged(self.spec.get("templateDefaults") or {}, templates[template]))
        node = Node(name, found, {**parameters(found.get("inputs")), **inputs}, when)
        if "steps" in found or "dag" in found:
            node.groups = [[self._step(step, spec, depth) for step in group] for group in groups(found)]
        return node

    def _step(self, step: Object, spec: Object, depth: int) -> Node:
        place = (spec, step.get("template", ""))
        reference = step.get("templateRef")
        if reference:
            other = self.library(reference["name"])
            if other is None:
                raise UnsupportedError(f"step {step['name']}: there is no WorkflowTemplate {reference['name']}")
            # What it names is looked for where it stands.
            place = (other, reference["template"])
        return self._node(step["name"], place, parameters(step.get("arguments")), step.get("when", ""), depth + 1)


def tree(spec: Object, name: str, template: str, inputs: Mapping[str, str], library: Library = lambda _: None) -> Node:
    """A node of a workflow with all that is below it."""
    return Forest(spec, library).tree(name, template, inputs)
