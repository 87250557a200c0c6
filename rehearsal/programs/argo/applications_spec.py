"""What an application asks for and what its project permits, for Argo CD's stand-in. Pure.

A field that is not honoured is refused by name, so that nothing is left out in silence.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rehearsal.programs.argo.variables import seconds

Object = dict[str, Any]
SERVER, CLUSTER = "https://kubernetes.default.svc", "in-cluster"
"""The one cluster that the stand-in deploys to, by its two names."""
PREFIX = "argocd.argoproj.io/"
REFRESH = f"{PREFIX}refresh"
INVALID, COMPARISON, SYNC, DELETION = "InvalidSpecError", "ComparisonError", "SyncError", "DeletionError"
FIELDS: Mapping[str, Any] = {
    "project": None,
    "source": {
        **dict.fromkeys(("repoURL", "targetRevision", "path")),
        "directory": dict.fromkeys(("include", "exclude", "recurse")),
    },
    "destination": dict.fromkeys(("server", "name", "namespace")),
    "syncPolicy": {
        "automated": dict.fromkeys(("prune", "selfHeal", "allowEmpty", "enabled")),
        "retry": {"limit": None, "backoff": dict.fromkeys(("duration", "factor", "maxDuration"))},
        "syncOptions": None,
    },
    "revisionHistoryLimit": None,
}
"""Of an application's spec, to the depth that is honoured; None: the value as it is."""
OPTIONS = {"ServerSideApply=true"}
PROJECT = {
    *("description", "roles", "sourceRepos", "destinations", "clusterResourceWhitelist", "clusterResourceBlacklist"),
    *("namespaceResourceWhitelist", "namespaceResourceBlacklist"),
}
SETTINGS = {"application.resourceTrackingMethod", "resource.respectRBAC"}
"""Those of argocd-cm's `application.` and `resource.` that mean what the stand-in does."""
TIMEOUT, JITTER = "timeout.reconciliation", "timeout.reconciliation.jitter"


class ConditionError(Exception):
    """What keeps an application from being compared or synchronised, as a condition of its status."""

    def __init__(self, kind: str, message: str) -> None:
        """The condition's type, and its message."""
        super().__init__(message)
        self.kind = kind


def refused(what: str) -> ConditionError:
    """Of something that the stand-in does not honour."""
    return ConditionError(INVALID, f"not honoured by the rehearsal's stand-in: {what}")


@dataclass(frozen=True)
class Source:
    """Where manifests are."""

    url: str
    revision: str
    path: str
    include: str
    exclude: str
    recurse: bool
    plain: bool
    """Whether `directory` says that the files are no chart."""


@dataclass(frozen=True)
class Policy:
    """What is done when the cluster is not as Git says."""

    automated: bool
    prune: bool
    heal: bool
    empty: bool
    """Whether everything may be pruned."""
    limit: int
    """How often a failed attempt is made again; below 0: for ever."""
    pause: float
    factor: float
    longest: float
    history: int


@dataclass(frozen=True)
class Spec:
    """An application."""

    name: str
    project: str
    namespace: str
    source: Source
    policy: Policy


def duration(text: str) -> float:
    """Seconds of a duration as Go writes it: 90s, 1m30s, 0. Raises ValueError."""
    if text.isdecimal() and text != "0":
        raise ValueError(f"{text!r} is no duration such as 60s or 1m30s")
    return seconds(text)


def glob(pattern: str, text: str) -> bool:
    """Whether a pattern with *, ?, [a-z] and {a,b} is the text's. A star takes a slash too, as Argo CD's does."""
    made, depth = "", 0
    for part in re.findall(r"\\.|\[[^\]]+\]|.", pattern, re.DOTALL):
        if part in ("*", "**"):
            made += ".*"
        elif part == "?":
            made += "."
        elif part.startswith("[") and len(part) > 1:
            made += "[" + part[1:].replace("!", "^", 1) if part[1] == "!" else part
        elif part in "{}":
            made, depth = made + ("(?:" if part == "{" else ")"), depth + (1 if part == "{" else -1)
        elif part == "," and depth:
            made += "|"
        else:
            made += re.escape(part[-1])
    try:
        return bool(re.fullmatch(made, text, re.DOTALL))
    except (re.error, RecursionError):
        return False


