"""The pod of a step: what it is made of, and how it ended. Pure.

Beside the step there is a container of the executor's stand-in, `wait`. Where the real one is an ordinary container,
this one begins before the others and is told of the step's end by a signal of Kubernetes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal.programs.argo.executor import READY
from rehearsal.programs.argo.variables import Object, filled
from rehearsal.programs.argo.workflow import merged

WORKFLOW = "workflows.argoproj.io/workflow"
COMPLETED = "workflows.argoproj.io/completed"
ON_EXIT = "workflows.argoproj.io/on-exit"
NODE = "workflows.argoproj.io/node-name"
MAIN, WAIT = "main", "wait"
PLACED = ("nodeSelector", "tolerations", "affinity")
KILLED = (137, 143)
"""Exit codes of what was ended from outside."""
LONGEST = 253 - 10
"""Of a pod's name without the number at its end."""


class StepError(Exception):
    """A step cannot run as it is written; the real controller would say so, too."""


def number(name: str) -> int:
    """The number by which a node is known: FNV-1a of 32 bits."""
    found = 0x811C9DC5
    for byte in name.encode():
        found = (found ^ byte) * 0x01000193 & 0xFFFFFFFF
    return found


def identity(workflow: str, node: str) -> str:
    """The key of a node among a workflow's."""
    return workflow if node == workflow else f"{workflow}-{number(node)}"


def pod_name(workflow: str, node: str, template: str) -> str:
    """The name of a node's pod."""
    return workflow if node == workflow else f"{f'{workflow}-{template}'[: LONGEST - 1]}-{number(node)}"


@dataclass(frozen=True)
class Place:
    """Where a pod belongs, and what the controller brings to it."""

    owner: Object
    """The workflow."""
    spec: Object
    """Of the workflow, with its template's and the defaults."""
    settings: Object
    """The controller's."""
    image: str
    """Of the executor's stand-in."""
    node: str
    seconds: int | None = None
    """What is left of the workflow's time."""
    on_exit: bool = False


