"""From a commit to production, for real: training, build, gate, canary, approval; and what must stop on the way."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from apps.delivery.gate import Part, Test
from mlops.monitoring import dashboards
from rehearsal.images.oci import MANIFEST
from rehearsal.outside.repository import Repository, example
from rehearsal.outside.workflows import SPACE, Status, Workflows, output, steps
from tests.rehearsal.cluster import until
from tests.rehearsal.delivery import CANARY, ENVIRONMENTS, PRODUCTION, STAGING, Delivery
from tests.rehearsal.images import Registry
from tests.rehearsal.models import weights
from tests.rehearsal.services import Platform

MODEL = "GourmetGramFood11Model"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Pipeline:
    """The pipeline as its users start it, the model's repository as they push it, and what they see of both."""

    delivery: Delivery
    repository: Repository
    workflows: Workflows

    def run(self, template: str, **parameters: str) -> Status:
        """A workflow from its start to its end."""
        began, name = time.monotonic(), self.workflows.start(template, **parameters)
        status = self.workflows.wait(name)
        print(f"{name}: {status['phase']} after {time.monotonic() - began:.0f} s: {said(status)}")
        return status

    def aliases(self) -> dict[str, str]:
        with self.delivery.platform.mlflow() as client:
            return dict(client.get_registered_model(MODEL).aliases)

    def tags(self, version: str) -> dict[str, str]:
        with self.delivery.platform.mlflow() as client:
            return dict(client.get_model_version(MODEL, version).tags)


def said(status: Status) -> list[str]:
    """How each step ended."""
    return [f"{step.get('displayName')}: {step['phase']} {step.get('message', '')}".strip() for step in steps(status)]


