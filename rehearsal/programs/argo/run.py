"""One workflow of the controller's stand-in, from its beginning to its end.

What its nodes were is in its status, so that another controller goes on where this one stopped.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rehearsal.programs.argo import expressions, outcome, pods, retries, variables, workflow
from rehearsal.programs.argo.expressions import ExpressionError
from rehearsal.programs.argo.outcome import Ended
from rehearsal.programs.argo.pods import Place, StepError
from rehearsal.programs.argo.reach import GoneError, Reach
from rehearsal.programs.argo.variables import Object, filled, parameters
from rehearsal.programs.argo.workflow import Node, UnsupportedError
from rehearsal.programs.kube import ApiError, now, say

STOPPED = ("Stop", "Terminate")
GARBAGE: Mapping[str, tuple[str, ...]] = {
    "OnPodSuccess": ("Succeeded",),
    "OnPodCompletion": ("Succeeded", "Failed", "Error"),
}
"""After which phases a pod goes at once."""


@dataclass
class Run:
    """One workflow."""

    reach: Reach
    spec: Object
    """With its template's and the defaults."""
    settings: Object
    """The controller's."""
    image: str
    """Of the executor's stand-in."""
    entered: Callable[[str], None] = lambda _: None
    """Told of each phase that the workflow enters."""
    known: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, Object] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Node to its pod."""
    deadline: float | None = None
    exiting: bool = False

    def go(self) -> Ended | None:
        """Run it, whatever becomes of it; None where somebody deleted it meanwhile."""
        try:
            found = self._whole()
            self.reach.say(found.phase, self.nodes, message=found.message, finishedAt=now(), progress="1/1")
            self.reach.complete(found.phase)
        except GoneError:
            self._clear(("Pending", "Running", *outcome.BAD))
            say(f"{self.reach.name}: deleted")
            return None
        self._collect(found)
        self.entered(found.phase)
        say(f"{self.reach.name}: {found.phase} {found.message}")
        return found

    def _whole(self) -> Ended:
        try:
            self._begin()
            entry, leave = self._trees()
            main = self._node(entry, self.reach.name, {})
            return self._left(main, leave)
        except GoneError:
            raise
        except UnsupportedError as error:
            return Ended("Error", f"not honoured by the rehearsal's stand-in: {error}")
        except StepError as error:
            return Ended("Error", str(error))
        except Exception as error:
            return Ended("Error", f"{type(error).__name__}: {error}")

    def _begin(self) -> None:
        status = self.reach.item.get("status") or {}
        started = status.get("startedAt") or now()
        self.nodes.update(status.get("nodes") or {})
        listed = {key: node for key, node in self.nodes.items() if node["type"] == "Pod"}
        self.names.update({key: self._pod_name(node["name"], node["templateName"]) for key, node in listed.items()})
        strange = workflow.unknown(self.spec)
        if strange:
            raise UnsupportedError(f"spec: {', '.join(strange)}")
        self.reach.mark(self.spec.get("workflowMetadata") or {})
        template = (self.reach.item["spec"].get("workflowTemplateRef") or {}).get("name")
        if not self.spec.get("entrypoint"):
            raise StepError(f'workflowtemplates.argoproj.io "{template}" not found' if template else "no entrypoint")
        # What the template becomes meanwhile is of no concern to it.
        stored = {"storedWorkflowTemplateSpec": self.spec} if template else {}
        self.reach.say("Running", self.nodes, message="", startedAt=started, **stored)
        self.entered("Running")
        if self.spec.get("activeDeadlineSeconds"):
            self.deadline = variables.moment(started).timestamp() + int(self.spec["activeDeadlineSeconds"])
        self.known.update(variables.of_workflow(self.reach.item, self.spec))

    def _trees(self) -> tuple[Node, Node | None]:
        given = parameters(self.spec.get("arguments"))
        declared = (self.spec.get("arguments") or {}).get("parameters") or []
        unset = sorted(entry["name"] for entry in declared if entry["name"] not in given)
        if unset:
            raise StepError(f"spec.arguments.{', '.join(unset)}.value or valueFrom is required")
        forest = workflow.Forest(self.spec, self.reach.library)
        leave = self.spec.get("onExit")
        name = self.reach.name
        return (
            forest.tree(name, self.spec["entrypoint"], given),
            forest.tree(f"{name}.onExit", leave, given) if leave else None,
        )

    def _left(self, main: Ended, leave: Node | None) -> Ended:
        """How the workflow ended: as its entry did, or as what is run at its end."""
        self.known["workflow.status"] = main.phase
        self.known["workflow.failures"] = variables.failures(self.nodes, self.names)
        self.exiting = True
        stopped = self.reach.shutdown()
        last = Ended("Succeeded")
        if leave is not None and stopped != "Terminate":
            last = self._node(leave, leave.name, {})
        if not main.bad:
            return Ended(last.phase, last.message) if last.bad else Ended("Succeeded")
        return Ended(main.phase, f"Stopped with strategy '{stopped}'" if stopped else main.message)

    def _node(self, node: Node, name: str, around: Mapping[str, str]) -> Ended:
        """Run a node, again if it may."""
        given = {key: filled(value, {**self.known, **around}) for key, value in node.inputs.items()}
        scope = {**self.known, **{f"inputs.parameters.{key}": value for key, value in given.items()}}
        asked = [entry["name"] for entry in (node.template.get("inputs") or {}).get("parameters") or []]
        unset = sorted(set(asked) - set(given))
        if unset:
            return self._note(name, node, Ended("Error", f"inputs.parameters.{unset[0]} was not supplied"))
        strategy = node.template.get("retryStrategy")
        if strategy is None:
            return self._once(node, name, scope)
        before = self._before(name)
        if before:
            return before
        self._note(name, node, Ended("Running"), kind="Retry")
        return self._note(name, node, self._tried(node, name, scope, filled(strategy, scope)), kind="Retry")

    def _tried(self, node: Node, name: str, scope: Mapping[str, str], strategy: Object) -> Ended:
        """Run a node as often as its strategy wants."""
        tries, known, code = 0, retries.FIRST, ""
        while True:
            child = f"{name}({tries})"
            # In a text, what has no exit code has 0; in an expression, -1.
            more = {**known, "lastRetry.exitCode": code or "0", "retries": str(tries), "node.name": child}
            ended = self._once(node, child, {**scope, **more})
            if not ended.bad:
                return ended
            tries, code = tries + 1, ended.left.get("exitCode", "")
            took = outcome.seconds(self.nodes[pods.identity(self.reach.name, child)])
            known = retries.last(ended.phase, ended.message, code, tries=tries, seconds=took)
            try:
                follows = self._following(strategy, known, name, tries)
            except ExpressionError as error:
                return Ended("Error", f"retryStrategy.expression {error}")
            self._pause(follows.wait)
            if follows.over is not None:
                return Ended(ended.phase, follows.over)

    def _following(self, strategy: Object, known: Mapping[str, str], name: str, tries: int) -> retries.Next:
        stopped = self._stopped()
        if stopped:
            return retries.Next(over=f"Stopped with strategy '{stopped}'")
        if self._late():
            return retries.Next(over="retry exceeded workflow deadline")
        first = self.nodes.get(pods.identity(self.reach.name, f"{name}(0)")) or {}
        since = time.time() - variables.moment(first["startedAt"]).timestamp() if first.get("startedAt") else 0.0
        return retries.following(strategy, known, tries=tries, since=since)

    def _once(self, node: Node, name: str, scope: Mapping[str, str]) -> Ended:
        if node.groups:
            return self._before(name) or self._groups(node, name, dict(scope))
        return self._before(name) or self._pod(node, name, {"node.name": name, **scope})

    def _groups(self, node: Node, name: str, scope: dict[str, str]) -> Ended:
        """Run a group's nodes; a node that comes later sees what the others left."""
        steps = "steps" in node.template
        word, kind = ("steps", "Steps") if steps else ("tasks", "DAG")
        self._note(name, node, Ended("Running"), kind=kind)
        for index, group in enumerate(node.groups):
            place = f"{name}[{index}]" if steps else name
            # Those beside each other all run, whatever becomes of one.
            ended = {child.name: self._step(child, f"{place}.{child.name}", scope) for child in group}
            for child, found in ended.items():
                scope[f"{word}.{child}.status"] = found.phase
                scope |= {f"{word}.{child}.outputs.{key}": value for key, value in found.left.items()}
            bad = next((child for child, found in ended.items() if found.bad), None)
            if bad is not None:
                failed = f"child '{pods.identity(self.reach.name, f'{place}.{bad}')}' failed"
                return self._note(name, node, Ended("Failed", failed), kind=kind)
        return self._note(name, node, outcome.of_group(node.template, scope), kind=kind)

    def _step(self, node: Node, name: str, scope: Mapping[str, str]) -> Ended:
        """Run a step, if its condition holds."""
        condition = filled(node.when, scope)
        try:
            unknown = variables.missing(condition)
            if not unknown and expressions.holds(condition):
                unknown = variables.missing(filled(dict(node.inputs), scope))
                if not unknown:
                    return self._node(node, name, scope)
        except ExpressionError as error:
            return self._note(name, node, Ended("Error", f"when {error}"), kind="Skipped")
        if unknown:
            # The real controller would wait for ever for what a step that was skipped did not leave.
            return self._note(name, node, Ended("Error", f"failed to resolve {{{{{unknown[0]}}}}}"))
        skipped = Ended("Skipped", f"when '{condition}' evaluated false")
        return self._note(name, node, skipped, kind="Skipped")

    def _pod(self, node: Node, name: str, scope: Mapping[str, str]) -> Ended:
        stopped = self._stopped()
        if stopped:
            return self._note(name, node, Ended("Failed", f"workflow shutdown with strategy: {stopped}"))
        place = Place(self.reach.item, self.spec, self.settings, self.image, name, self._seconds(), self.exiting)
        pod = self._pod_name(name, node.template["name"])
        try:
            made = pods.rendered(place, node.template, {"pod.name": pod, **scope})
            unknown = variables.missing(made["spec"]["initContainers"][1:] + made["spec"]["containers"])
            if unknown:
                raise StepError(f"failed to resolve {{{{{unknown[0]}}}}}")
            self._note(name, node, Ended("Pending"))
            self.reach.create(made)
            found = self._watched(node, name, pod)
        except (StepError, ApiError) as error:
            found = Ended("Error", str(error))
        self._note(name, node, found)
        if found.phase in GARBAGE.get(self._garbage, ()):
            self.reach.remove(pod)
        return found

    def _watched(self, node: Node, name: str, pod: str) -> Ended:
        """Wait for a pod."""
        running = False
        while True:
            stopped = self._stopped()
            if stopped or self._late():
                self.reach.remove(pod)
                late = "Step exceeded its deadline"
                return Ended("Failed", f"workflow shutdown with strategy:  {stopped}" if stopped else late)
            found = self.reach.pod(pod)
            if found is None:
                return Ended("Error", "pod deleted")
            status = found.get("status") or {}
            if status.get("phase") == "Succeeded":
                return self.reach.ended(pod)
            if status.get("phase") == "Failed":
                return Ended(*pods.reason(status), left={"exitCode": pods.exit_code(status)})
            if status.get("phase") == "Running" and not running:
                running = True
                self._note(name, node, Ended("Running"))
            time.sleep(1)

    def _before(self, name: str) -> Ended | None:
        """How a node ended, where another controller saw it."""
        found = self.nodes.get(pods.identity(self.reach.name, name))
        return outcome.read(found) if found and found["phase"] in outcome.OVER else None

    def _note(self, name: str, node: Node, ended: Ended, *, kind: str = "Pod") -> Ended:
        """Write down how a node stands."""
        key = pods.identity(self.reach.name, name)
        old = self.nodes.get(key) or {}
        if kind == "Pod":
            self.names[key] = self._pod_name(name, node.template["name"])
        made = outcome.written(ended, kind=kind, begun=old.get("startedAt") or now())
        display = name if name.rpartition("(")[0] == node.name or name == node.name else name.rpartition(".")[2]
        self.nodes[key] = {"id": key, "name": name, "displayName": display, **made}
        self.nodes[key]["templateName"] = node.template["name"]
        self.reach.say("Running", {key: self.nodes[key]})
        if ended.bad:
            say(f"{self.reach.name}: {name}: {ended.phase} {ended.message}")
        return ended

    def _pod_name(self, name: str, template: str) -> str:
        return pods.pod_name(self.reach.name, name, template)

    @property
    def _garbage(self) -> str:
        return str((self.spec.get("podGC") or {}).get("strategy", ""))

    def _collect(self, found: Ended) -> None:
        """Remove the pods of a workflow that ended, where that is when they go."""
        if self._garbage == "OnWorkflowCompletion" or (self._garbage == "OnWorkflowSuccess" and not found.bad):
            self._clear(outcome.OVER)

    def _clear(self, phases: tuple[str, ...]) -> None:
        for key, pod in self.names.items():
            if self.nodes[key]["phase"] in phases:
                self.reach.remove(pod)

    def _stopped(self) -> str:
        """How the workflow is being stopped; what runs at its end still may run, unless it is terminated."""
        found = self.reach.shutdown()
        return "" if self.exiting and found != "Terminate" else found

    def _late(self) -> bool:
        return self.deadline is not None and not self.exiting and time.time() > self.deadline

    def _seconds(self) -> int | None:
        if self.deadline is None or self.exiting:
            return None
        return max(1, int(self.deadline - time.time()))

    def _pause(self, wait: float) -> None:
        """Wait, unless the workflow is stopped meanwhile."""
        for _ in range(int(wait)):
            if self._stopped() or self._late():
                return
            time.sleep(1)
