"""The only reader of Pulumi's configuration."""

import difflib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from config.apps import SOURCE_TOKEN, Apps
from config.charts import Charts
from config.cluster import (
    KUBECONFIG,
    SNAPSHOT_ACCESS_KEY,
    SNAPSHOT_SECRET_KEY,
    TAILSCALE_KEY,
    ClusterBase,
    ExistingCluster,
    K3sCluster,
)
from config.environment import Environment
from config.fields import PROJECT
from config.infra import PRIVATE_KEY, HostsInfra
from config.platform import (
    BACKUP_ACCESS_KEY,
    BACKUP_SECRET_KEY,
    COMMENT_URL,
    GIT_TOKEN,
    SSO_CLIENT_SECRET,
    STORE_ACCESS_KEY,
    STORE_SECRET_KEY,
    SUMMARY_API_KEY,
    ExternalStore,
    Platform,
)
from config.problems import BadEnvironment, Problem, Rule, validate

SECRETS = {
    PRIVATE_KEY: "login key for `infra.kind: hosts`, OpenSSH text",
    KUBECONFIG: "kubeconfig for `cluster.kind: existing`",
    TAILSCALE_KEY: "auth key of Tailscale, reusable and tagged, for `cluster.vpn`",
    SNAPSHOT_ACCESS_KEY: "access key of `cluster.snapshots.s3`",
    SNAPSHOT_SECRET_KEY: "secret key of `cluster.snapshots.s3`",
    STORE_ACCESS_KEY: "access key of `platform.object_store` of kind external",
    STORE_SECRET_KEY: "its secret key",
    BACKUP_ACCESS_KEY: "access key of `platform.backups.store`",
    BACKUP_SECRET_KEY: "its secret key",
    SSO_CLIENT_SECRET: "client secret of `platform.ingress.sso`",
    SUMMARY_API_KEY: "key of `platform.monitoring.summaries`, where it wants one",
    SOURCE_TOKEN: "token of `apps.source`, where it names a user",
    GIT_TOKEN: "token of the repositories of `platform.argo` that name a user",
    COMMENT_URL: "webhook that gets the digests of alerts, where a team wants them, such as a chat's",
}
"""Keys that hold a secret text, and what it is."""


@dataclass(frozen=True)
class Secrets:
    """Secret texts of the configuration; None for those that the environment does not need."""

    private_key: pulumi.Output[str] | None = None
    """Login key for machines that exist already."""
    kubeconfig: pulumi.Output[str] | None = None
    """Of a cluster that exists already."""
    tailscale_auth_key: pulumi.Output[str] | None = None
    snapshot_access_key: pulumi.Output[str] | None = None
    snapshot_secret_key: pulumi.Output[str] | None = None
    object_store_access_key: pulumi.Output[str] | None = None
    object_store_secret_key: pulumi.Output[str] | None = None
    backup_access_key: pulumi.Output[str] | None = None
    backup_secret_key: pulumi.Output[str] | None = None
    sso_client_secret: pulumi.Output[str] | None = None
    summary_api_key: pulumi.Output[str] | None = None
    comment_url: pulumi.Output[str] | None = None
    git_token: pulumi.Output[str] | None = None
    source_token: pulumi.Output[str] | None = None


@dataclass(frozen=True)
class Settings:
    """What the program is built from."""

    environment: Environment
    stack: str
    secrets: Secrets = Secrets()


@dataclass(frozen=True)
class _Need:
    """A secret that an environment needs: given as text, or by a file."""

    secret: str
    field: str = ""
    """Key of the file's path; "": there is none."""
    file: Path | None = None
    why: str = ""


def load(rules: Sequence[Rule] = ()) -> Settings:
    """Read the stack's configuration, check every rule and freeze it.

    Raises BadEnvironment with every problem found.
    """
    config = pulumi.Config(PROJECT)
    raw = {name: _value(text) for name in Environment.model_fields if (text := config.get(name)) is not None}
    environment, problems = validate(raw, rules)
    needs = list(_needs(environment)) if environment else []
    problems += [*_stray_keys(), *(problem for need in needs for problem in _secret_problems(need))]
    problems += _chart_problems(environment.charts) if environment else []
    if environment is None or problems:
        raise BadEnvironment(problems)
    found = {need.secret.removeprefix("ssh_"): _secret(need) for need in needs}
    return Settings(environment, pulumi.get_stack(), Secrets(**found))


