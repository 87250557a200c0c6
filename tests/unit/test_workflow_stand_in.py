"""What stands in for the workflow controller: what it reads in a workflow, and what it makes of it."""

from pathlib import Path
from typing import Any

import pytest

from mlops.monitoring import analysis
from rehearsal.programs.argo import executor, variables, workflow
from rehearsal.programs.argo.workflow import UnsupportedError
from tests.unit.workflow_cluster import SETTINGS, Cluster, ended, hurried, nodes, wrong

Object = dict[str, Any]
PROGRAM = {"image": "image", "command": ["true"]}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurried(monkeypatch)


def container(name: str, **more: Any) -> Object:
    """A template whose program gets an input."""
    said = {**PROGRAM, "env": [{"name": "INPUT", "value": "{{inputs.parameters.input}}"}]}
    asked = {"parameters": [{"name": "input", "default": ""}]}
    left = {"parameters": [{"name": "result", "valueFrom": {"path": "/out/result"}}]}
    return {"name": name, "inputs": asked, "outputs": left, "container": said, **more}


def step(name: str, given: str = "", template: str = "t", **more: Any) -> Object:
    arguments = {"parameters": [{"name": "input", "value": given}]}
    return {"name": name, "arguments": arguments, **({"template": template} if template else {}), **more}


def steps(*listed: Object, **more: Any) -> Object:
    """A workflow of steps by the template `t`."""
    entry = {"name": "main", "steps": [[one] for one in listed]}
    return {"entrypoint": "main", "templates": [entry, container("t")], **more}


def environment(pod: Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"]}


def by_template(alerts: str) -> Object:
    parameters = [{"name": analysis.PARAMETER, "value": alerts}]
    return {"workflowTemplateRef": {"name": analysis.NAME}, "arguments": {"parameters": parameters}}


def analysing() -> Cluster:
    """A cluster with the template of the log analysis."""
    cluster = Cluster()
    cluster.put("workflowtemplates", analysis.NAME, analysis.template("python", None, comments=False))
    return cluster


def test_the_steps_of_the_log_analysis_are_run_in_their_order() -> None:
    """Its template is what alerts start."""
    node = workflow.tree(analysis.template("python", None, comments=False), "w", "analysis", {"alerts": "[]"})
    assert [pod.name for pod in node.pods()] == ["collect", "report"]


def test_a_dag_is_run_in_the_order_of_what_its_tasks_need() -> None:
    """Whatever order it is written in."""
    tasks = [
        {"name": "c", "template": "t", "depends": "b && a.Succeeded"},
        {"name": "b", "template": "t", "dependencies": ["a"]},
    ]
    dag = {"name": "d", "dag": {"tasks": [*tasks, {"name": "a", "template": "t"}]}}
    spec = {"templates": [dag, {"name": "t", "container": {"command": ["true"]}}]}
    assert [pod.name for pod in workflow.tree(spec, "w", "d", {}).pods()] == ["a", "b", "c"]
    cluster = Cluster()
    assert ended(cluster, {**spec, "entrypoint": "d"})["phase"] == "Succeeded"
    assert cluster.names() == ["w.a", "w.b", "w.c"]


@pytest.mark.parametrize(
    "template",
    [
        {"name": "t", "resource": {}},
        {"name": "t", "container": {}},
        {"name": "t", "container": PROGRAM, "inputs": {"artifacts": [{}]}},
        {"name": "t", "container": PROGRAM, "sidecars": []},
        {"name": "t", "steps": [[{"name": "a", "template": "gone"}]]},
        {"name": "t", "dag": {"tasks": [{"name": "a", "template": "t", "depends": "a"}]}},
        {"name": "t", "steps": [[{"name": "a", "template": "t"}]]},
    ],
)
def test_what_a_workflow_asks_for_is_done_or_refused(template: Object) -> None:
    """Left out in silence, it would look as if it worked."""
    with pytest.raises(UnsupportedError):
        workflow.tree({"templates": [template]}, "w", "t", {})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"podSpecPatch": "{}"}, "podSpecPatch"),
        ({"synchronization": {}}, "synchronization"),
        ({"parallelism": 1}, "parallelism"),
        ({"metadata": {"finalizers": []}}, "metadata.finalizers"),
        ({"inputs": {"parameters": [{"name": "a", "enum": ["b"]}]}}, "inputs.parameters.enum"),
        ({"inputs": {"parameters": [{"name": "a", "valueFrom": {}}]}}, "inputs.parameters.valueFrom"),
        ({"outputs": {"parameters": [{"name": "a", "globalName": "b"}]}}, "outputs.parameters.globalName"),
        (
            {"outputs": {"parameters": [{"name": "a", "valueFrom": {"jqFilter": "."}}]}},
            "outputs.parameters.valueFrom.jqFilter",
        ),
        ({"outputs": {"artifacts": [{"name": "a", "path": "/a", "gcs": {}}]}}, "outputs.artifacts.gcs"),
        ({"initContainers": [{"name": "a", "image": "b", "restartPolicy": "Always"}]}, "initContainers.restartPolicy"),
        ({"retryStrategy": {"affinity": {}}}, "retryStrategy.affinity"),
        ({"retryStrategy": {"retryPolicy": "Never"}}, "retryStrategy.retryPolicy Never"),
        ({"retryStrategy": {"expression": "workflow.name == 'w'"}}, "retryStrategy.expression"),
    ],
)
def test_each_field_of_a_template_that_is_not_honoured_is_named(change: Object, named: str) -> None:
    """Whoever wrote it sees what is missing here."""
    with pytest.raises(UnsupportedError, match=f"template t: {named}"):
        workflow.tree({"templates": [{"name": "t", "container": PROGRAM, **change}]}, "w", "t", {})


