"""What GitHub tells of a repository: each commit that a branch gets starts one workflow. Pure specs.

GitHub signs what it sends with a secret that both know. No account at GitHub is needed, so whoever owns the repository
enters the webhook there: its URL, the secret, the content type application/json, and pushes only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from mlops.argo.accounts import TRIGGER
from mlops.argo.events import API_VERSION, BUS, PORT, SOURCE, template

OBJECT = "github"
"""Name of the source and of the sensor, and path of the webhook."""
PUSH = "push"
PATH = f"/{OBJECT}"
KEY = "secret"
"""Of the Secret with what both know."""
LARGEST = 2 << 20
"""Bytes of an event. GitHub tells of many commits at once, with the names of their files."""
SHOWN = 12
"""Digits of a commit in the name of its workflow."""
COMMIT = "^([0-9a-f]{40}|[0-9a-f]{64})$"


@dataclass(frozen=True)
class Watched:
    """A branch, and what each of its commits starts."""

    repository: str
    """OWNER/NAME."""
    branch: str
    workflow: str
    """Name of a WorkflowTemplate."""
    parameter: str
    """The one that is the commit."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Other parameters."""


def source(secret: pulumi.Input[str], repository: str) -> dict[str, Any]:
    """The spec of the source. Argo Events wants a repository, though it asks GitHub for nothing without a token."""
    owner, _, name = repository.partition("/")
    if not owner or not name or "/" in name:
        raise ValueError(f"GitHub repository {repository!r}: write it as owner/name")
    return {
        "eventBusName": BUS,
        "template": template(SOURCE),
        "service": {"ports": [{"name": OBJECT, "port": PORT, "targetPort": PORT}]},
        "github": {
            PUSH: {
                "webhook": {"endpoint": PATH, "method": "POST", "port": str(PORT), "maxPayloadSize": LARGEST},
                "webhookSecret": {"name": secret, "key": KEY},
                "repositories": [{"owner": owner, "names": [name]}],
                "events": [PUSH],
                "contentType": "json",
            }
        },
    }


def filters(repository: str, branch: str) -> list[dict[str, Any]]:
    """What an event must say. Values are regular expressions, which would find a part, too: hence the two ends."""

    def equal(path: str, text: str) -> dict[str, Any]:
        return {"path": path, "type": "string", "value": [f"^{re.escape(text)}$"]}

    return [
        # Argo Events puts GitHub's header into the body.
        equal("body.X-GitHub-Event", PUSH),
        equal("body.repository.full_name", repository),
        equal("body.ref", f"refs/heads/{branch}"),
        # A branch that is deleted has no commit, but zeros.
        {"path": "body.deleted", "type": "bool", "value": ["false"]},
        {"path": "body.after", "type": "string", "value": [COMMIT]},
        {"path": "body.after", "type": "string", "comparator": "!=", "value": ["^0+$"]},
    ]


def sensor(watched: Watched, space: pulumi.Input[str]) -> dict[str, Any]:
    """The spec of the sensor: a commit is the parameter of a workflow by a template, and names it.

    What is told twice meets the workflow of the first time, for as long as that is kept: the API answers 409, the
    sensor tries it as often as its strategy says, and nothing is started.
    """
    fixed = [{"name": name, "value": value} for name, value in watched.fixed.items()]
    made = {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {"name": "", "namespace": space, "labels": {"leasehold/event": PUSH}},
        "spec": {
            "workflowTemplateRef": {"name": watched.workflow},
            "arguments": {"parameters": [{"name": watched.parameter, "value": ""}, *fixed]},
        },
    }
    named = f"{watched.workflow}-{{{{ substr 0 {SHOWN} .Input.body.after }}}}"
    parameters = [
        {"src": {"dependencyName": PUSH, "dataTemplate": named}, "dest": "metadata.name"},
        {"src": {"dependencyName": PUSH, "dataKey": "body.after"}, "dest": "spec.arguments.parameters.0.value"},
    ]
    dependency = {
        "name": PUSH,
        "eventSourceName": OBJECT,
        "eventName": PUSH,
        "filters": {"data": filters(watched.repository, watched.branch)},
    }
    return {
        "eventBusName": BUS,
        "template": template(TRIGGER),
        "dependencies": [dependency],
        "triggers": [
            {
                "template": {
                    "name": watched.workflow,
                    "k8s": {"operation": "create", "source": {"resource": made}, "parameters": parameters},
                },
                # Further commits wait in the bus.
                "rateLimit": {"unit": "Minute", "requestsPerUnit": 10},
                # A commit is not lost while the API is away for a minute. At most once, nothing would be tried again.
                "atLeastOnce": True,
                "retryStrategy": {"steps": 5, "duration": "5s", "factor": 2},
            }
        ],
    }
