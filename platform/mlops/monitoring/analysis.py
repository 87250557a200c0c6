"""The workflow that alerts start: it reads what the cluster knows of a broken pod, and makes a report of it.

Each step has an account of its own kind: the one that reads pods reaches nothing outside, and those that reach
something outside read no pods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import ConfigMap, ServiceAccount
from pulumi_kubernetes.networking.v1 import NetworkPolicy
from pulumi_kubernetes.rbac.v1 import ClusterRole, ClusterRoleBinding

from cluster import peers
from config import Platform, Summaries
from mlops import credentials
from mlops.argo import accounts
from mlops.base import Base
from mlops.flows import port_of
from mlops.pods import hardened
from versions import PYTHON

SPACE = accounts.SPACE
NAME = "log-analysis"
"""Of the WorkflowTemplate, and of what belongs to it."""
PARAMETER = "alerts"
"""Parameter of the template: Alertmanager's message, as JSON text."""
OUTSIDE = {"leasehold/reaches": "outside"}
"""Label of the pods that may reach the language model, or where comments go."""
RESULT = "/out/result"
ROOT = "/srv"
FOLDER = f"{ROOT}/mlops/monitoring/scripts"
"""Where the scripts are in a pod, so that they find each other by the names that they have here."""
NOBODY = 65534


@dataclass(frozen=True)
class LogAnalysisArgs:
    """What the log analysis needs."""

    base: Base
    release: pulumi.Resource
    """Argo Workflows: it brings the kind of the template."""


def scripts() -> dict[str, str]:
    """File name to text of what the steps run."""
    folder = Path(__file__).parent / "scripts"
    return {name: (folder / name).read_text() for name in ("cluster_api.py", "log_analysis.py")}