@pytest.mark.parametrize(
    "strange",
    [{"withItems": ["a"]}, {"continueOn": {}}, {"hooks": {}}, {"inline": {}}, {"onExit": "t"}],
)
def test_each_field_of_a_step_that_is_not_honoured_is_named(strange: Object) -> None:
    """A loop that is run once would look like one."""
    with pytest.raises(UnsupportedError, match=f"step a: {next(iter(strange))}"):
        workflow.tree(steps(step("a", **strange)), "w", "main", {})


def test_each_field_of_a_spec_that_is_not_honoured_is_named() -> None:
    """Those of its fields, too."""
    spec = {
        **steps(step("a")),
        **{"podSpecPatch": "{}", "volumeClaimTemplates": [], "hooks": {}, "suspend": True, "parallelism": 1},
        "workflowTemplateRef": {"name": "a", "clusterScope": True},
        "synchronization": {"semaphores": [], "mutexes": [{"name": "a", "namespace": "b"}]},
        "arguments": {"artifacts": [{"name": "a"}], "parameters": [{"name": "a", "valueFrom": {}}]},
    }
    assert workflow.unknown(spec) == [
        *("arguments.artifacts", "arguments.parameters.valueFrom", "hooks", "parallelism", "podSpecPatch", "suspend"),
        *("synchronization.mutexes.namespace", "synchronization.semaphores", "volumeClaimTemplates"),
        "workflowTemplateRef.clusterScope",
    ]


def test_values_are_put_into_texts_and_missing_ones_are_named() -> None:
    """A step with a text that was not filled would run on nonsense."""
    known = {"inputs.parameters.a": "1", "steps.x.outputs.result": "2"}
    filled = variables.filled(
        ["{{inputs.parameters.a}}{{ steps.x.outputs.result }}", {"k": "{{inputs.parameters.b}}"}], known
    )
    assert filled == ["12", {"k": "{{inputs.parameters.b}}"}]
    assert variables.missing(filled) == ["inputs.parameters.b"]
    assert variables.missing("{{=asInt('1')}} {{x}}") == ["=asInt('1')"]


def test_a_parameter_that_a_step_did_not_leave_is_an_error(tmp_path: Path) -> None:
    """Unless it has a default."""
    (tmp_path / "there").write_text("value\n")
    entry = {"name": "a", "valueFrom": {"path": str(tmp_path / "there")}}
    gone: Object = {"name": "b", "valueFrom": {"path": str(tmp_path / "gone"), "default": "d"}}
    assert executor.left({"parameters": [entry, gone]}) == {"parameters.a": "value", "parameters.b": "d"}
    del gone["valueFrom"]["default"]
    assert "error" in executor.left({"parameters": [gone]})


def test_the_log_analysis_runs_to_its_end_with_what_each_step_left() -> None:
    """A step reads what the one before it left, and nothing that it says is taken for a name."""
    cluster = analysing()
    status = ended(cluster, by_template('[{"a": "{{x}}"}]'), SETTINGS)
    assert status["phase"] == "Succeeded", status
    inputs = [environment(pod)["INPUT"] for pod in cluster.made]
    assert inputs == ['[{"a": "{{x}}"}]', '<[{"a": "{{x}}"}]>']


def test_only_the_step_that_asks_for_it_gets_a_token() -> None:
    """As the real controller has it by our defaults."""
    cluster = analysing()
    ended(cluster, by_template("[]"), SETTINGS)
    accounts = [(p["spec"]["serviceAccountName"], p["spec"]["automountServiceAccountToken"]) for p in cluster.made]
    assert accounts == [("log-analysis", True), ("executor", False)]


