"""Charts and Argo CD's applications: where they come from, and how they end."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from .model import Resource, each
from .values import UNKNOWN, Unknown, absent, at, items, number, walk

EXACT = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
COMMIT = re.compile(r"[0-9a-f]{40}|v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")
LONGEST = 1800
"""Seconds that a release may take."""
MOST_HISTORY = 10
RELEASES = "/releases.git"
"""The stack's own repository of releases, where every change is a commit that the gate let through."""
INSIDE = (".svc", ".svc.cluster.local", "localhost", "127.0.0.1", "kubernetes.default")
SOURCES = {"repo", "repoURL", "chart", "url", "source", "sourceRepos"}


@each("pin the chart's version in versions.py")
def chart_has_a_version(resource: Resource) -> Iterator[str]:
    """A chart is one exact version."""
    version = resource.at("version")
    if resource.named("Release") and version is not UNKNOWN and not EXACT.fullmatch(str(version)):
        yield f"version is {version}"


@each("set timeout, in seconds")
def release_is_bounded(resource: Resource) -> Iterator[str]:
    """A release that does not come up fails within half an hour."""
    seconds = number(resource.at("timeout"))
    if resource.named("Release") and resource.at("timeout") is not UNKNOWN and not (seconds and seconds <= LONGEST):
        yield "timeout is missing, or longer"


@each("set skip_await to false")
def release_is_awaited(resource: Resource) -> Iterator[str]:
    """A release is done when its pods are ready."""
    if resource.named("Release") and resource.at("skipAwait") is True:
        yield "skipAwait is true"


@each("set atomic, cleanup_on_fail or replace")
def release_can_be_repeated(resource: Resource) -> Iterator[str]:
    """A release that failed half-way does not block the next attempt."""
    ways = [resource.at(key) for key in ("atomic", "cleanupOnFail", "replace")]
    if resource.named("Release") and True not in ways and UNKNOWN not in ways:
        yield "neither atomic, cleanupOnFail nor replace"


@each(f"set max_history to {MOST_HISTORY} or less")
def release_history_is_bounded(resource: Resource) -> Iterator[str]:
    """Helm keeps some revisions of a release, not all."""
    kept = number(resource.at("maxHistory"))
    if resource.named("Release") and resource.at("maxHistory") is not UNKNOWN and not (kept and kept <= MOST_HISTORY):
        yield "maxHistory is missing, or higher"


@each("leave it to false")
def release_renders_alike(resource: Resource) -> Iterator[str]:
    """A chart's templates and hooks are checked and run as they are."""
    if resource.named("Release"):
        for key in ("disableOpenapiValidation", "disableWebhooks", "disableCrdHooks", "forceUpdate"):
            if resource.at(key) is True:
                yield f"{key} is true"


@each("set syncPolicy.automated.prune and .selfHeal")
def application_follows_git(resource: Resource) -> Iterator[str]:
    """What runs is what Git says: what is gone there goes, and what was changed by hand is put back."""
    if resource.named("Application"):
        automated = resource.at("spec", "syncPolicy", "automated")
        for key in ("prune", "selfHeal"):
            if automated is not UNKNOWN and at(automated, key) not in (True, UNKNOWN):
                yield f"spec.syncPolicy.automated.{key} is not true"


@each("name a commit or a version")
def application_has_a_revision(resource: Resource) -> Iterator[str]:
    """An application outside the repository of releases is one commit, or one version."""
    if resource.named("Application"):
        for source in (resource.at("spec", "source"), *items(resource.at("spec", "sources"))):
            where, revision = at(source, "repoURL"), at(source, "targetRevision")
            if absent(source) or UNKNOWN in (source, where, revision) or str(where).endswith(RELEASES):
                continue
            if not COMMIT.fullmatch(str(revision)):
                yield f"targetRevision is {revision}"


@each("make a project for it")
def application_has_a_project(resource: Resource) -> Iterator[str]:
    """An application has the rights of a project of its own, not of Argo CD's `default`."""
    if resource.named("Application") and resource.at("spec", "project") in (None, "", "default"):
        yield "spec.project is default"


@each("list the repositories and the kinds")
def project_names_its_sources(resource: Resource) -> Iterator[str]:
    """A project of Argo CD names its repositories, and nothing of the whole cluster by a wildcard."""
    if resource.named("AppProject", "AppProjectPatch"):
        if "*" in items(resource.at("spec", "sourceRepos")):
            yield "spec.sourceRepos has *"
        for kind in items(resource.at("spec", "clusterResourceWhitelist")):
            if at(kind, "kind") == "*":
                yield "spec.clusterResourceWhitelist has *"


@each("use https")
def source_over_tls(resource: Resource) -> Iterator[str]:
    """What comes from outside the cluster comes over TLS: charts, repositories, backends."""
    if resource.named("CustomResourceDefinition"):
        return
    for node in walk(resource.inputs):
        if isinstance(node.value, Unknown) or not (node.key in SOURCES and isinstance(node.value, str)):
            continue
        parts = urlsplit(node.value) if node.value.startswith(("http://", "git://", "ftp://")) else None
        if parts is not None and not (parts.hostname or "").endswith(INSIDE):
            yield f"{node.place} is {parts.scheme}://{parts.hostname}"