def rendered(place: Place, template: Object, scope: Mapping[str, str]) -> Object:
    """The pod of a template with its texts filled."""
    template, spec = filled(template, scope), place.spec
    owner = place.owner["metadata"]
    name = pod_name(owner["name"], place.node, template["name"])
    main = _main(place, template)
    inits = [_init(container, main) for container in template.get("initContainers") or []]
    # Those that a container names, and no others; a template's own before the workflow's.
    known = {**_named(filled(spec.get("volumes"), scope)), **_named(template.get("volumes"))}
    wanted = [mount["name"] for container in (*inits, main) for mount in container.get("volumeMounts") or []]
    for volume in wanted:
        if volume not in known:
            raise StepError(f'volume "{volume}" not found in workflow spec')
    labels = {WORKFLOW: owner["name"], COMPLETED: "false", **({ON_EXIT: "true"} if place.on_exit else {})}
    metadata = template.get("metadata") or {}
    deadlines = [int(s) for s in (place.seconds, template.get("activeDeadlineSeconds")) if s is not None]
    more = {key: template.get(key) or spec.get(key) for key in PLACED}
    more |= {"imagePullSecrets": spec.get("imagePullSecrets"), "activeDeadlineSeconds": min(deadlines, default=None)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": owner["namespace"],
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": {**(metadata.get("annotations") or {}), NODE: place.node},
            "ownerReferences": [
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Workflow",
                    "name": owner["name"],
                    "uid": owner["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            **_account(template, spec),
            "securityContext": template.get("securityContext") or spec.get("securityContext") or {},
            "initContainers": [_wait(place, template, name, main), *inits],
            "containers": [main],
            "volumes": [known[volume] for volume in dict.fromkeys(wanted)],
            **{key: value for key, value in more.items() if value},
        },
    }


def _named(items: Iterable[Object] | None) -> dict[str, Object]:
    return {item["name"]: item for item in items or []}


def _main(place: Place, template: Object) -> Object:
    main = {**(template.get("container") or template.get("script") or {})}
    if "script" in template:
        main["command"], main["args"] = [*main["command"], "-c", main.pop("source")], main.get("args") or []
    return {**merged(place.settings.get("mainContainer") or {}, main), "name": MAIN}


def _init(container: Object, main: Object) -> Object:
    """An init container; nothing of the controller's defaults is in it, as in Argo Workflows."""
    made = {key: value for key, value in container.items() if key != "mirrorVolumeMounts"}
    mirrored = main.get("volumeMounts") or [] if container.get("mirrorVolumeMounts") else []
    mounts = [*(container.get("volumeMounts") or []), *mirrored]
    return {**made, "volumeMounts": mounts} if mounts else made


def _account(template: Object, spec: Object) -> Object:
    token = template.get("automountServiceAccountToken", spec.get("automountServiceAccountToken", True))
    executor = template.get("executor") or spec.get("executor") or {}
    if not token and not executor.get("serviceAccountName"):
        raise StepError("executor.serviceAccountName must not be empty if automountServiceAccountToken is false")
    account = template.get("serviceAccountName") or spec.get("serviceAccountName") or "default"
    return {"serviceAccountName": account, "automountServiceAccountToken": bool(token), "enableServiceLinks": False}


def _wait(place: Place, template: Object, name: str, main: Object) -> Object:
    s3 = (place.settings.get("artifactRepository") or {}).get("s3") or {}
    executor = place.settings.get("executor") or {}
    store = {key: s3[key] for key in ("endpoint", "insecure", "region", "bucket") if key in s3}
    keys = (("ACCESS_KEY", "accessKeySecret"), ("SECRET_KEY", "secretKeySecret"))
    return {
        "name": WAIT,
        "image": place.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["argoexec", "wait"],
        "restartPolicy": "Always",
        # The step begins when this one can be told of its end.
        "startupProbe": {
            "exec": {"command": ["test", "-e", str(READY)]},
            "periodSeconds": 1,
            "failureThreshold": 120,
        },
        "env": [
            {"name": "OUTPUTS", "value": json.dumps(template.get("outputs") or {})},
            {"name": "FOLDER", "value": f"{place.owner['metadata']['name']}/{name}"},
            {"name": "STORE", "value": json.dumps(store)},
            *({"name": key, "valueFrom": {"secretKeyRef": s3[source]}} for key, source in keys if source in s3),
        ],
        "volumeMounts": main.get("volumeMounts") or [],
        **{key: executor[key] for key in ("resources", "securityContext") if key in executor},
    }


def exit_code(status: Mapping[str, Any]) -> str:
    """Of the step's own container; "" where it did not end."""
    for entry in status.get("containerStatuses") or []:
        if entry["name"] == MAIN:
            return str((entry["state"].get("terminated") or {}).get("exitCode", ""))
    return ""


def reason(status: Mapping[str, Any]) -> tuple[str, str]:
    """Phase and message of a step whose pod failed: Failed by what it ran, Error by what ran it."""
    if status.get("message"):
        return "Failed", str(status["message"])
    inits: Sequence[Object] = status.get("initContainerStatuses") or []
    entries = [entry for entry in inits if entry["name"] != WAIT] + list(status.get("containerStatuses") or [])
    entries += [entry for entry in inits if entry["name"] == WAIT]
    if not entries:
        return "Failed", "can't find failed message for pod"
    for entry in entries:
        waiting, ended = entry["state"].get("waiting"), entry["state"].get("terminated")
        if waiting is not None:
            why = f"{waiting.get('reason', '')}: {waiting.get('message', '')}"
            return "Error", f"Pod failed before {entry['name']} container starts due to {why}"
        if ended is None or ended.get("exitCode") == 0:
            continue
        message = f"{entry['name']}: {ended.get('reason', '')} (exit code {ended['exitCode']})"
        if ended.get("message"):
            message += f": {ended['message']}"
        if entry["name"] == WAIT:
            return "Error", message
        if entry["name"] == MAIN or ended["exitCode"] not in KILLED:
            return "Failed", message
    return "Failed", "pod failed: wait container did not complete successfully"