@pytest.fixture(scope="module")
def pipeline(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The example's repository on the stack's Git server."""
    repository = example(platform, tmp_path_factory.mktemp("model") / "work")
    return Pipeline(Delivery(platform, {}), repository, Workflows(platform.kubectl))


@pytest.fixture(scope="module")
def first(pipeline: Pipeline) -> Status:
    """The run of a good revision."""
    return pipeline.run("pipeline", revision="main", who="ada", why="the first model")


def test_a_good_revision_is_trained_built_tested_and_served_in_staging_and_canary(
    pipeline: Pipeline, first: Status
) -> None:
    """One command: everything else follows."""
    assert first["phase"] == "Succeeded", said(first)
    release = json.loads(output(first, "release"))
    assert release["revision"] == pipeline.repository.commits["main"]
    for name in (STAGING, CANARY):
        pipeline.delivery.wait(name, release["version"])


def agreed(pipeline: Pipeline, environment: str, release: dict[str, Any]) -> None:
    """What is served, what Git says, and what the cluster runs: one and the same."""
    delivery = pipeline.delivery
    delivery.wait(environment, release["version"])
    assert pipeline.repository.said(f"environments/{environment}/release.json")["release"] == release
    pods = delivery.kubectl.get("deployment", "application", "-n", environment)["spec"]["template"]["spec"]
    assert pods["containers"][0]["image"].endswith(f"@{release['digest']}")


def test_a_persons_approval_takes_it_to_production_and_the_aliases_follow(pipeline: Pipeline, first: Status) -> None:
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


def test_prometheus_asks_what_runs_in_every_environment(pipeline: Pipeline, first: Status) -> None:
    """Drift and the dashboard of models are made of it."""
    assert first["phase"] == "Succeeded"

    def asked() -> bool:
        found = pipeline.delivery.platform.query('count by (namespace) (up{job="models"} == 1)')
        return {entry["metric"]["namespace"] for entry in found} >= set(ENVIRONMENTS)

    until("Prometheus to ask every environment", asked, 90, 3)


QUIET = ("Alerts that fire", "Restarts in an hour")
"""Panels that are empty where all is well."""


def test_every_panel_of_the_dashboards_shows_something(pipeline: Pipeline, first: Status) -> None:
    """A metric of another name is an empty graph, which looks like a quiet day."""
    assert first["phase"] == "Succeeded"
    panels = [panel for board in dashboards.ALL for panel in board.panels if panel.title not in QUIET]

    def full() -> bool:
        empty = [panel.title for panel in panels if not pipeline.delivery.platform.query(panel.query)]
        assert not empty, empty
        return True

    until("every panel to have series", full, 90, 3)


def attested(platform: Platform, repository: str, digest: str) -> dict[str, Any]:
    """What is attested of an image, beside it in its index: type of the predicate to the predicate."""
    session, where = platform.session(), "registry/registry-pull-login"
    session.auth = (platform.secret(where, "username"), platform.secret(where, "password"))
    registry = Registry(session, platform.url("registry"))

    def get(path: str) -> Any:
        answer = registry.ask("GET", f"/v2/{repository}/{path}", headers={"Accept": f"{INDEX}, {MANIFEST}"})
        answer.raise_for_status()
        return json.loads(answer.content)

    [kept] = [
        entry["digest"]
        for entry in get(f"manifests/{digest}")["manifests"]
        if entry.get("annotations", {}).get("vnd.docker.reference.type") == "attestation-manifest"
    ]
    statements = [get(f"blobs/{layer['digest']}") for layer in get(f"manifests/{kept}")["layers"]]
    return {statement["predicateType"]: statement["predicate"] for statement in statements}


def test_an_image_says_how_it_was_made_and_what_is_in_it(pipeline: Pipeline, first: Status) -> None:
    """The digest that runs is that of an index, which holds both beside the image."""
    release = json.loads(output(first, "release"))
    found = attested(pipeline.delivery.platform, f"models/{MODEL.lower()}", release["digest"])
    assert [kind for kind in found if kind.startswith("https://slsa.dev/provenance/")]
    packages = {package["name"] for package in found["https://spdx.dev/Document"]["packages"]}
    assert {"mlflow", "python3"} <= packages, sorted(packages)


FAULTS = {"bad-arch": Part.INTEGRATION, "bad-size": Part.RESOURCES, "slow": Part.LOAD}
"""Revision to the part of the gate that sees that it is bad."""


@pytest.mark.long  # three minutes each; what the gate does with each fault is in the unit tests, too
@pytest.mark.parametrize("revision", FAULTS)
def test_a_bad_revision_fails_its_part_of_the_gate_and_leaves_the_rest_alone(
    pipeline: Pipeline, first: Status, revision: str
) -> None:
    """Staging is back on the last good release, production never left it, and the evidence is kept."""
    good, before = json.loads(output(first, "release")), pipeline.aliases()
    ended = pipeline.run("pipeline", revision=revision, who="ada", why="a mistake")
    assert ended["phase"] == "Failed", said(ended)
    bad = json.loads(output(ended, "release"))
    assert bad["revision"] == pipeline.repository.commits[revision]
    for name in (STAGING, PRODUCTION):
        agreed(pipeline, name, good)
    assert pipeline.aliases() == {**before, "development": bad["version"]}, "the newest that was built"
    verdicts = pipeline.repository.said(f"evidence/{bad['run']}.json")["decision"]["verdicts"]
    # In the gate's order: whoever is killed for want of memory does not answer either.
    failed = [Test(verdict["test"]).part for verdict in verdicts if verdict["outcome"] == "failed"]
    assert failed[0] == FAULTS[revision], verdicts
    assert pipeline.tags(bad["version"])["leasehold.gate"] == "failed"


@pytest.mark.parametrize(
    ("revision", "cause"),
    [
        ("no-base", "models/nobody:1"),
        pytest.param("no-dockerfile", "failed to read dockerfile", marks=pytest.mark.long),
        pytest.param("main", "unauthorized", marks=pytest.mark.long),
    ],
)
def test_a_build_that_fails_says_why_and_changes_no_release(
    pipeline: Pipeline, first: Status, revision: str, cause: str
) -> None:
    """No Dockerfile, no image to begin with, and a registry that refuses."""
    kubectl, before = pipeline.delivery.kubectl, pipeline.repository.said("pipeline.json")
    training = json.loads(output(first, "training")) | {"revision": pipeline.repository.commits[revision]}
    login = ("secret", "registry-push", "-n", SPACE)
    kept = kubectl.get(*login)["data"]
    if cause == "unauthorized":
        wrong = base64.b64decode(kept[".dockerconfigjson"]).decode()
        auths = json.loads(wrong)["auths"]
        stranger = base64.b64encode(b"push:wrong").decode()
        refused = json.dumps({"auths": {host: {"auth": stranger} for host in auths}})
        kubectl.run("patch", *login, "-p", json.dumps({"stringData": {".dockerconfigjson": refused}}))
    try:
        name = pipeline.workflows.start("build-container-image", training=json.dumps(training))
        ended = pipeline.workflows.wait(name)
    finally:
        kubectl.run("patch", *login, "-p", json.dumps({"data": kept}))
    assert ended["phase"] == "Failed", said(ended)
    for where in (pipeline.workflows.log(name), str(said(ended))):
        assert cause in where.lower(), where[-3000:]
    assert pipeline.repository.said("pipeline.json") == before


@pytest.mark.long
def test_a_model_whose_bytes_were_changed_in_the_store_is_not_built(pipeline: Pipeline, first: Status) -> None:
    """Hostile input: another network in place of the one that was tested, by somebody who may write artifacts."""
    platform, training = pipeline.delivery.platform, json.loads(output(first, "training"))
    before = pipeline.repository.said("pipeline.json")
    with platform.mlflow() as client:
        source = client.get_model_version(MODEL, training["model_version"]).source
        made = client.get_logged_model(source.rpartition("/")[2])
    path = made.artifact_location.partition(":/")[2]
    url = f"{platform.url('mlflow')}/api/2.0/mlflow-artifacts/artifacts/{path}/artifacts/weights.npz"
    with platform.session("mlflow") as session:
        kept = session.get(url).content
        session.put(url, data=weights(13.0)).raise_for_status()
        try:
            name = pipeline.workflows.start("build-container-image", training=json.dumps(training))
            ended = pipeline.workflows.wait(name)
        finally:
            session.put(url, data=kept).raise_for_status()
    assert ended["phase"] == "Failed", said(ended)
    log = pipeline.workflows.log(name, "fetch")
    assert training["sha256"] in log, log[-3000:]
    assert "Traceback" not in log
    assert pipeline.repository.said("pipeline.json") == before
    platform.alerted("WorkflowFailed", namespace=SPACE)


@pytest.mark.long
def test_an_approval_that_was_given_for_another_run_changes_nothing(pipeline: Pipeline, first: Status) -> None:
    """Whoever recorded one cannot use it for what somebody else has tested."""
    release, before = json.loads(output(first, "release")), pipeline.repository.said("pipeline.json")
    words = {"digest": release["digest"], "run": "pipeline-1", "who": "mallory", "why": "looks good"}
    ended = pipeline.run("promote-model", **words)
    assert ended["phase"] == "Failed", said(ended)
    assert pipeline.repository.said("pipeline.json") == before
    pipeline.delivery.platform.alerted("PromotionFailed", name="promote-model")


def test_what_runs_belongs_to_git_and_a_preview_shows_no_change(pipeline: Pipeline, first: Status) -> None:
    """After promotions, reverts and pipelines, too."""
    del first
    again = pipeline.delivery.platform.stack.run("preview")
    assert again.count("create") == again.count("update") == again.count("delete") == again.count("replace") == 0