def test_without_a_token_the_executor_must_have_an_account() -> None:
    """It could not say how the step ended."""
    status = ended(Cluster(), {**steps(step("a")), "automountServiceAccountToken": False})
    [message] = [node["message"] for node in nodes(status).values() if node["type"] == "Pod"]
    assert "executor.serviceAccountName must not be empty" in message
    assert status["phase"] == "Failed"


def test_a_step_that_fails_is_tried_again_and_then_the_workflow_fails() -> None:
    """With the reason, and nothing after it is run."""
    listed = [[{"name": "a", "template": "bad"}], [{"name": "b", "template": "bad"}]]
    bad = {"name": "bad", "container": {"command": ["false"]}, "retryStrategy": {"limit": "1"}}
    cluster = Cluster(lambda _: 1)
    status = ended(cluster, {"entrypoint": "all", "templates": [{"name": "all", "steps": listed}, bad]})
    found = nodes(status)
    assert cluster.names() == ["w[0].a(0)", "w[0].a(1)"]
    assert status["phase"] == "Failed"
    assert status["message"] == f"child '{found['w[0].a']['id']}' failed"
    assert found["w[0].a"]["message"] == "No more retries left"
    assert found["w[0].a(1)"]["message"] == "main: Error (exit code 1)"
    assert "w[1].b" not in found


def test_what_is_not_honoured_ends_the_workflow_with_its_name() -> None:
    """Whoever wrote it sees that it is the rehearsal's limit."""
    status = ended(Cluster(), {"entrypoint": "x", "templates": [{"name": "x", "suspend": {}}]})
    assert status["phase"] == "Error"
    assert "stand-in: template x: suspend" in status["message"]


def test_a_script_is_the_programs_text() -> None:
    """Its result is what it prints."""
    script = {"name": "t", "script": {"image": "python", "command": ["python3"], "source": "print(1)"}}
    after = step("b", "{{steps.a.outputs.result}} {{steps.a.status}}", "u")
    spec = {
        "entrypoint": "main",
        "templates": [
            {"name": "main", "steps": [[{"name": "a", "template": "t"}], [after]]},
            *(script, container("u")),
        ],
    }
    cluster = Cluster()
    assert ended(cluster, spec)["phase"] == "Succeeded"
    first, second = cluster.made
    assert first["spec"]["containers"][0]["command"] == ["python3", "-c", "print(1)"]
    assert environment(second)["INPUT"] == "printed Succeeded"


def test_a_group_hands_on_what_its_steps_left() -> None:
    """A template of steps has outputs of its own."""
    value = {"parameter": "{{steps.a.outputs.parameters.result}}"}
    inner = {
        "name": "inner",
        "steps": [[step("a", "1")]],
        "outputs": {"parameters": [{"name": "r", "valueFrom": value}]},
    }
    outer = [[{"name": "in", "template": "inner"}], [step("b", "{{steps.in.outputs.parameters.r}}")]]
    cluster = Cluster()
    spec = {"entrypoint": "main", "templates": [{"name": "main", "steps": outer}, inner, container("t")]}
    assert ended(cluster, spec)["phase"] == "Succeeded"
    assert environment(cluster.made[-1])["INPUT"] == "<1>"


def test_a_step_whose_condition_does_not_hold_is_skipped() -> None:
    """What comes after it is run; a condition that nobody can read is an error."""
    cluster = Cluster()
    when = "{{steps.a.outputs.parameters.result}} == other"
    status = ended(
        cluster, steps(step("a", "x"), step("b", when=when.replace("{{", "'{{").replace("}}", "}}'")), step("c"))
    )
    assert status["phase"] == "Succeeded"
    assert cluster.names() == ["w[0].a", "w[2].c"]
    assert nodes(status)["w[1].b"]["phase"] == "Skipped"
    assert ended(Cluster(), steps(step("a", "x"), step("b", when=when)))["phase"] == "Failed"


def test_a_step_may_be_a_template_of_another_workflow_template() -> None:
    """What that names is looked for where it stands, and the defaults of the caller hold."""
    cluster = Cluster()
    inner = {
        "name": "inner",
        "inputs": {"parameters": [{"name": "input"}]},
        "steps": [[step("x", "{{inputs.parameters.input}}", "own")]],
    }
    cluster.put("workflowtemplates", "other", {"templates": [inner, container("own")]})
    spec = steps(step("a", "1", "", templateRef={"name": "other", "template": "inner"}))
    status = ended(cluster, spec)
    assert status["phase"] == "Succeeded", status
    assert environment(cluster.made[0])["INPUT"] == "1"
    gone = ended(Cluster(), spec)
    assert (gone["phase"], "there is no WorkflowTemplate other" in gone["message"]) == ("Error", True)


