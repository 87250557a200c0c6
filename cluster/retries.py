"""An operation that failed in passing at the cluster's API server is tried again, as infra/retries.py does at a site.

The published provider repeats what says `Retry-After`, and nothing else: an API server that answers 503 once, or starts
anew, fails a whole run. Changes and deletions may always be repeated. A create may have happened although its answer
was lost, and the provider refuses what exists: what this run has made is removed first, nothing older is touched. Of a
Helm release everything may be repeated, once its record does not say any more that the operation is under way.
"""

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pulumi

from cluster import records
from cluster.api import NOT_FOUND, Api, ApiError, removed
from infra import retries

PASSING = re.compile(
    r"server is currently unable to handle the request|too many requests|unable to return a response in the time"
    r"|has prevented the request from succeeding|reported a conflict|the object has been modified|status code 408"
    r"|request did not complete within requested timeout|connection lost|etcdserver: "
    r"|failed to delete release|the API server \S+ does not answer",
    re.IGNORECASE,
)
"""Of client-go, which the published provider and Helm are made of; the last is the rehearsal's. Helm does not say why
it failed to delete a release; it may be asked again."""
NOT_READY = re.compile(r"become live", re.IGNORECASE)
"""It exists, and waiting for it came to an end: its events may tell of connections, too."""
MANAGER = "pulumi-kubernetes"
"""What the names of the provider's field managers begin with."""
RELEASE = "kubernetes:helm.sh/v3:Release"
GONE_SECONDS = 60.0
POLL_SECONDS = 0.5


def may_pass(error: str) -> bool:
    """Whether the same request may succeed a moment later."""
    return not NOT_READY.search(error) and (bool(PASSING.search(error)) or retries.may_pass(error))


class Retries:
    """The retries of one cluster; `transform` is inherited by all below the component that has it as an option."""

    def __init__(self, kubeconfig: pulumi.Output[str]) -> None:
        """Made when the run begins: what is older than this object is not of this run."""
        self._kubeconfig, self._begun = kubeconfig, time.monotonic()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="cluster-retries")
        hooks = pulumi.ResourceHookBinding(on_error=[pulumi.ErrorHook("cluster-retries", self._again)])
        self._added = pulumi.ResourceOptions(hooks=hooks)

    def transform(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """Bind the hook to what is made by the API server."""
        if not args.type_.startswith("kubernetes:") or args.opts.provider:
            return None  # something else, or of another cluster
        return pulumi.ResourceTransformationResult(args.props, pulumi.ResourceOptions.merge(args.opts, self._added))

    async def _again(self, args: pulumi.ErrorHookArgs) -> bool:
        kubeconfig = str(await self._kubeconfig.future())
        since = timedelta(seconds=time.monotonic() - self._begun) + retries.SLACK
        way = _way(args.type, args.failed_operation)
        free = partial(_free, kubeconfig, way, dict(args.new_inputs or {}), since) if way else None
        return await retries.again(args, may_pass, free, self._threads)


Way = Callable[[Api, Mapping[str, Any], timedelta], str | None]
"""Clears the way for an operation once more; the reason, where it must not be repeated. Raises ApiError."""


def _way(type_: str, operation: str) -> Way | None:
    if operation == "delete":
        return None
    if type_ == RELEASE:
        return _settled
    return _freed if operation == "create" and not type_.endswith("Patch") else None


def _free(kubeconfig: str, way: Way, inputs: Mapping[str, Any], since: timedelta) -> str | None:
    """Clear the way; the reason, where the operation must not be repeated. It asks more than once, too."""
    reason = ""
    for failures in range(1, retries.TIMES + 1):
        try:
            return way(Api(kubeconfig), inputs, since)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            reason = str(error)
            if not error.passing:
                break
        time.sleep(retries.pause(failures))
    return f"it is not known whether it was done: {reason}"


def _settled(api: Api, inputs: Mapping[str, Any], since: timedelta) -> str | None:
    """Say in helm's record that the operation failed, where helm could not: it refuses the next one otherwise."""
    query = {"labelSelector": f"owner=helm,name={inputs['name']}"}
    secrets = api.call("GET", f"/api/v1/namespaces/{inputs['namespace']}/secrets", query, brief=True)["items"]
    for revision in records.newest(secrets or []):
        if revision.status not in records.PENDING:
            continue
        if api.time() - revision.made > since:
            return f"{revision.key} is {revision.status}, for longer than this run lasts"
        api.call("PUT", revision.path, body=records.failed(api.call("GET", revision.path)))
    return None


def _freed(api: Api, inputs: Mapping[str, Any], since: timedelta) -> str | None:
    """Remove what this run has made; the reason, where something else is there. Raises ApiError, 404 for nothing."""
    path = _path(api, inputs)
    live = api.call("GET", path)["metadata"]
    name, ours = f"{inputs['kind']} {live['name']}", _ours(live)
    if not ours or api.time() - datetime.fromisoformat(live["creationTimestamp"]) > since:
        return f"{name} is there, and {'older than this run' if ours else 'not of this stack'}"
    _remove(api, path, live["uid"], name)
    return None


def _path(api: Api, inputs: Mapping[str, Any]) -> str:
    """Of an object, by the API server's own list of kinds. Raises ApiError, 404 where the kind is not there."""
    version, metadata = inputs["apiVersion"], inputs["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    for kind in api.call("GET", root)["resources"]:
        if kind["kind"] == inputs["kind"] and "/" not in kind["name"]:
            inside = f"/namespaces/{metadata.get('namespace') or 'default'}" if kind["namespaced"] else ""
            return f"{root}{inside}/{kind['name']}/{metadata['name']}"
    raise ApiError(f"there is no kind {inputs['kind']} in {version}", NOT_FOUND)


def _ours(metadata: Mapping[str, Any]) -> bool:
    return any(str(entry.get("manager", "")).startswith(MANAGER) for entry in metadata.get("managedFields", []))


def _remove(api: Api, path: str, uid: str, name: str) -> None:
    """Delete exactly this object, and wait until it is gone. Raises ApiError."""
    deadline = time.monotonic() + GONE_SECONDS
    while removed(api, path, {"uid": uid}):
        if time.monotonic() > deadline:
            raise ApiError(f"{name} is still there after {GONE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