def settings(data: Mapping[str, str]) -> tuple[float, float]:
    """Seconds between two looks at Git, and by how many more they may differ. 0: Git is not asked by itself."""
    strange = {key for key in data if key.startswith(("application.", "resource."))} - SETTINGS
    if strange:
        raise refused(f"{', '.join(sorted(strange))} of ConfigMap argocd-cm")
    method = data.get("application.resourceTrackingMethod", "annotation")
    if method != "annotation":
        raise refused(f"application.resourceTrackingMethod: {method} of ConfigMap argocd-cm; annotation is")
    try:
        return duration(data.get(TIMEOUT, "120s")), duration(data.get(JITTER, "60s"))
    except ValueError as error:
        raise ConditionError(COMPARISON, f"ConfigMap argocd-cm: {error}") from error


def _strange(given: Mapping[str, Any], known: Mapping[str, Any], path: str) -> Iterator[str]:
    """Paths of fields that are not honoured."""
    for key, value in given.items():
        if key not in known:
            yield f"{path}.{key}"
        elif known[key] is not None and isinstance(value, dict):
            yield from _strange(value, known[key], f"{path}.{key}")


def _unsupported(item: Object) -> Iterator[str]:
    yield from sorted(set(item) - {"apiVersion", "kind", "metadata", "spec", "status"})
    yield from _strange(item["spec"], FIELDS, "spec")
    annotations = item["metadata"].get("annotations") or {}
    yield from (f"annotation {key}" for key in sorted(annotations) if key.startswith(PREFIX) and key != REFRESH)
    options = (item["spec"].get("syncPolicy") or {}).get("syncOptions") or []
    yield from (f"spec.syncPolicy.syncOptions {option}" for option in options if option not in OPTIONS)


def spec(item: Object) -> Spec:
    """An application, read. Raises ConditionError."""
    given = item["spec"]
    unsupported = list(_unsupported(item))
    if unsupported:
        raise refused(", ".join(unsupported))
    to = given.get("destination") or {}
    if to.get("server") and to.get("name"):
        raise ConditionError(INVALID, "application destination can't have both name and server defined")
    for key, only in (("server", SERVER), ("name", CLUSTER)):
        if to.get(key, only) != only:
            raise refused(f"spec.destination.{key}: {to[key]}; {only} is")
    if not (to.get("server") or to.get("name")):
        raise ConditionError(INVALID, "destination server missing from app spec")
    if not to.get("namespace"):
        raise refused("a spec.destination without namespace")
    try:
        policy = _policy(given)
    except ValueError as error:
        raise ConditionError(INVALID, f"spec.syncPolicy.retry.backoff: {error}") from error
    return Spec(item["metadata"]["name"], given.get("project") or "default", to["namespace"], _source(given), policy)


def _source(given: Object) -> Source:
    source = given.get("source") or {}
    if not source.get("repoURL") or not source.get("path"):
        raise ConditionError(INVALID, "spec.source.repoURL and spec.source.path are required")
    if source["path"].startswith("/") or ".." in source["path"].split("/"):
        raise ConditionError(INVALID, f"spec.source.path {source['path']}: must be relative to the repository's root")
    if not source["repoURL"].startswith(("http://", "https://")) or "@" in source["repoURL"].split("/")[2]:
        raise refused("a spec.source.repoURL other than http:// and https:// without a login in it")
    directory = source.get("directory") or {}
    include, exclude = directory.get("include") or "", directory.get("exclude") or ""
    path = "/".join(part for part in source["path"].split("/") if part not in ("", "."))
    revision = source.get("targetRevision") or "HEAD"
    return Source(
        source["repoURL"], revision, path, include, exclude, bool(directory.get("recurse")), "directory" in source
    )