def test_a_workflow_by_a_template_has_its_own_arguments_over_the_templates() -> None:
    """What the template became meanwhile is of no concern to it; without a value, it does not begin."""
    cluster = Cluster()
    said = step("a", "{{workflow.parameters.a}}{{workflow.parameters.b}}")
    declared = {"parameters": [{"name": "a"}, {"name": "b", "value": "default"}]}
    cluster.put("workflowtemplates", "base", {**steps(said), "arguments": declared})
    given = {"workflowTemplateRef": {"name": "base"}, "arguments": {"parameters": [{"name": "a", "value": "mine-"}]}}
    status = ended(cluster, given)
    assert environment(cluster.made[0])["INPUT"] == "mine-default"
    assert status["storedWorkflowTemplateSpec"]["entrypoint"] == "main"
    unset = ended(cluster, {"workflowTemplateRef": {"name": "base"}})
    assert (unset["phase"], unset["message"]) == ("Error", "spec.arguments.a.value or valueFrom is required")
    gone = ended(Cluster(), given)
    assert (gone["phase"], gone["message"]) == ("Error", 'workflowtemplates.argoproj.io "base" not found')


def test_init_containers_run_before_the_program_with_the_volumes_that_they_name() -> None:
    """No others: a volume of a Secret would be in every pod. Where there is no volume, nothing is run."""
    init: Object = {
        "name": "fetch",
        "image": "git",
        "command": ["git"],
        "volumeMounts": [{"name": "work", "mountPath": "/w"}],
    }
    mirrored = {"name": "look", "image": "git", "command": ["ls"], "mirrorVolumeMounts": True}
    used = [{"name": "shared", "mountPath": "/s"}]
    template = container("t", initContainers=[init, mirrored], volumes=[{"name": "work", "emptyDir": {}}])
    template["container"] |= {"volumeMounts": used, "envFrom": [{"secretRef": {"name": "keys"}}]}
    volumes = [{"name": "shared", "configMap": {"name": "c"}}, {"name": "unused", "secret": {"secretName": "s"}}]
    spec = {"entrypoint": "t", "templates": [template], "volumes": volumes}
    cluster = Cluster()
    assert ended(cluster, spec)["phase"] == "Succeeded"
    pod = cluster.made[0]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["wait", "fetch", "look"]
    assert pod["initContainers"][2]["volumeMounts"] == used
    assert "mirrorVolumeMounts" not in pod["initContainers"][2]
    assert [one["name"] for one in pod["volumes"]] == ["work", "shared"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "keys"}}]
    status = ended(Cluster(), {**spec, "volumes": []})
    assert (status["phase"], status["message"]) == ("Error", 'volume "shared" not found in workflow spec')


def test_an_init_container_that_fails_fails_the_step() -> None:
    """The program did not run: it has no exit code."""
    said = {"name": "fetch", "state": {"terminated": {"exitCode": 128, "reason": "Error"}}}
    waiting = {"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"phase": "Failed", "initContainerStatuses": [said], "containerStatuses": [waiting]}
    found = nodes(ended(Cluster(lambda _: status), steps(step("a"))))
    assert (found["w[0].a"]["phase"], found["w[0].a"]["message"]) == ("Failed", "fetch: Error (exit code 128)")
    assert "exitCode" not in found["w[0].a"].get("outputs", {})


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (7, "Failed")])
def test_what_is_to_run_at_the_end_runs_whatever_happened(code: int, phase: str) -> None:
    """It sees how the workflow ended, and the workflow ends as it would have."""
    said = container("last")
    said["container"]["env"] = [{"name": "INPUT", "value": "{{workflow.status}} {{workflow.name}}"}]
    cluster = Cluster(lambda pod: code if "last" not in pod["metadata"]["name"] else 0)
    spec = steps(step("a"), onExit="last")
    spec["templates"].append(said)
    status = ended(cluster, spec)
    assert status["phase"] == phase
    assert environment(cluster.made[-1])["INPUT"] == f"{phase} w"
    assert cluster.made[-1]["metadata"]["labels"]["workflows.argoproj.io/on-exit"] == "true"


def test_a_workflow_fails_when_what_runs_at_its_end_does() -> None:
    """Even if all else went well."""
    cluster = Cluster(lambda pod: wrong(1) if "-last-" in pod["metadata"]["name"] else 0)
    spec = steps(step("a"), onExit="last")
    spec["templates"].append(container("last"))
    status = ended(cluster, spec)
    assert (status["phase"], status["message"]) == ("Failed", "main: Error (exit code 1)")