def reading() -> list[dict[str, Any]]:
    """What the collecting step may do in every namespace: read pods, their events and logs. No Secrets."""
    return [
        {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]


def _container(image: str, step: str, environment: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "image": image,
        "command": ["python3", f"{FOLDER}/log_analysis.py", step, RESULT],
        "env": [
            {"name": "PYTHONPATH", "value": ROOT},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
            {"name": "INPUT", "value": "{{inputs.parameters.input}}"},
            *environment,
        ],
        "volumeMounts": [{"name": "scripts", "mountPath": FOLDER}, {"name": "out", "mountPath": "/out"}],
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": hardened(),
    }


def _step(name: str, container: dict[str, Any], **more: Any) -> dict[str, Any]:
    result = {"name": "result", "valueFrom": {"path": RESULT}}
    return {
        "name": name,
        "inputs": {"parameters": [{"name": "input"}]},
        "outputs": {"parameters": [result]},
        "container": container,
        **more,
    }


def _secret(name: str, key: str) -> dict[str, Any]:
    # A language model of one's own may want no key.
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": NAME, "key": key, "optional": True}}}


def template(image: str, summaries: Summaries | None, *, comments: bool) -> dict[str, Any]:
    """The spec of the WorkflowTemplate: collect, report, and comment where somebody wants it."""
    model = (
        [{"name": "ENDPOINT", "value": summaries.endpoint}, {"name": "MODEL", "value": summaries.model}]
        if summaries
        else []
    )
    again = {"retryStrategy": {"limit": "2", "retryPolicy": "Always", "backoff": {"duration": "10s", "factor": "2"}}}
    talks = {"metadata": {"labels": OUTSIDE}}
    # The report is kept where artifacts are, for as long as the bucket keeps them.
    kept = {"name": "report", "path": RESULT, "archive": {"none": {}}}
    report = _step(
        "report",
        _container(image, "report", [*model, _secret("API_KEY", "api-key")] if summaries else []),
        **(talks if summaries else {}),
    )
    report["outputs"]["artifacts"] = [kept]
    steps = [("collect", "{{workflow.parameters.alerts}}"), ("report", "{{steps.collect.outputs.parameters.result}}")]
    templates = [
        # The one step whose program gets a token of the API.
        _step(
            "collect",
            _container(image, "collect", []),
            serviceAccountName=NAME,
            automountServiceAccountToken=True,
            **again,
        ),
        report,
    ]
    if comments:
        steps.append(("comment", "{{steps.report.outputs.parameters.result}}"))
        sent = _container(image, "comment", [_secret("COMMENT_URL", "comment-url")])
        templates.append(_step("comment", sent, **talks, **again))
    story = [
        [{"name": step, "template": step, "arguments": {"parameters": [{"name": "input", "value": given}]}}]
        for step, given in steps
    ]
    return {
        "entrypoint": "analysis",
        "serviceAccountName": accounts.EXECUTOR,
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": accounts.EXECUTOR},
        "arguments": {"parameters": [{"name": PARAMETER}]},
        "activeDeadlineSeconds": 900,
        "ttlStrategy": {"secondsAfterCompletion": 24 * 3600},
        "podGC": {"strategy": "OnWorkflowSuccess"},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [
            {"name": "scripts", "configMap": {"name": NAME}},
            {"name": "out", "emptyDir": {"sizeLimit": "16Mi"}},
        ],
        "templates": [{"name": "analysis", "steps": story}, *templates],
    }


def outside(ports: Sequence[int]) -> dict[str, Any]:
    """The spec of the policy that lets the steps out that need it: to these ports, never to the metadata service."""
    return {
        "podSelector": {"matchLabels": OUTSIDE},
        "policyTypes": ["Egress"],
        "egress": [{"to": [peers.address()], "ports": peers.ports(sorted(set(ports)))}],
    }


class LogAnalysis(pulumi.ComponentResource):
    """The WorkflowTemplate with its accounts; made when alerts may start it."""

    def __init__(self, name: str, args: LogAnalysisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make it; `opts` gives the provider."""
        super().__init__("leasehold:platform:LogAnalysis", name, None, opts)
        self._base = args.base
        base, summaries = args.base, args.base.config.monitoring.summaries
        comments = base.secrets.comment_url
        metadata = {"name": NAME, "namespace": base.spaces[SPACE]}
        ConfigMap(f"{name}-scripts", metadata=metadata, data=scripts(), opts=base.under(self))
        self._account(name, metadata)
        known = {"api-key": base.secrets.summary_api_key if summaries else None, "comment-url": comments}
        data: dict[str, pulumi.Input[str]] = {key: value for key, value in known.items() if value is not None}
        if data:
            credentials.secret(base, NAME, SPACE, data, self)
        if summaries or comments is not None:
            self._outside(name, metadata, base.config, comments)
        CustomResource(
            name,
            api_version="argoproj.io/v1alpha1",
            kind="WorkflowTemplate",
            metadata=metadata,
            spec=template(base.images.reference(PYTHON), summaries, comments=comments is not None),
            # The release brings the kind.
            opts=base.under(self, [args.release]),
        )
        self.register_outputs({})

    def _account(self, name: str, metadata: dict[str, Any]) -> None:
        """Who collects: it reads pods everywhere. The executor beside it says with its own token how it ended."""
        under, everywhere = self._base.under(self), f"leasehold-{NAME}"
        ServiceAccount(f"{name}-account", metadata=metadata, automount_service_account_token=True, opts=under)
        ClusterRole(f"{name}-reading", metadata={"name": everywhere}, rules=reading(), opts=under)
        group = "rbac.authorization.k8s.io"
        subjects = [{"kind": "ServiceAccount", **metadata}]
        ClusterRoleBinding(
            f"{name}-reading",
            metadata={"name": everywhere},
            role_ref={"api_group": group, "kind": "ClusterRole", "name": everywhere},
            subjects=subjects,
            opts=under,
        )

    def _outside(
        self, name: str, metadata: dict[str, Any], config: Platform, comments: pulumi.Output[str] | None
    ) -> None:
        summaries = config.monitoring.summaries
        fixed = [port_of(summaries.endpoint)] if summaries else []
        # A port tells nothing of the secret that is in the URL's path.
        asked = pulumi.Output.unsecret(comments.apply(port_of)) if comments is not None else None
        spec = asked.apply(lambda number: outside([*fixed, number])) if asked is not None else outside(fixed)
        NetworkPolicy(f"{name}-outside", metadata=metadata, spec=spec, opts=self._base.under(self))
