"""Stands in for Argo CD's application controller: what Git says is applied, and what it no longer says is removed.

See `applications_spec` for what it honours. Each look applies everything again, which changes nothing where the cluster
is as Git says, and puts back what somebody changed.
"""

import base64
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from rehearsal.programs.argo import applications_spec as spec
from rehearsal.programs.argo.applications_spec import ConditionError, Object, Spec
from rehearsal.programs.argo.repository import GitError, Repository
from rehearsal.programs.kube import ARGO, Api, ApiError, core, custom, forever, now, own_space, say

LOOK = 1.0
TRACKED = "argocd.argoproj.io/tracking-id"
MANAGER = "argocd-controller"
CONDITIONS = "conditions"


@dataclass
class Known:
    """What is remembered of one application between two looks."""

    generation: int = 0
    due: float = 0.0
    commit: str = ""
    items: list[Object] = field(default_factory=list)
    failed: str = ""


def manifests(files: dict[str, str], source: spec.Source) -> list[Object]:
    """The objects of a folder's files. Raises ConditionError."""
    found: list[Object] = []
    for name, text in sorted(files.items()):
        plain = name.endswith((".yaml", ".yml", ".json")) and (source.recurse or "/" not in name)
        wanted = not source.include or spec.glob(source.include, name)
        if not plain or not wanted or (source.exclude and spec.glob(source.exclude, name)):
            continue
        try:
            found += [item for item in yaml.safe_load_all(text) if item]
        except yaml.YAMLError as error:
            raise ConditionError(spec.COMPARISON, f"{name}: {error}") from error
    return found


def root(version: str) -> str:
    """Path of an API by its version: the core group has another one."""
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def health(item: Object | None) -> str:
    """Of a Deployment; other kinds are well when they are there."""
    if item is None:
        return "Missing"
    if item["kind"] != "Deployment":
        return "Healthy"
    wanted, status = item["spec"].get("replicas", 1), item.get("status") or {}
    reasons = {c.get("reason") for c in status.get(CONDITIONS) or []}
    if "ProgressDeadlineExceeded" in reasons:
        return "Degraded"
    seen = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0), status.get("replicas", 0))
    return "Healthy" if seen and counts == (wanted, wanted, wanted) else "Progressing"


