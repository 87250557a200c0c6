"""What a pod may do to its node and to its neighbours, and what it may take."""

from collections.abc import Iterator, Sequence

from .model import Finding, Resource, each, whole
from .values import UNKNOWN, absent, at, given, items, mapping, names, number, unknown_within
from .workloads import LASTING, containers, images, pods, settles

CONTEXT = "use the pod's and the container's security context of mlops.pods"
HOST = ("hostNetwork", "hostPID", "hostIPC")
AMOUNTS = ("cpu", "memory")


@each(CONTEXT)
def privileged(resource: Resource) -> Iterator[str]:
    """No container is privileged."""
    for _, place, container in containers(resource):
        if at(container, "securityContext", "privileged") is True:
            yield f"{place} is privileged"


@each("take it out")
def host_namespaces(resource: Resource) -> Iterator[str]:
    """No pod shares the network, the processes or the memory of its node."""
    for pod in pods(resource):
        yield from (f"{pod.path}.{key} is true" for key in HOST if at(pod.spec, key) is True)


@each("use a claim, a ConfigMap, or an emptyDir")
def host_path(resource: Resource) -> Iterator[str]:
    """No pod mounts a folder of its node."""
    for pod in pods(resource):
        for volume in items(pod.spec.get("volumes")):
            if given(at(volume, "hostPath")):
                yield f"{pod.path}.volumes has a hostPath"


@each(CONTEXT)
def runs_as_root(resource: Resource) -> Iterator[str]:
    """No container runs as root, and the kubelet refuses to start one that would."""
    for pod, place, container in containers(resource):
        user = number(pod.context(container, "runAsUser"))
        if user == 0 or not settles(pod.context(container, "runAsNonRoot"), True):
            yield f"{place} may run as root"


@each(CONTEXT)
def privilege_escalation(resource: Resource) -> Iterator[str]:
    """No process of a container gets more rights than it was started with."""
    for _, place, container in containers(resource):
        if not settles(at(container, "securityContext", "allowPrivilegeEscalation"), False):
            yield f"{place}: allowPrivilegeEscalation is not false"


@each(CONTEXT)
def capabilities(resource: Resource) -> Iterator[str]:
    """A container drops all capabilities, and adds none."""
    for _, place, container in containers(resource):
        dropped = at(container, "securityContext", "capabilities", "drop")
        if not {"ALL", UNKNOWN} & names(dropped):
            yield f"{place} keeps capabilities"
        if not settles(at(container, "securityContext", "capabilities", "add"), None, []):
            yield f"{place} adds capabilities"


@each(CONTEXT)
def read_only_root(resource: Resource) -> Iterator[str]:
    """A container writes into volumes only."""
    for _, place, container in containers(resource):
        if not settles(at(container, "securityContext", "readOnlyRootFilesystem"), True):
            yield f"{place}: readOnlyRootFilesystem is not true"


@each(CONTEXT)
def seccomp(resource: Resource) -> Iterator[str]:
    """A container's system calls are filtered: by the runtime's profile, or by one of ours."""
    for pod, place, container in containers(resource):
        profile = pod.context(container, "seccompProfile")
        if profile is not UNKNOWN and not settles(at(profile, "type"), "RuntimeDefault", "Localhost"):
            yield f"{place} has no seccomp profile"


@each("set resources.limits.memory")
def memory_is_limited(resource: Resource) -> Iterator[str]:
    """A container that takes too much memory ends alone."""
    for _, place, container in containers(resource):
        if absent(at(container, "resources", "limits", "memory")):
            yield f"{place} has no limit of memory"


@each("set resources.requests.cpu and .memory")
def amounts_are_requested(resource: Resource) -> Iterator[str]:
    """The scheduler knows what a container needs."""
    for _, place, container in containers(resource):
        for amount in AMOUNTS:
            if absent(at(container, "resources", "requests", amount)):
                yield f"{place} requests no {amount}"


@each("add a readinessProbe")
def readiness_is_probed(resource: Resource) -> Iterator[str]:
    """Requests go to pods that can answer."""
    for _, place, container in containers(resource) if resource.named(*LASTING) else ():
        if ".containers[" in place and absent(at(container, "readinessProbe")):
            yield f"{place} has no readinessProbe"


@each("add a livenessProbe")
def liveness_is_probed(resource: Resource) -> Iterator[str]:
    """A pod that hangs is started again."""
    for _, place, container in containers(resource) if resource.named(*LASTING) else ():
        if ".containers[" in place and absent(at(container, "livenessProbe")):
            yield f"{place} has no livenessProbe"


@each("set activeDeadlineSeconds and backoffLimit")
def job_is_bounded(resource: Resource) -> Iterator[str]:
    """A Job ends, and gives up after some attempts."""
    paths = {"Job": ("spec",), "CronJob": ("spec", "jobTemplate", "spec")}
    for kind, path in paths.items():
        if resource.named(kind):
            for key in ("activeDeadlineSeconds", "backoffLimit"):
                if resource.at(*path, key) is None:
                    yield f"{'.'.join(path)}.{key} is missing"


@whole("make a PodDisruptionBudget with its labels")
def replicas_have_a_budget(resources: Sequence[Resource]) -> Iterator[Finding]:
    """What has replicas keeps one while nodes are drained."""
    budgets = [r for r in resources if r.named("PodDisruptionBudget")]
    for workload in resources if not any(map(_unclear, budgets)) else ():
        replicas = number(workload.at("spec", "replicas")) or 0
        many = workload.named("Deployment", "StatefulSet") and replicas > 1 and not _unclear(workload)
        if many and not any(_covers(budget, workload) for budget in budgets):
            yield Finding(workload, f"{replicas:.0f} replicas, and no budget")


def _covers(budget: Resource, workload: Resource) -> bool:
    wanted = mapping(budget.at("spec", "selector", "matchLabels"))
    labels = mapping(workload.at("spec", "template", "metadata", "labels"))
    here = budget.namespace == workload.namespace
    return here and bool(wanted) and all(labels.get(key) == value for key, value in wanted.items())


def _unclear(resource: Resource) -> bool:
    """Whether it is not known yet where it is, or which pods it is about."""
    chosen = ("selector", "matchLabels"), ("template", "metadata", "labels")
    about = [resource.at("spec", *path) for path in chosen]
    return unknown_within([resource.namespace, *about])


@each("name the version")
def image_has_a_version(resource: Resource) -> Iterator[str]:
    """An image has a tag that is a version: not `latest`, and not none."""
    for place, image in images(resource):
        name, _, digest = image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        if tag == "latest" or not (tag or digest):
            yield f"{place} is {image}"


@each("give the digest in leasehold:images.digests, or in versions.py")
def image_has_a_digest(resource: Resource) -> Iterator[str]:
    """An image is the one that was looked at: its digest is pinned."""
    for place, image in images(resource):
        if "@sha256:" not in image:
            yield f"{place} is {image}"
