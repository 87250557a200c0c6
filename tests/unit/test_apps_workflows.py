"""The workflows of a delivery: what each step gets, in which order they run, and what the stand-in would refuse."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

import config
from apps.builds import spec as builds
from apps.delivery.steps.command import parser
from apps.workflows import pods, templates
from mlops.argo import workflows
from rehearsal.programs.argo import workflow
from tests.environments import changed, dev
from tests.unit import platforms

IMAGES = pods.Images("steps", "training", "builds", "scanner")
PASSWORDS = {"tokens", templates.REGISTRY_LOGIN, builds.CLIENT}


def wanted(**changes: Any) -> templates.Wanted:
    apps = config.Apps.model_validate(changed(dev()["apps"], changes))
    return templates.Wanted(apps, IMAGES, "delivery-package-1", "training", f"{builds.REGISTRY}/models/x")


def template(name: str, **changes: Any) -> dict[str, Any]:
    [found] = templates.alone(name)(wanted(**changes))["templates"]
    assert isinstance(found, dict)
    return found


def containers(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [found["container"], *found.get("initContainers", [])]


def steps_of(container: dict[str, Any]) -> list[list[str]]:
    """The calls of `delivery` in a container's script."""
    lines = [line.removeprefix("again ") for line in container["command"][-1].splitlines()]
    return [shlex.split(line)[3:] for line in lines if line.startswith("python3 -m delivery ")]


@pytest.mark.parametrize("name", sorted(templates.STEPS))
def test_every_call_of_a_step_has_the_words_that_the_command_line_takes(name: str) -> None:
    """A word that it does not know would be seen only when the step runs."""
    for container in containers(template(name)):
        for words in steps_of(container):
            assert parser().parse_args(words).step == words[0]


@pytest.mark.parametrize("name", sorted(templates.STEPS))
def test_what_a_repository_says_never_runs_beside_a_password_of_the_pipeline(name: str) -> None:
    """The trainer and what it fetches get the login of MLflow alone; the build runs elsewhere."""
    for container in containers(template(name)):
        script = container["command"][-1]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        if "trainer" in script:
            assert not mounted & PASSWORDS
            assert [entry["secretRef"]["name"] for entry in container["envFrom"]] == [pods.MLFLOW]
        if {templates.REGISTRY_LOGIN, builds.CLIENT} & mounted:
            assert container["image"] == IMAGES.builds
            assert "tokens" not in mounted


@pytest.mark.parametrize("name", sorted(templates.STEPS))
def test_text_that_somebody_gave_is_no_part_of_a_program(name: str) -> None:
    """A revision or a reason could hold a command."""
    for container in containers(template(name)):
        assert "{{inputs" not in container["command"][-1]


@pytest.mark.parametrize("name", sorted(templates.STEPS))
def test_a_pod_may_run_in_a_restricted_namespace_and_its_containers_have_bounds(name: str) -> None:
    """Whatever a trainer does, its node survives it."""
    found = template(name)
    assert found["securityContext"]["runAsNonRoot"]
    for container in containers(found):
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]


def test_only_the_step_that_looks_at_pods_gets_a_token_of_the_api() -> None:
    """Each other one would have it for nothing."""
    for name in templates.STEPS:
        found = template(name)
        assert found["automountServiceAccountToken"] is (name == templates.TEST)
        assert found.get("serviceAccountName") == (templates.MEASURER if name == templates.TEST else None)


def test_the_pipeline_hands_on_what_each_step_left_and_always_ends_its_run() -> None:
    """What is built is what is deployed, and what is deployed is what is tested."""
    spec = templates.pipeline(wanted())
    library = {name: templates.alone(name)(wanted()) for name in templates.STEPS}
    tree = workflow.tree(spec, "run", spec["entrypoint"], {}, library.get)
    assert [node.name for node in tree.pods()] == [templates.TRAIN, templates.BUILD, templates.DEPLOY, templates.TEST]
    end = workflow.tree(spec, "run", spec["onExit"], {}, library.get)
    assert [node.name for node in end.pods()] == [templates.FINISH]
    left: set[str] = set()
    for group in spec["templates"][0]["steps"]:
        [step] = group
        given = {entry["name"]: entry["value"] for entry in step["arguments"]["parameters"]}
        assert set(given) == set(templates.INPUTS[step["name"]])
        for value in given.values():
            if value.startswith("{{steps."):
                assert value.strip("{}") in left
        outputs = library[step["name"]]["templates"][0].get("outputs", {}).get("parameters", [])
        left |= {f"steps.{step['name']}.outputs.parameters.{entry['name']}" for entry in outputs}