class Controller:
    """All applications of one namespace."""

    def __init__(self, api: Api) -> None:
        """By the API of the cluster that it is in."""
        self.api, self.space = api, own_space()
        self._known: dict[str, Known] = {}
        self._repositories: dict[tuple[str, str, str], Repository] = {}
        self._kinds: dict[str, list[Object]] = {}

    def look(self) -> None:
        """Bring every application to where it should be, if it is time."""
        settings = (self.api.get(core(self.space, "configmaps", "argocd-cm")) or {}).get("data") or {}
        for item in self.api.list(custom(self.space, "applications", version=ARGO)):
            metadata = item["metadata"]
            known = self._known.setdefault(metadata["uid"], Known())
            asked = spec.REFRESH in (metadata.get("annotations") or {})
            if asked or metadata["generation"] != known.generation or time.monotonic() >= known.due:
                known.generation = metadata["generation"]
                self._bring(item, known, settings)
                if asked:
                    path = custom(self.space, "applications", metadata["name"], ARGO)
                    self.api.merge(path, {"metadata": {"annotations": {spec.REFRESH: None}}})

    def _bring(self, item: Object, known: Known, settings: dict[str, str]) -> None:
        status: Object = {CONDITIONS: []}
        try:
            pause, jitter = spec.settings(settings)
            known.due = time.monotonic() + (pause or 1e9) + random.uniform(0, jitter)  # noqa: S311  no secret
            app = spec.spec(item)
            project = self.api.get(custom(self.space, "appprojects", app.project, ARGO))
            spec.permitted(app, project)
            status |= self._sync(app, project or {}, known, item.get("status") or {})
            known.failed = ""
        except (ConditionError, GitError, ApiError) as error:
            kind = error.kind if isinstance(error, ConditionError) else spec.COMPARISON
            status[CONDITIONS] = [{"type": kind, "message": str(error)}]
            if str(error) != known.failed:
                say(f"{item['metadata']['name']}: {error}")
            known.failed = str(error)
        self._tell(item, status)

    def _sync(self, app: Spec, project: Object, known: Known, before: Object) -> Object:
        """Apply what Git says, and remove what it said before."""
        commit = self._repository(app).newest(app.source.revision)
        fresh = commit != known.commit
        if fresh:
            items = manifests(self._repository(app).files(commit, app.source.path), app.source)
            known.items, known.commit = [self._own(app, each, project) for each in items], commit
        if app.policy.automated and (fresh or app.policy.heal):
            for each in known.items:
                self._apply(each)
            if app.policy.prune and (known.items or app.policy.empty):
                self._prune(app, project, known.items)
        live = [self.api.get(self._path(each)) for each in known.items]
        rank = ("Missing", "Degraded", "Progressing", "Healthy")
        worst = min((health(each) for each in live), key=rank.index, default="Healthy")
        history = list(before.get("history") or [])
        if not history or history[-1]["revision"] != commit:
            number = (history[-1]["id"] + 1) if history else 0
            entry = {"revision": commit, "deployedAt": now(), "id": number, "source": {"repoURL": app.source.url}}
            history = [*history, entry][-app.policy.history :]
        return {
            "sync": {"status": "Synced" if app.policy.automated else "OutOfSync", "revision": commit},
            "health": {"status": worst},
            "history": history,
        }

    def _repository(self, app: Spec) -> Repository:
        """With the login of the Secret that names it."""
        login = ("", "")
        for secret in self.api.list(
            f"{core(self.space, 'secrets')}?labelSelector={spec.PREFIX}secret-type%3Drepository"
        ):
            data = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
            if spec.repository(data.get("url", "")) == spec.repository(app.source.url):
                login = (data.get("username", ""), data.get("password", ""))
        key = (app.source.url, *login)
        if key not in self._repositories:
            self._repositories[key] = Repository(*key)
        return self._repositories[key]

    def _own(self, app: Spec, item: Object, project: Object) -> Object:
        """An object of an application, marked as its; ConditionError where the project forbids it."""
        group = item["apiVersion"].rpartition("/")[0]
        resource = self._resource(item)
        rules, space = project.get("spec") or {}, (item.get("metadata") or {}).get("namespace") or app.namespace
        if not spec.kind_permitted(rules, group, item["kind"], namespaced=resource["namespaced"]):
            text = f"resource {group}:{item['kind']} is not permitted in project {app.project}"
            raise ConditionError(spec.SYNC, text)
        if not spec.destined(rules, space):
            raise ConditionError(spec.SYNC, f"namespace {space} is not permitted in project '{app.project}'")
        metadata = {**item["metadata"], "namespace": space}
        mark = f"{app.name}:{group}/{item['kind']}:{space}/{metadata['name']}"
        metadata["annotations"] = {**(metadata.get("annotations") or {}), TRACKED: mark}
        return {**item, "metadata": metadata}

    def _resource(self, item: Object) -> Object:
        """How the API calls a kind."""
        version = item["apiVersion"]
        if version not in self._kinds:
            path = root(version)
            self._kinds[version] = (self.api.get(path) or {}).get("resources") or []
        for found in self._kinds[version]:
            if found["kind"] == item["kind"] and "/" not in found["name"]:
                return found
        del self._kinds[version]
        raise ConditionError(spec.SYNC, f"the cluster knows no {item['kind']} of {version}")

    def _collection(self, version: str, name: str, space: str) -> str:
        return f"{root(version)}/namespaces/{space}/{name}"

    def _path(self, item: Object) -> str:
        where = self._collection(item["apiVersion"], self._resource(item)["name"], item["metadata"]["namespace"])
        return f"{where}/{item['metadata']['name']}"

    def _apply(self, item: Object) -> None:
        path = f"{self._path(item)}?fieldManager={MANAGER}&force=true&fieldValidation=Strict"
        self.api.call("PATCH", path, item, "application/apply-patch+yaml")

    def _prune(self, app: Spec, project: Object, items: list[Object]) -> None:
        """Remove what is marked as the application's, of the kinds that its project names, and is in Git no more."""
        kept = {self._path(item) for item in items}
        for version, name in self._looked_at(project):
            for found in self.api.list(self._collection(version, name, app.namespace)):
                mark = (found["metadata"].get("annotations") or {}).get(TRACKED, "")
                path = f"{self._collection(version, name, app.namespace)}/{found['metadata']['name']}"
                if mark.startswith(f"{app.name}:") and path not in kept:
                    self.api.delete(path)
                    say(f"{app.name}: pruned {path}")

    def _looked_at(self, project: Object) -> Iterator[tuple[str, str]]:
        """Versions and names of kinds that could have been applied."""
        entries = (project.get("spec") or {}).get("namespaceResourceWhitelist")
        for version in ("v1", "apps/v1", "batch/v1", "networking.k8s.io/v1", "gateway.networking.k8s.io/v1"):
            path = root(version)
            for found in (self.api.get(path) or {}).get("resources") or []:
                group = version.rpartition("/")[0]
                named = entries is None or any(
                    (e.get("group", ""), e["kind"]) == (group, found["kind"]) for e in entries
                )
                if named and found["namespaced"] and {"list", "delete"} <= set(found["verbs"]):
                    yield version, found["name"]

    def _tell(self, item: Object, status: Object) -> None:
        """Write the status, where it changed."""
        before = item.get("status") or {}
        changed: dict[str, Any] = {key: value for key, value in status.items() if before.get(key) != value}
        if changed.keys() & {"sync", "history"}:
            phase = {"phase": "Succeeded", "message": "successfully synced", "finishedAt": now(), "startedAt": now()}
            changed["operationState"] = {**phase, "operation": {"sync": {"revision": status["sync"]["revision"]}}}
        if changed:
            changed["reconciledAt"] = now()
            path = custom(self.space, "applications", item["metadata"]["name"], ARGO)
            self.api.merge(path, {"status": changed})


def run() -> None:
    """Look again and again."""
    forever("applications", LOOK, Controller(Api()).look)
