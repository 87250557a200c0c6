"""Stands in for the workflow controller: it runs the pods of workflows one after another, and says how they ended.

See `workflow` for what it honours. Beside each step there is a container of the executor's stand-in, whose log tells
what the step left. There is no archive, and no workflow is deleted after its time.
"""

import http
import json
import sys
import threading
import time
from collections.abc import Mapping

import yaml

from rehearsal.programs.argo import web, workflow
from rehearsal.programs.argo.executor import READY
from rehearsal.programs.argo.workflow import Node, Object, UnsupportedError, filled, merged, parameters
from rehearsal.programs.kube import ARGO, Api, core, custom, forever, now, own_space, say

SECONDS = 2
DEADLINE = 24 * 3600
COMPLETED = "workflows.argoproj.io/completed"
PHASE = "workflows.argoproj.io/phase"
WORKFLOW = "workflows.argoproj.io/workflow"
ENDED = ("Succeeded", "Failed", "Error")
_ended: dict[tuple[str, str, str], int] = {}
_phases: dict[tuple[str, str], int] = {}
_running: set[str] = set()


class StepError(Exception):
    """A step ended otherwise than well."""


def metrics() -> str:
    """Those of the controller's metrics that the platform's rules read."""
    lines = [
        f'argo_workflows_total_count{{namespace="{space}",phase="{phase}"}} {count}'
        for (space, phase), count in sorted(_phases.items())
    ]
    lines += [
        f'argo_workflows_workflowtemplate_triggered_total{{name="{name}",namespace="{space}",phase="{phase}"}} {count}'
        for (name, space, phase), count in sorted(_ended.items())
    ]
    return "\n".join(lines) + "\n"


