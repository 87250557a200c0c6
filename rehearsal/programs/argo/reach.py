"""What a workflow's run asks of the cluster: its own object, its pods, and other templates."""

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from rehearsal.programs.argo.outcome import Ended
from rehearsal.programs.argo.pods import COMPLETED
from rehearsal.programs.argo.variables import Object
from rehearsal.programs.kube import ARGO, Api, ApiError, core, custom, say

PHASE = "workflows.argoproj.io/phase"
PATIENCE = 300
"""Seconds for an API that does not answer, or a quota that is used up."""


class GoneError(Exception):
    """Somebody deleted the workflow."""


def passing(error: ApiError) -> bool:
    """Whether an error goes away by itself, as the real controller judges it."""
    return error.status in (0, HTTPStatus.TOO_MANY_REQUESTS) or (
        error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or "exceeded quota" in str(error)
    )


class Reach:
    """The cluster as one workflow sees it."""

    def __init__(self, api: Api, item: Object) -> None:
        """The workflow as it is at its beginning."""
        self.api, self.item = api, item
        self.name, self.space = item["metadata"]["name"], item["metadata"]["namespace"]
        self.path = custom(self.space, "workflows", self.name, ARGO)

    def library(self, name: str) -> Object | None:
        """The spec of a WorkflowTemplate."""
        found = self._asked(lambda: self.api.get(custom(self.space, "workflowtemplates", name, ARGO)))
        return found["spec"] if found else None

    def shutdown(self) -> str:
        """How the workflow is to be stopped; "" where it goes on. Raises GoneError."""
        found = self._asked(lambda: self.api.get(self.path))
        same = found is not None and found["metadata"].get("uid") == self.item["metadata"]["uid"]
        if found is None or not same or found["metadata"].get("deletionTimestamp"):
            raise GoneError(self.name)
        return str(found["spec"].get("shutdown") or "")

    def say(self, phase: str, nodes: Mapping[str, Any], **more: Any) -> None:
        """Write down how it stands."""
        status = {"phase": phase, **({"nodes": dict(nodes)} if nodes else {}), **more}
        self._merge({"metadata": {"labels": {PHASE: phase}}, "status": status})

    def mark(self, metadata: Mapping[str, Any]) -> None:
        """Give it labels and annotations."""
        if metadata:
            self._merge({"metadata": dict(metadata)})

    def complete(self, phase: str) -> None:
        """Say that nothing more becomes of it."""
        self._merge({"metadata": {"labels": {COMPLETED: "true", PHASE: phase}}})

    def _merge(self, change: Object) -> None:
        try:
            self._asked(lambda: self.api.merge(self.path, change))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise GoneError(self.name) from error
            raise

    def create(self, pod: Object) -> None:
        """Make a pod; one that another controller made is as good."""
        self._asked(lambda: self.api.create(core(self.space, "pods"), pod))

    def pod(self, name: str) -> Object | None:
        """A pod; None where there is none."""
        found: Object | None = self._asked(lambda: self.api.get(core(self.space, "pods", name)))
        return found

    def remove(self, pod: str) -> None:
        """Delete a pod."""
        self._asked(lambda: self.api.delete(core(self.space, "pods", pod)))

    def ended(self, name: str) -> Ended:
        """What the executor's stand-in found when a step had ended well."""
        text = self._log(name, "wait")
        found = [line.removeprefix("outputs: ") for line in text.splitlines() if line.startswith("outputs: ")]
        left: dict[str, str] = json.loads(found[-1]) if found else {"error": "it did not say what the step left"}
        if "error" in left:
            return Ended("Error", f"wait: Error (exit code 64): {left['error']}")
        return Ended("Succeeded", left={**left, "result": self._log(name, "main").rstrip("\n"), "exitCode": "0"})

    def _log(self, pod: str, container: str) -> str:
        path = f"{core(self.space, 'pods', pod)}/log?container={container}"
        return str(self._asked(lambda: self.api.text(path)))

    def _asked(self, call: Callable[[], Any]) -> Any:
        """What the API answers; again while it does not."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return call()
            except ApiError as error:
                if not passing(error) or time.monotonic() > until:
                    raise
                say(f"{self.name}: {error}")
                time.sleep(2)
