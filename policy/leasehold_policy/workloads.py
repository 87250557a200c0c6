"""Pods and images wherever they are: in workloads, in workflows, in the values of charts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .model import Resource
from .values import UNKNOWN, Unknown, absent, at, items, mapping, walk

LASTING = ("Deployment", "StatefulSet", "DaemonSet")
"""Pods that serve until they are told to stop."""
PATHS: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys((*LASTING, "ReplicaSet"), ("spec", "template", "spec")),
}
WORKFLOWS = ("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate")
SHARED = ("securityContext", "automountServiceAccountToken", "hostNetwork", "hostPID", "hostIPC")
"""What a workflow's templates have from the workflow, where they do not say it themselves."""


@dataclass(frozen=True)
class Pod:
    """The specification of a pod."""

    path: str
    spec: Mapping[str, Any]

    @property
    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Its containers, and those that run before them, each with its place."""
        for key in ("containers", "initContainers"):
            for number, container in enumerate(items(self.spec.get(key))):
                if isinstance(container, Mapping):
                    yield f"{self.path}.{key}[{number}]", container

    def context(self, container: Mapping[str, Any], key: str) -> Any:
        """A setting of a container's security context, or of its pod's."""
        own = at(container, "securityContext", key)
        return at(self.spec, "securityContext", key) if own is None else own


def pods(resource: Resource) -> Iterator[Pod]:
    """The pods that a resource makes."""
    if not resource.type.startswith("kubernetes:"):
        return
    kind = resource.type.rpartition(":")[2]
    if kind in PATHS:
        spec = resource.at(*PATHS[kind])
        if isinstance(spec, Mapping):
            yield Pod(".".join(PATHS[kind]), spec)
    elif kind in WORKFLOWS:
        yield from _steps(resource.at("spec"), "spec")
    elif kind == "CronWorkflow":
        yield from _steps(resource.at("spec", "workflowSpec"), "spec.workflowSpec")


def _steps(spec: Any, path: str) -> Iterator[Pod]:
    """One pod for each template of a workflow that runs a container."""
    for number, template in enumerate(items(at(spec, "templates"))):
        main = at(template, "container") or at(template, "script")
        if isinstance(main, Mapping):
            shared = {key: spec[key] for key in SHARED if key in spec}
            own = {**shared, **mapping(template)}
            volumes = [*items(at(spec, "volumes")), *items(own.get("volumes"))]
            yield Pod(f"{path}.templates[{number}]", {**own, "containers": [main], "volumes": volumes})


def containers(resource: Resource) -> Iterator[tuple[Pod, str, Mapping[str, Any]]]:
    """The containers of all pods that a resource makes, each with its pod and its place."""
    for pod in pods(resource):
        for place, container in pod.containers:
            yield pod, place, container


def variables(resource: Resource) -> Iterator[tuple[str, str, str]]:
    """Environment variables whose values are written into pods: the container's place, name and value."""
    for _, place, container in containers(resource):
        for variable in items(at(container, "env")):
            name, value = at(variable, "name"), at(variable, "value")
            if isinstance(name, str) and isinstance(value, str) and value:
                yield place, name, value


def images(resource: Resource) -> Iterator[tuple[str, str]]:
    """Every image that a Kubernetes object or a chart's values name: its place and its whole name."""
    if not resource.type.startswith("kubernetes:") or resource.named("CustomResourceDefinition"):
        return
    for node in walk(resource.inputs):
        if node.key in ("image", "imageName") and isinstance(node.value, str) and node.value:
            yield node.place, node.value
        if isinstance(node.value, Mapping) and {"repository", "tag"} <= {*node.value}:
            yield from _joined(node.place, node.value)


def _joined(place: str, image: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """An image as charts have it."""
    registry, repository, tag = (at(image, key) for key in ("registry", "repository", "tag"))
    digest = at(image, "digest") or at(image, "sha")
    if any(isinstance(part, Unknown) for part in (registry, repository, tag, digest)):
        return
    if isinstance(repository, str):
        name = repository if absent(registry) else f"{registry}/{repository}"
        yield place, name + (f":{tag}" if not absent(tag) else "") + (f"@{digest}" if not absent(digest) else "")


def settles(context: Any, *accepted: Any) -> bool:
    """Whether a setting is one of the accepted values, or may turn out to be."""
    return context is UNKNOWN or context in accepted