class Run:
    """One workflow, from its beginning to its end."""

    def __init__(self, api: Api, settings: Object, image: str, item: Object) -> None:
        """The cluster, the controller's settings, the image of the executor's stand-in, and the workflow."""
        self.api = api
        self.settings, self.image, self.item = settings, image, item
        self.name, self.space = item["metadata"]["name"], item["metadata"]["namespace"]
        self.path = custom(self.space, "workflows", self.name, ARGO)
        self.template = (item["spec"].get("workflowTemplateRef") or {}).get("name", "")
        self.nodes: Object = {}
        self.known: dict[str, str] = {
            "workflow.name": self.name,
            "workflow.namespace": self.space,
            "workflow.uid": item["metadata"]["uid"],
        }

    def go(self) -> None:
        """Run it, whatever becomes of it."""
        self.say("Running", startedAt=now())
        self.entered("Running")
        phase, message = "Succeeded", ""
        try:
            self.run(self.whole())
        except UnsupportedError as error:
            phase, message = "Error", f"not honoured by the rehearsal's stand-in: {error}"
        except StepError as error:
            phase, message = "Failed", str(error)
        except Exception as error:
            phase, message = "Error", f"{type(error).__name__}: {error}"
        self.say(phase, message=message, finishedAt=now(), progress="1/1")
        self.api.merge(self.path, {"metadata": {"labels": {COMPLETED: "true", PHASE: phase}}})
        self.entered(phase)
        if self.template:
            key = (self.template, self.space, phase)
            _ended[key] = _ended.get(key, 0) + 1
        say(f"{self.space}/{self.name}: {phase} {message}")

    def entered(self, phase: str) -> None:
        """Count it."""
        _phases[self.space, phase] = _phases.get((self.space, phase), 0) + 1

    def say(self, phase: str, **more: str) -> None:
        """Write down how it stands."""
        self.api.merge(
            self.path, {"metadata": {"labels": {PHASE: phase}}, "status": {"phase": phase, "nodes": self.nodes, **more}}
        )

    def whole(self) -> Object:
        """Its spec over that of its template, over the defaults."""
        spec: Object = self.item["spec"]
        if self.template:
            found = self.api.get(custom(self.space, "workflowtemplates", self.template, ARGO))
            if found is None:
                raise UnsupportedError(f"workflow template {self.template}: there is none")
            listed = {**parameters(found["spec"].get("arguments")), **parameters(spec.get("arguments"))}
            spec = merged(found["spec"], {key: value for key, value in spec.items() if key != "arguments"})
            spec["arguments"] = {"parameters": [{"name": name, "value": value} for name, value in listed.items()]}
        defaults = (self.settings.get("workflowDefaults") or {}).get("spec") or {}
        whole: Object = merged(defaults, spec)
        return whole

    def run(self, spec: Object) -> None:
        """Run its entrypoint."""
        given = parameters(spec.get("arguments"))
        self.known |= {f"workflow.parameters.{name}": value for name, value in given.items()}
        node = workflow.tree(spec, self.name, spec["entrypoint"], given)
        self.node(spec, node, {})

    def node(self, spec: Object, node: Node, around: Mapping[str, str]) -> dict[str, str]:
        """Run a node; returns what it leaves: `result`, and `parameters.NAME`."""
        scope = {
            **self.known,
            **{f"inputs.parameters.{k}": filled(v, {**self.known, **around}) for k, v in node.inputs.items()},
        }
        if not node.groups:
            return self.pod(spec, node, scope)
        word = "steps" if "steps" in node.template else "tasks"
        for group in node.groups:
            for child in group:
                left = self.node(spec, child, scope)
                short = child.name.rpartition(".")[2]
                scope |= {f"{word}.{short}.outputs.{key}": value for key, value in left.items()}
        listed = (node.template.get("outputs") or {}).get("parameters") or []
        return {f"parameters.{e['name']}": filled(e["valueFrom"]["parameter"], scope) for e in listed}

    def pod(self, spec: Object, node: Node, scope: Mapping[str, str]) -> dict[str, str]:
        """Run a pod, again if it may."""
        retry = node.template.get("retryStrategy") or {}
        again = int(retry.get("limit", 0)) if retry.get("retryPolicy", "OnFailure") != "OnError" else 0
        for attempt in range(again + 1):
            name = f"{node.name}-{attempt}".replace(".", "-").lower()[-63:].strip("-")
            made = pod(self, spec, node, scope, name)
            unknown = workflow.missing(made["spec"]["containers"])
            if unknown:
                raise UnsupportedError(", ".join(unknown))
            self.api.create(core(self.space, "pods"), made)
            phase, message = self.ended(name, int(spec.get("activeDeadlineSeconds") or DEADLINE))
            left = self.left(name) if phase == "Succeeded" else {}
            outputs = {
                "parameters": [{"name": k.partition(".")[2], "value": v} for k, v in left.items() if k != "result"]
            }
            self.nodes[name] = {
                "id": name,
                "name": node.name,
                "displayName": node.name.rpartition(".")[2],
                "type": "Pod",
                "templateName": node.template["name"],
                "phase": phase,
                "message": message,
                "outputs": outputs,
            }
            self.say("Running")
            if phase == "Succeeded":
                if (spec.get("podGC") or {}).get("strategy") in ("OnPodSuccess", "OnPodCompletion"):
                    self.api.delete(core(self.space, "pods", name))
                return left
            if attempt < again:
                time.sleep(5)
        raise StepError(f"{node.name}: {message}")

    def ended(self, name: str, seconds: int) -> tuple[str, str]:
        """Wait for a pod; returns its phase, and why."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.api.get(core(self.space, "pods", name))
            if found is None:
                return "Error", "pod deleted"
            status = found.get("status") or {}
            if status.get("phase") in ("Succeeded", "Failed"):
                return status["phase"], why(status)
            time.sleep(1)
        self.api.delete(core(self.space, "pods", name))
        return "Failed", "Step exceeded its deadline"

    def left(self, name: str) -> dict[str, str]:
        """What the executor's stand-in found when the step had ended."""
        text = self.api.text(f"{core(self.space, 'pods', name)}/log?container=wait")
        found = [
            json.loads(line.removeprefix("outputs: ")) for line in text.splitlines() if line.startswith("outputs: ")
        ]
        if not found:
            raise StepError(f"{name}: the executor did not say what the step left")
        left: dict[str, str] = found[-1]
        if "error" in left:
            raise StepError(f"{name}: {left['error']}")
        left["result"] = self.api.text(f"{core(self.space, 'pods', name)}/log?container=main").rstrip("\n")
        return left


