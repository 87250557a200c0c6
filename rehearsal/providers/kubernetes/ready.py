"""When an object is usable, kind by kind as the published provider waits for it, and why it is not."""

from collections.abc import Callable
from typing import Any

from rehearsal.protocol import ProviderError
from rehearsal.providers.kubernetes.api import Api, ApiError, Object, UnreachableError
from rehearsal.providers.kubernetes.objects import lookup

LOG_LINES = 3
TEXT_LIMIT = 1000


class FailedError(ProviderError):
    """It will never become usable as it is."""


Probe = Callable[[Api, Object], str | None]
"""None: usable. Else what is still missing. FailedError: waiting is of no use."""


def condition(item: Object, type_: str) -> Object:
    """One of the conditions in the status; empty when it is not there."""
    found = lookup(item, "status.conditions") or []
    return next((entry for entry in found if entry.get("type") == type_), {})


def _seen(item: Object) -> bool:
    return bool((lookup(item, "status.observedGeneration") or 0) >= item["metadata"].get("generation", 0))


def _counts(item: Object, wanted: int, *names: str) -> str | None:
    if not _seen(item):
        return "its controller has not looked at it yet"
    status = item.get("status") or {}
    short = [f"{name} {status.get(name, 0)} of {wanted}" for name in names if status.get(name, 0) != wanted]
    return ", ".join(short) or None


def _deployment(_api: Api, item: Object) -> str | None:
    wanted = item["spec"].get("replicas", 1)
    short = _counts(item, wanted, *(("replicas", "updatedReplicas", "availableReplicas") if wanted else ("replicas",)))
    late = condition(item, "Progressing")
    if short and late.get("reason") == "ProgressDeadlineExceeded":
        return f"{short} ({late.get('message')})"
    return short if wanted else None


def _stateful_set(_api: Api, item: Object) -> str | None:
    wanted, status = item["spec"].get("replicas", 1), item.get("status") or {}
    if short := _counts(item, wanted, *(("readyReplicas",) if wanted else ())):
        return short
    rolling = lookup(item, "spec.updateStrategy.type") != "OnDelete"
    if rolling and status.get("currentRevision") != status.get("updateRevision"):
        return f"updatedReplicas {status.get('updatedReplicas', 0)} of {wanted}"
    return None


def _daemon_set(_api: Api, item: Object) -> str | None:
    wanted = lookup(item, "status.desiredNumberScheduled") or 0
    return _counts(item, wanted, *(("updatedNumberScheduled", "numberAvailable") if wanted else ()))


def _job(_api: Api, item: Object) -> str | None:
    failed = condition(item, "Failed")
    if failed.get("status") == "True":
        raise FailedError(f"the Job has failed: {failed.get('reason')}: {failed.get('message')}")
    status = item.get("status") or {}
    text = f"active {status.get('active', 0)}, failed {status.get('failed', 0)}"
    return None if condition(item, "Complete").get("status") == "True" else text


def _pod(_api: Api, item: Object) -> str | None:
    phase = lookup(item, "status.phase")
    if phase == "Failed":
        raise FailedError(f"the Pod has failed: {lookup(item, 'status.message') or _containers(item) or phase}")
    ready = condition(item, "Ready").get("status") == "True" or phase == "Succeeded"
    return None if ready else f"phase {phase}"


def _service(api: Api, item: Object) -> str | None:
    spec, metadata = item["spec"], item["metadata"]
    if spec.get("type") == "ExternalName":
        return None
    if spec.get("type") == "LoadBalancer" and not lookup(item, "status.loadBalancer.ingress"):
        return "no load balancer has given it an address"
    if spec.get("clusterIP") == "None" or not spec.get("selector"):
        return None
    query = {"labelSelector": f"kubernetes.io/service-name={metadata['name']}"}
    slices = api.list("discovery.k8s.io/v1", "EndpointSlice", metadata["namespace"], query)
    ready = any(lookup(end, "conditions.ready") is not False for part in slices for end in part.get("endpoints") or [])
    return None if ready else "no ready Pod is behind it"


def _ingress(_api: Api, item: Object) -> str | None:
    return None if lookup(item, "status.loadBalancer.ingress") else "no controller has given it an address"


def _claim(api: Api, item: Object) -> str | None:
    phase, name = lookup(item, "status.phase"), lookup(item, "spec.storageClassName")
    if phase == "Bound":
        return None
    mode = None
    if name:
        try:
            mode = api.get("storage.k8s.io/v1", "StorageClass", None, name).get("volumeBindingMode")
        except ApiError:
            return f"phase {phase}, and there is no StorageClass {name}"
    return None if mode == "WaitForFirstConsumer" and phase == "Pending" else f"phase {phase}"