def _value(text: str) -> Any:
    """Pulumi hands objects over as JSON, and plain text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _stray_keys() -> Iterator[Problem]:
    """Top-level keys of ours that nothing reads: Pulumi itself says nothing of them."""
    known = [*Environment.model_fields, *SECRETS]
    for key in {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}:
        namespace, _, name = key.partition(":")
        if namespace == PROJECT and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield Problem(name, "(set)", "unknown key", f"did you mean {near[0]}?" if near else "remove it")


def _needs(environment: Environment) -> Iterator[_Need]:
    """The secrets without which this environment cannot be built."""
    infra, cluster = environment.infra, environment.cluster
    if isinstance(infra, HostsInfra):
        yield _Need(PRIVATE_KEY, "infra.private_key_file", infra.private_key_file, "infra.kind hosts needs a login key")
    if isinstance(cluster, ExistingCluster):
        why = "cluster.kind existing needs a kubeconfig"
        yield _Need(KUBECONFIG, "cluster.kubeconfig_file", cluster.kubeconfig_file, why)
    if isinstance(cluster, ClusterBase) and cluster.vpn:
        yield _Need(TAILSCALE_KEY, why="cluster.vpn needs an auth key")
    if isinstance(cluster, K3sCluster) and cluster.snapshots.s3:
        for name in (SNAPSHOT_ACCESS_KEY, SNAPSHOT_SECRET_KEY):
            yield _Need(name, why="cluster.snapshots.s3 needs the bucket's keys")
    if environment.platform is not None:
        yield from _platform_needs(environment.platform)
    if environment.apps is not None:
        yield from _apps_needs(environment.apps)


def _apps_needs(apps: Apps) -> Iterator[_Need]:
    if apps.source.url and apps.source.user:
        yield _Need(SOURCE_TOKEN, why="apps.source names a user")


def _platform_needs(platform: Platform) -> Iterator[_Need]:
    if isinstance(platform.object_store, ExternalStore) and platform.object_store.enabled:
        for name in (STORE_ACCESS_KEY, STORE_SECRET_KEY):
            yield _Need(name, why="platform.object_store of kind external needs its keys")
    if platform.backups.store:
        for name in (BACKUP_ACCESS_KEY, BACKUP_SECRET_KEY):
            yield _Need(name, why="platform.backups.store needs the bucket's keys")
    if platform.ingress.sso:
        yield _Need(SSO_CLIENT_SECRET, why="platform.ingress.sso needs the client's secret")
    if platform.argo.cd and any(repository.user for repository in platform.argo.repositories.values()):
        yield _Need(GIT_TOKEN, why="a repository of platform.argo names a user")
    given = pulumi.Config(PROJECT)
    for name in (SUMMARY_API_KEY, COMMENT_URL):
        if given.get(name) is not None:
            yield _Need(name, why="optional")


def _secret_problems(need: _Need) -> Iterator[Problem]:
    """A secret is there, and it is stored as one."""
    run = f"run: pulumi config set --secret {need.secret} < FILE"
    if need.file is not None:
        if not os.access(need.file.expanduser(), os.R_OK) or need.file.expanduser().is_dir():
            yield Problem(
                need.field, str(need.file), "not a readable file", "give the path of a file that you may read"
            )
    elif pulumi.Config(PROJECT).get(need.secret) is None:
        yield Problem(need.secret, "(missing)", need.why, f"set {need.field}, or {run}" if need.field else run)
    elif not pulumi.runtime.config.is_config_secret(f"{PROJECT}:{need.secret}"):
        yield Problem(need.secret, "[withheld]", "a secret is never stored in clear", run)


def _chart_problems(charts: Charts) -> Iterator[Problem]:
    """The packages of a mirror's folder are those that somebody looked at."""
    if charts.digests and charts.folder is None:
        remedy = "give a folder as charts.mirror, or leave the digests out"
        yield Problem("charts.digests", "(set)", "digests are of packages in a folder", remedy)
    for file, found in charts.changed():
        rule = "the package in charts.mirror is another one, or none"
        yield Problem(f"charts.digests.{file}", found, rule, "fetch it anew from its publisher, or give its new digest")


def _secret(need: _Need) -> pulumi.Output[str]:
    if need.file is None:
        return pulumi.Config(PROJECT).require_secret(need.secret)
    return pulumi.Output.secret(need.file.expanduser().read_text())