def why(status: Object) -> str:
    """How the step's container ended."""
    states = [
        entry["state"].get("terminated") or {}
        for entry in status.get("containerStatuses") or []
        if entry["name"] == "main"
    ]
    state = states[0] if states else {}
    if not state or state.get("exitCode") == 0:
        return str(status.get("message") or "")
    return f"{state.get('reason', '')} (exit code {state.get('exitCode')})".strip()


def pod(run: Run, spec: Object, node: Node, scope: Mapping[str, str], name: str) -> Object:
    """The pod of a node: what it runs, and the executor's stand-in beside it, which is told of its end by a signal."""
    template, settings = node.template, run.settings
    main = {**filled(template.get("container") or template.get("script") or {}, scope)}
    if "script" in template:
        main["command"], main["args"] = [*main["command"], "-c", main.pop("source")], main.get("args") or []
    if not main.get("command"):
        raise UnsupportedError(f"template {template['name']}: a container without a command")
    main = {**merged(settings.get("mainContainer") or {}, main), "name": "main"}
    outputs = template.get("outputs") or {}
    s3 = (settings.get("artifactRepository") or {}).get("s3") or {}
    executor = settings.get("executor") or {}
    wait = {
        "name": "wait",
        "image": run.image,
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
            {"name": "OUTPUTS", "value": json.dumps(outputs)},
            {"name": "FOLDER", "value": f"{run.name}/{name}"},
            {
                "name": "STORE",
                "value": json.dumps(
                    {key: s3[key] for key in ("endpoint", "insecure", "region", "bucket") if key in s3}
                ),
            },
            *(
                {"name": key, "valueFrom": {"secretKeyRef": s3[source]}}
                for key, source in (("ACCESS_KEY", "accessKeySecret"), ("SECRET_KEY", "secretKeySecret"))
                if source in s3
            ),
        ],
        "volumeMounts": main.get("volumeMounts") or [],
        **{key: executor[key] for key in ("resources", "securityContext") if key in executor},
    }
    token = template.get("automountServiceAccountToken", spec.get("automountServiceAccountToken", True))
    metadata = filled(template.get("metadata") or {}, scope)
    owner = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "name": run.name,
        "uid": run.item["metadata"]["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata,
            "name": name,
            "namespace": run.space,
            "labels": {**(metadata.get("labels") or {}), WORKFLOW: run.name},
            "ownerReferences": [owner],
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": template.get("serviceAccountName") or spec.get("serviceAccountName") or "default",
            "automountServiceAccountToken": bool(token),
            "securityContext": template.get("securityContext") or spec.get("securityContext") or {},
            "enableServiceLinks": False,
            "initContainers": [wait],
            "containers": [main],
            "volumes": [*(spec.get("volumes") or []), *(template.get("volumes") or [])],
        },
    }


def look(api: Api, settings: Object, image: str, spaces: list[str]) -> None:
    """Begin what is new, or was not ended when this program was."""
    for space in spaces:
        for item in api.list(custom(space, "workflows", version=ARGO)):
            phase = (item.get("status") or {}).get("phase", "")
            uid = item["metadata"]["uid"]
            if phase in ENDED or uid in _running:
                continue
            _running.add(uid)
            threading.Thread(target=Run(api, settings, image, item).go, daemon=True).start()


def main(arguments: list[str]) -> None:
    """Watch the namespace of workflows."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    api = Api()
    found = api.get(core(own_space(), "configmaps", options["--configmap"])) or {}
    settings = yaml.safe_load(found["data"]["config"])
    web.serve(int(settings["metricsConfig"]["port"]), web.status_page(metrics), wait=False)
    web.serve(6060, lambda _: web.Answer(http.HTTPStatus.OK, "ok\n"), wait=False)
    say("this is the rehearsal's stand-in for Argo Workflows")
    forever("controller", SECONDS, lambda: look(api, settings, options["--executor-image"], ["workflows"]))


if __name__ == "__main__":
    main(sys.argv[1:])
