"""Platforms of every form, on a cluster that exists, and their graphs: each is built once for all tests."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import config
from apps import inventory as apps_inventory
from mlops import inventory
from mlops.flows import Flow
from mlops.spaces import Space
from tests.environments import changed, complete, dev, existing
from tests.unit import graph

STORE = {"endpoint": "https://s3.example.org", "bucket": "leasehold-backups", "region": "us-east-1"}
SSO = {"issuer": "https://id.example.org", "client_id": "leasehold", "email_domains": ["example.org"]}
SUMMARIES = {"endpoint": "https://llm.example.org/v1", "model": "small"}
TARGET = {"address": "edge.example.org:9100"}

PAGE = "docker.io/leasehold/exploration:1"
"""Image of a page: an environment names its own."""
BODY = {"pixels": [0] * 64}
EXTRAS = {"load_test": {"bodies": [BODY]}, "exploration": {"image": PAGE}, "ray": {"workers": 2, "gpu": True}}
"""The applications' parts that are off by default."""

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "shipped": {},
    "apps": {"apps": {**dev()["apps"], "drift": {"hours": 12}}},
    "extras": {
        "apps": {**dev()["apps"], **EXTRAS},
        "images": {"digests": {PAGE: f"sha256:{'7' * 64}"}},
    },
    "small": {"platform.profile": "small"},
    "full": {
        "platform.postgres.instances": 3,
        "platform.object_store": {"kind": "seaweedfs"},
        "platform.ingress.tls": {"kind": "acme", "email": "ops@example.org"},
        "platform.ingress.sso": SSO,
        "platform.backups.store": STORE,
        "platform.monitoring.summaries": SUMMARIES,
        "platform.monitoring.targets": {"edge": TARGET},
        "platform.storage_class": "fast",
        "platform.egress": ["192.0.2.0/24"],
    },
    "external": {
        "platform.object_store": {"kind": "external", "endpoint": "https://s3.example.org", "prefix": "dev"},
        "platform.backups.store": {**STORE, "endpoint": "https://s3.example.net"},
    },
}
"""What each form changes in the shipped platform."""
TEXTS = {
    "kubeconfig": graph.KUBECONFIG,
    "object_store_access_key": "canary-access",
    "object_store_secret_key": "canary-secret",
    "backup_access_key": "canary-backup-access",
    "backup_secret_key": "canary-backup-secret",
    "sso_client_secret": "canary-sso",
    "summary_api_key": "canary-summary",
    "comment_url": "https://chat.example.org/canary",
}


def tree(form: str) -> dict[str, Any]:
    """The environment of a form."""
    return changed({**existing(), "platform": dev()["platform"]}, CHANGES[form])


@cache
def environment(form: str) -> config.Environment:
    """The same as a model."""
    found, problems = config.validate(complete(tree(form)), graph.RULES)
    assert found is not None, [str(problem) for problem in problems]
    return found


@cache
def platform(form: str) -> config.Platform:
    """Its section for the platform."""
    found = environment(form).platform
    assert found is not None
    return found


@cache
def recorded(form: str) -> graph.Graph:
    """Every registration of a form."""
    return graph.record(tree(form), preview=False, **TEXTS)


def spaces(form: str) -> tuple[Space, ...]:
    """The namespaces of a form."""
    apps = environment(form).apps
    return (*inventory.spaces(platform(form)), *(apps_inventory.spaces(apps) if apps else ()))


def more_flows(form: str) -> tuple[Flow, ...]:
    """The flows that the applications of a form have beside those of the platform."""
    apps = environment(form).apps
    return apps_inventory.flows(apps, platform(form)) if apps else ()