def _secret(_api: Api, item: Object) -> str | None:
    waits = item.get("type") == "kubernetes.io/service-account-token" and not item.get("data")
    return "no controller has filled in the token" if waits else None


def _phase(*wanted: str) -> Probe:
    def probe(_api: Api, item: Object) -> str | None:
        phase = lookup(item, "status.phase")
        return None if phase in wanted else f"phase {phase}"

    return probe


def _definition(_api: Api, item: Object) -> str | None:
    return None if condition(item, "Established").get("status") == "True" else "not established"


def _quota(_api: Api, item: Object) -> str | None:
    same = lookup(item, "spec.hard") == lookup(item, "status.hard")
    return None if same else "its controller has not looked at it yet"


PROBES: dict[tuple[str, str], Probe] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _phase("Available", "Bound"),
    ("", "Namespace"): _phase("Active"),
    ("", "Secret"): _secret,
    ("", "ResourceQuota"): _quota,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}


def holds(item: Object, expression: str) -> bool:
    """Whether one entry of a waitFor annotation is true."""
    kind, _, rest = expression.partition("=")
    if kind == "condition":
        type_, _, status = rest.partition("=")
        return str(condition(item, type_).get("status")).lower() == (status or "true").lower()
    path, given, wanted = rest.partition("=")
    value = lookup(item, path.strip("{}"))
    if not given:
        return value is not None
    return str(value).lower() == wanted.lower() if isinstance(value, bool) else str(value) == wanted


def explain(api: Api, item: Object) -> str:
    """The Pod that is to blame, with its last event and log lines; else why there is none, or the last event."""
    try:
        pods = _pods(api, item)
        blamed = next((pod for pod in pods if _containers(pod)), next(iter(pods), None))
        if blamed is None:
            # A quota's or an admission's refusal is an event of the ReplicaSet, which only this repeats.
            refused = condition(item, "ReplicaFailure").get("message")
            return (f"; no Pod was made: {refused}" if refused else _event(api, item))[:TEXT_LIMIT]
        name = blamed["metadata"]["name"]
        words = [f"; Pod {name}", _containers(blamed), _event(api, blamed).lstrip("; "), _log(api, blamed)]
        return ": ".join(word for word in words if word)[:TEXT_LIMIT]
    except (ApiError, UnreachableError):
        return ""


def _pods(api: Api, item: Object) -> list[Object]:
    labels = lookup(item, "spec.selector.matchLabels")
    if item["kind"] == "Pod":
        return [item]
    if not isinstance(labels, dict):
        return []
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = api.list("v1", "Pod", item["metadata"]["namespace"], {"labelSelector": selector})
    return [pod for pod in pods if condition(pod, "Ready").get("status") != "True"]


def _containers(pod: Object) -> str:
    """What a container that does not run waits for or ended with; the scheduler's words for an unscheduled Pod."""
    for entry in (lookup(pod, "status.initContainerStatuses") or []) + (lookup(pod, "status.containerStatuses") or []):
        state = entry.get("state") or {}
        if waiting := state.get("waiting"):
            return f"container {entry['name']}: {waiting.get('reason')} {waiting.get('message', '')}".rstrip()
        ended = state.get("terminated") or {}
        if ended.get("exitCode"):
            return f"container {entry['name']}: {ended.get('reason')}, exit status {ended['exitCode']}"
    unscheduled = condition(pod, "PodScheduled")
    return f"not scheduled: {unscheduled.get('message')}" if unscheduled.get("status") == "False" else ""


def _log(api: Api, pod: Object) -> str:
    metadata = pod["metadata"]
    path = api.kind("v1", "Pod").url(metadata["namespace"], metadata["name"])
    for previous in ("false", "true"):
        for container in pod["spec"]["containers"]:
            query: dict[str, Any] = {"container": container["name"], "tailLines": LOG_LINES, "previous": previous}
            try:
                text = api.text("GET", f"{path}/log", query=query).strip()
            except ApiError:
                continue
            if text:
                return f"its log ends with: {text}"
    return ""


def _event(api: Api, item: Object) -> str:
    metadata = item["metadata"]
    namespace = metadata.get("namespace") or "default"
    events = api.list("v1", "Event", namespace, {"fieldSelector": f"involvedObject.uid={metadata['uid']}"})
    events.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return f"; last event: {events[-1].get('reason')}: {events[-1].get('message')}" if events else ""
