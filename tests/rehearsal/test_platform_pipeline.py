"""From a commit to production, for real: training, build, gate, canary, approval; and what must stop on the way."""

import base64
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from apps.delivery.gate import Part, Test
from rehearsal.paths import PROJECT
from tests.rehearsal.cluster import until
from tests.rehearsal.delivery import CANARY, ENVIRONMENTS, PRODUCTION, SPACE, STAGING, Delivery, names_lead_to
from tests.rehearsal.services import Platform

EXAMPLE = PROJECT / "examples" / "model"
MODEL = "GourmetGramFood11Model"
MINUTES = 15
OVER = ("Succeeded", "Failed", "Error")
NOT_OURS = shutil.ignore_patterns("revisions", "__pycache__", ".venv", ".pytest_cache")


@dataclass
class Pipeline:
    """The pipeline as its users start it, and the model's repository as they push it."""

    delivery: Delivery
    folder: Path
    commits: dict[str, str] = field(default_factory=dict)
    """Branch to its commit."""

    def git(self, *words: str, **more: str) -> str:
        who = {f"GIT_{role}_{key}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", **who, **more}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def outside(self, *words: str, repository: str) -> None:
        """Git on a person's computer, with the URL of a repository of the stack's as its last word."""
        platform = self.delivery.platform
        user, password = platform.password("git")
        header = base64.b64encode(f"{user}:{password}".encode()).decode()
        settings = {"http.sslCAInfo": str(platform.authority), "http.extraHeader": f"Authorization: Basic {header}"}
        counted = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        with names_lead_to(platform.address) as proxy:
            self.git(*words, f"{platform.url('git')}/{repository}.git", https_proxy=proxy, **counted)

    def said(self, path: str) -> dict[str, Any]:
        """What a file of the releases repository says now."""
        self.outside("fetch", "-q", "--no-tags", repository="releases")
        found: dict[str, Any] = json.loads(self.git("show", f"FETCH_HEAD:{path}"))
        return found

    def branch(self, name: str, *files: tuple[str, str]) -> None:
        """A branch of the example with a revision laid over it, or with files changed; no text: removed."""
        self.git("switch", "-q", "-c", name, "main")
        laid = EXAMPLE / "revisions" / name
        if laid.is_dir():
            shutil.copytree(laid, self.folder, copy_function=shutil.copy, dirs_exist_ok=True)
        for file, text in files:
            if text:
                (self.folder / file).write_text(text)
            else:
                (self.folder / file).unlink()
        self.git("commit", "-qam", name)
        self.commits[name] = self.git("rev-parse", "HEAD")

    def start(self, template: str, **parameters: str) -> str:
        """A workflow of a template; its name."""
        listed = [{"name": name, "value": value} for name, value in parameters.items()]
        spec = {"workflowTemplateRef": {"name": template}, "arguments": {"parameters": listed}}
        name = f"{template}-{time.time_ns() // 1000000}"
        item = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": spec}
        self.delivery.kubectl.apply(json.dumps({**item, "metadata": {"name": name, "namespace": SPACE}}))
        return name

    def wait(self, name: str, minutes: float = MINUTES) -> dict[str, Any]:
        """Its status when it has ended."""

        def ended() -> Any:
            status = self.delivery.kubectl.get("workflow", name, "-n", SPACE).get("status") or {}
            return status if status.get("phase") in OVER else None

        began = time.monotonic()
        status: dict[str, Any] = until(f"{name} to end", ended, minutes * 60)
        print(f"{name}: {status['phase']} after {time.monotonic() - began:.0f} s: {said(status)}")
        return status

    def run(self, template: str, **parameters: str) -> dict[str, Any]:
        return self.wait(self.start(template, **parameters))

    def aliases(self) -> dict[str, str]:
        with self.delivery.platform.mlflow() as client:
            return dict(client.get_registered_model(MODEL).aliases)

    def tags(self, version: str) -> dict[str, str]:
        with self.delivery.platform.mlflow() as client:
            return dict(client.get_model_version(MODEL, version).tags)


def said(status: dict[str, Any]) -> list[str]:
    """How each step ended."""
    nodes = sorted((status.get("nodes") or {}).values(), key=lambda node: str(node.get("startedAt")))
    return [f"{node.get('displayName')}: {node['phase']} {node.get('message', '')}".strip() for node in nodes]


def output(status: dict[str, Any], name: str) -> str:
    """A parameter that some step left."""
    for node in (status.get("nodes") or {}).values():
        for entry in (node.get("outputs") or {}).get("parameters") or []:
            if entry["name"] == name:
                return str(entry["value"])
    raise AssertionError(f"no step left {name}: {said(status)}")