def _policy(given: Object) -> Policy:
    sync = given.get("syncPolicy") or {}
    automated = sync.get("automated")
    flags = automated or {}
    on = automated is not None and flags.get("enabled", True) is not False
    # Without `retry` Argo CD makes five more attempts.
    retry: Object = {"limit": 5} if sync.get("retry") is None else sync["retry"]
    backoff = retry.get("backoff") or {}
    return Policy(
        automated=on,
        prune=on and bool(flags.get("prune")),
        heal=on and bool(flags.get("selfHeal")),
        empty=on and bool(flags.get("allowEmpty")),
        limit=int(retry.get("limit") or 0),
        pause=duration(str(backoff.get("duration") or "5s")),
        factor=float(backoff.get("factor") or 2),
        longest=duration(str(backoff.get("maxDuration") or "3m")),
        history=int(given.get("revisionHistoryLimit", 10)),
    )


def repository(url: str) -> str:
    """A repository's address as it is compared."""
    return url.strip().lower().rstrip("/").removesuffix(".git")


def permitted(app: Spec, project: Object | None) -> None:
    """Raises ConditionError where the project does not let an application be."""
    if project is None:
        raise ConditionError(INVALID, f"Application referencing project {app.project} which does not exist")
    rules = project.get("spec") or {}
    if set(rules) - PROJECT:
        raise refused(f"{', '.join(sorted(set(rules) - PROJECT))} of project {app.project}")
    allowed = False
    for pattern in rules.get("sourceRepos") or []:
        shut = pattern.startswith("!")
        if glob(repository(pattern.removeprefix("!")), repository(app.source.url)):
            if shut:
                allowed = False
                break
            allowed = True
    if not allowed:
        text = f"application repo {app.source.url} is not permitted in project '{app.project}'"
        raise ConditionError(INVALID, text)
    if not destined(rules, app.namespace):
        text = f"application destination server '{SERVER}' and namespace '{app.namespace}' do not match any of the"
        raise ConditionError(INVALID, f"{text} allowed destinations in project '{app.project}'")


def _matches(pattern: str, text: str) -> bool:
    return not glob(pattern[1:], text) if pattern.startswith("!") else glob(pattern, text)


def destined(rules: Object, namespace: str) -> bool:
    """Whether a project's applications may be in a namespace: by one entry, and against none that begins with `!`."""
    found = False
    for entry in rules.get("destinations") or []:
        given = {SERVER: entry.get("server") or "", CLUSTER: entry.get("name") or ""}
        here = any(pattern and _matches(pattern, name) for name, pattern in given.items())
        space = entry.get("namespace") or ""
        if here and _matches(space, namespace):
            found = True
        elif (here and space.startswith("!")) or any(
            pattern.startswith("!") and not _matches(pattern, name) and _matches(space, namespace)
            for name, pattern in given.items()
        ):
            return False
    return found


def _listed(entries: Iterable[Object] | None, group: str, kind: str) -> bool:
    strange = {key for entry in entries or [] for key in entry} - {"group", "kind"}
    if strange:
        raise refused(f"{', '.join(sorted(strange))} of a project's resources")
    return any(glob(entry.get("group") or "", group) and glob(entry["kind"], kind) for entry in entries or [])


def kind_permitted(rules: Object, group: str, kind: str, *, namespaced: bool) -> bool:
    """Whether a project's applications may have objects of a kind."""
    if not namespaced:
        shut = _listed(rules.get("clusterResourceBlacklist"), group, kind)
        return _listed(rules.get("clusterResourceWhitelist"), group, kind) and not shut
    white = rules.get("namespaceResourceWhitelist")
    return (white is None or _listed(white, group, kind)) and not _listed(
        rules.get("namespaceResourceBlacklist"), group, kind
    )