def test_one_pipeline_at_a_time_changes_the_first_environment() -> None:
    """Two candidates at once would be measured as one."""
    assert templates.pipeline(wanted())["synchronization"] == {"mutexes": [{"name": templates.ONE}]}


@pytest.mark.parametrize("name", sorted(templates.STEPS))
def test_the_rehearsals_controller_honours_every_field(name: str) -> None:
    """It refuses others by name, so that a rehearsal proves what a site does."""
    spec = {**workflows.defaults()["spec"], **templates.alone(name)(wanted())}
    assert workflow.unknown(spec) == []
    assert list(workflow.tree(spec, "run", spec["entrypoint"], {}).pods())


def test_drift_starts_the_same_way_and_nothing_where_there_is_none() -> None:
    """What the steps hand on is only asked for inside the template that is skipped."""
    spec = templates.retrain(wanted())
    assert workflow.unknown({**workflows.defaults()["spec"], **spec}) == []
    found = {template["name"]: template for template in spec["templates"]}
    [[check], [whole]] = found[templates.MAIN]["steps"]
    assert check["templateRef"]["name"] == templates.DRIFT
    assert (whole["template"], whole["when"]) == (
        templates.PIPELINE,
        "{{steps.check-drift.outputs.parameters.drifted}} == true",
    )
    [same] = [entry for entry in templates.pipeline(wanted())["templates"] if entry["name"] == templates.MAIN]
    assert found[templates.PIPELINE]["steps"] == same["steps"]
    assert spec["synchronization"] == templates.pipeline(wanted())["synchronization"]


def test_the_clock_starts_the_pipeline_at_two_in_the_night() -> None:
    """And never beside the run before."""
    spec = templates.clock(templates.PIPELINE, "0 2 * * *", "main", "by the clock")
    assert (spec["schedules"], spec["timezone"], spec["concurrencyPolicy"]) == (["0 2 * * *"], "Etc/UTC", "Forbid")
    assert spec["workflowSpec"]["workflowTemplateRef"] == {"name": templates.PIPELINE}


def test_a_training_that_wants_a_gpu_gets_one_by_the_runtime_class_of_the_nodes() -> None:
    """Others get no runtime class, which nodes without GPU do not have."""
    found = template(templates.TRAIN, **{"training.gpu": True})
    assert found["container"]["resources"]["limits"]["nvidia.com/gpu"] in (1, "1")
    assert "nvidia" in found["podSpecPatch"]
    assert "podSpecPatch" not in template(templates.TRAIN)


def test_the_layer_has_every_template_and_a_clock_for_what_is_wanted() -> None:
    """None of them waits for a person."""
    kinds = "kubernetes:argoproj.io/v1alpha1:"
    recorded = platforms.recorded("apps")
    made = {r.inputs["metadata"]["name"] for r in recorded.of(f"{kinds}WorkflowTemplate").values()}
    assert {*templates.STEPS, templates.PIPELINE, templates.RETRAIN} <= made
    assert set(recorded.of(f"{kinds}CronWorkflow")) == {templates.NIGHTLY, templates.DRIFTING}


@pytest.mark.parametrize(("codes", "ended", "calls"), [("0", 0, 1), ("1 0", 0, 2), ("3", 3, 1), ("1 1 4", 4, 3)])
def test_a_line_is_tried_again_only_where_that_may_help(codes: str, ended: int, calls: int, tmp_path: Path) -> None:
    """The first connection of a new pod is refused, and the gate's no is not asked for twice."""
    count = "count=$(($(cat n 2>/dev/null || echo 0) + 1)); echo $count > n"
    fake = f"sleep() {{ :; }}\nstep() {{ {count}; set -- {codes}; shift $((count - 1)); return $1; }}"
    done = subprocess.run(pods.script(pods.AGAIN, fake, pods.patient("step")), cwd=tmp_path, check=False)
    assert (done.returncode, int((tmp_path / "n").read_text())) == (ended, calls)