@pytest.fixture(scope="module")
def pipeline(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The example's repository on the stack's Git server."""
    folder = tmp_path_factory.mktemp("model") / "work"
    shutil.copytree(EXAMPLE, folder, ignore=NOT_OURS)
    made = Pipeline(Delivery(platform, {}), folder)
    made.git("init", "-q", "-b", "main")
    made.git("add", ".")
    made.git("commit", "-qm", "the example")
    made.commits["main"] = made.git("rev-parse", "HEAD")
    for name in ("good", "bad-arch", "bad-size", "slow"):
        made.branch(name)
    made.branch("no-dockerfile", ("Dockerfile", ""))
    made.branch("no-base", ("Dockerfile", "FROM registry.registry.svc/models/nobody:1\n"))
    made.outside("push", "-qf", "--all", repository="model")
    return made


@pytest.fixture(scope="module")
def first(pipeline: Pipeline) -> dict[str, Any]:
    """The run of a good revision."""
    return pipeline.run("pipeline", revision="main", who="ada", why="the first model")


def test_a_good_revision_is_trained_built_tested_and_served_in_staging_and_canary(
    pipeline: Pipeline, first: dict[str, Any]
) -> None:
    """One command: everything else follows."""
    assert first["phase"] == "Succeeded", said(first)
    release = json.loads(output(first, "release"))
    assert release["revision"] == pipeline.commits["main"]
    for name in (STAGING, CANARY):
        pipeline.delivery.wait(name, release["version"])


def agreed(pipeline: Pipeline, environment: str, release: dict[str, Any]) -> None:
    """What is served, what Git says, and what the cluster runs: one and the same."""
    delivery = pipeline.delivery
    delivery.wait(environment, release["version"])
    assert pipeline.said(f"environments/{environment}/release.json")["release"] == release
    pods = delivery.kubectl.get("deployment", "application", "-n", environment)["spec"]["template"]["spec"]
    assert pods["containers"][0]["image"].endswith(f"@{release['digest']}")


def test_a_persons_approval_takes_it_to_production_and_the_aliases_follow(
    pipeline: Pipeline, first: dict[str, Any]
) -> None:
    """Whoever asks MLflow for production gets what production serves; the version says who tested it, and where."""
    release = json.loads(output(first, "release"))
    assert pipeline.delivery.version(PRODUCTION) != release["version"]
    words = {"digest": release["digest"], "run": release["run"], "who": "grace", "why": "looks good"}
    approved = pipeline.run("promote-model", **words)
    assert approved["phase"] == "Succeeded", said(approved)
    for name in ENVIRONMENTS:
        agreed(pipeline, name, release)
    assert pipeline.aliases() == dict.fromkeys(("development", *ENVIRONMENTS), release["version"])
    tags = pipeline.tags(release["version"])
    assert (tags["leasehold.gate"], tags["leasehold.who"]) == ("passed", "ada")
    assert tags["leasehold.evidence"] == f"evidence/{release['run']}.json"


FAULTS = {"bad-arch": Part.INTEGRATION, "bad-size": Part.RESOURCES, "slow": Part.LOAD}
"""Revision to the part of the gate that sees that it is bad."""


@pytest.mark.parametrize(
    "revision", [pytest.param(name, marks=[pytest.mark.long] * (name != "bad-arch")) for name in FAULTS]
)
def test_a_bad_revision_fails_its_part_of_the_gate_and_leaves_the_rest_alone(
    pipeline: Pipeline, first: dict[str, Any], revision: str
) -> None:
    """Staging is back on the last good release, production never left it, and the evidence is kept."""
    good, before = json.loads(output(first, "release")), pipeline.aliases()
    ended = pipeline.run("pipeline", revision=revision, who="ada", why="a mistake")
    assert ended["phase"] == "Failed", said(ended)
    bad = json.loads(output(ended, "release"))
    assert bad["revision"] == pipeline.commits[revision]
    for name in (STAGING, PRODUCTION):
        agreed(pipeline, name, good)
    assert pipeline.aliases() == {**before, "development": bad["version"]}, "the newest that was built"
    verdicts = pipeline.said(f"evidence/{bad['run']}.json")["decision"]["verdicts"]
    assert {Test(v["test"]).part for v in verdicts if v["outcome"] == "failed"} == {FAULTS[revision]}, verdicts
    assert pipeline.tags(bad["version"])["leasehold.gate"] == "failed"


@pytest.mark.parametrize(
    ("revision", "cause"),
    [("no-dockerfile", "failed to read dockerfile"), ("no-base", "models/nobody:1"), ("main", "unauthorized")],
)
def test_a_build_that_fails_says_why_and_changes_no_release(
    pipeline: Pipeline, first: dict[str, Any], revision: str, cause: str
) -> None:
    """No Dockerfile, no image to begin with, and a registry that refuses."""
    kubectl, before = pipeline.delivery.kubectl, pipeline.said("pipeline.json")
    training = json.loads(output(first, "training")) | {"revision": pipeline.commits[revision]}
    login = ("secret", "registry-push", "-n", SPACE)
    kept = kubectl.get(*login)["data"]
    if cause == "unauthorized":
        wrong = base64.b64decode(kept[".dockerconfigjson"]).decode()
        auths = json.loads(wrong)["auths"]
        stranger = base64.b64encode(b"push:wrong").decode()
        refused = json.dumps({"auths": {host: {"auth": stranger} for host in auths}})
        kubectl.run("patch", *login, "-p", json.dumps({"stringData": {".dockerconfigjson": refused}}))
    try:
        name = pipeline.start("build-container-image", training=json.dumps(training))
        ended = pipeline.wait(name)
    finally:
        kubectl.run("patch", *login, "-p", json.dumps({"data": kept}))
    assert ended["phase"] == "Failed", said(ended)
    logs = kubectl.run("logs", "-n", SPACE, "-l", f"workflows.argoproj.io/workflow={name}", "-c", "main", "--tail=-1")
    assert cause in logs.lower(), logs[-3000:]
    assert pipeline.said("pipeline.json") == before


def test_what_runs_belongs_to_git_and_a_preview_shows_no_change(pipeline: Pipeline, first: dict[str, Any]) -> None:
    """After a release, too."""
    del first
    again = pipeline.delivery.platform.stack.run("preview")
    assert again.count("create") == again.count("update") == again.count("delete") == again.count("replace") == 0
