"""The workflows, as hera builds them: each step alone, and the pipeline that joins them. Pure.

A step is a WorkflowTemplate of its own, so that it can be started alone. Its program is a function of `apps/delivery`,
the model's trainer, or BuildKit's client; what it says comes out as text, and goes into the next one as text.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from hera.workflows import Container, CronWorkflow, Env, Parameter, SecretEnvFrom, Step, Steps, WorkflowTemplate
from hera.workflows import models as argo

import config
from apps.builds import spec as builds
from apps.ray.spec import CLIENT as RAY
from apps.workflows import pods
from apps.workflows.pods import AGAIN, MLFLOW, OUT, SOURCE, WORK, Images, call, given, noted, patient, script

TRAIN, BUILD, DEPLOY, TEST = "train-model", "build-container-image", "deploy-container-image", "test-staging"
PROMOTE, REVERT, FINISH, PIPELINE, NIGHTLY = "promote-model", "revert", "finish", "pipeline", "nightly"
DRIFT, RETRAIN, DRIFTING = "check-drift", "retrain-on-drift", "drift"
CHANGED = "what production is asked has changed"
MAIN, END = "main", "end"
REGISTRY_LOGIN = "registry-push"
"""Secret with the login of builds."""
MEASURER = "measurer"
"""Account of the step that looks at the pods it measures."""
ONE = "pipeline"
"""Whoever holds it changes the first environment."""
HOUR = 3600
SPEC = "spec"
Tree = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What workflows depend on."""

    config: config.Apps
    images: Images
    package: str
    """ConfigMap of the steps' program."""
    base_image: str
    """What the model's image begins with."""
    target: str
    """HOST/NAME of the model's images, as builds push them."""


def _checkout(wanted: Wanted, *words: str, names: tuple[str, ...] = ()) -> Any:
    """The container that puts a revision of the model's source before a step."""
    checkout = call("checkout", *words, f"--to {SOURCE}", f"--notes {WORK}")
    lines = [AGAIN, *(noted(name.upper()) for name in names), patient(checkout)]
    env = [*pods.home(), *pods.delivery(), *given(*(names or ("revision",)))]
    return pods.before("checkout", wanted.images.steps, lines, env=env, volume_mounts=pods.mounts())


def _container(wanted: Wanted, image: str, lines: tuple[str, ...], inputs: tuple[str, ...], **more: Any) -> Container:
    secrets = more.pop("secrets", ())
    chosen: dict[str, Any] = {
        "env": [*pods.home(), *pods.delivery(), *given(*inputs)],
        "volume_mounts": pods.mounts(),
        "resources": pods.resources("50m", "256Mi"),
        "retry_strategy": pods.retries(2),
        **more,
    }
    return Container(
        name=MAIN,
        image=image,
        command=script(*lines),
        inputs=[Parameter(name=name) for name in inputs],
        volumes=pods.volumes(wanted.package, *secrets),
        security_context=pods.closed(),
        termination_message_policy=pods.LAST_LINES,
        pod_security_context=pods.pod(),
        automount_service_account_token=chosen.pop("automount_service_account_token", False),
        **chosen,
    )


def train(wanted: Wanted) -> Container:
    """A revision becomes a registered version of the model, if it passes its own tests."""
    training = wanted.config.training
    lines = (
        f"cd {SOURCE}",
        f"export MODEL_NAME={wanted.config.model} REVISION=$(cat {WORK}/revision)",
        f"exec python3 -m trainer --result {OUT}/result.json",
    )
    return _container(
        wanted,
        wanted.images.training,
        lines,
        INPUTS[TRAIN],
        init_containers=[_checkout(wanted, '--revision "$REVISION"')],
        # What a repository says runs here: it gets what it needs to train and register a model, and no other password.
        env=[*pods.home(), *given(*INPUTS[TRAIN])],
        env_from=[SecretEnvFrom(name=name) for name in (MLFLOW, *([RAY] if wanted.config.ray else []))],
        volume_mounts=pods.scratch(),
        resources=pods.resources(training.cpu, training.memory, gpu=training.gpu),
        outputs=[pods.left("training", "result.json")],
        active_deadline_seconds=training.minutes * 60,
        retry_strategy=pods.retries(1),
        **({"pod_spec_patch": '{"runtimeClassName": "nvidia"}'} if training.gpu else {}),
    )


def build(wanted: Wanted) -> Container:
    """A registered version becomes an image in the registry."""
    fetch = (
        f"cd {SOURCE}",
        f"export MODEL_NAME={wanted.config.model} REVISION=$(cat {WORK}/revision)",
        f'python3 -m trainer.fetch --version "$(cat {WORK}/version)" --to model',
    )
    lent = {"env": pods.home(), "env_from": [SecretEnvFrom(name=MLFLOW)], "volume_mounts": pods.scratch()}
    fetched = pods.before("fetch", wanted.images.training, fetch, **lent)
    argv = builds.build_command(wanted.target, "{{workflow.name}}", wanted.base_image, wanted.images.scanner)
    return _container(
        wanted,
        wanted.images.builds,
        builds.build_lines(argv, WORK),
        INPUTS[BUILD],
        init_containers=[_checkout(wanted, f"--of {WORK}/training.json", names=("training",)), fetched],
        env=[*pods.home(), *given(*INPUTS[BUILD]), Env(name="DOCKER_CONFIG", value=builds.LOGIN)],
        outputs=[pods.left("metadata", "metadata.json")],
        secrets=(REGISTRY_LOGIN, builds.CLIENT),
        volume_mounts=[*pods.scratch(), *map(argo.VolumeMount.model_validate, builds.client_mounts(REGISTRY_LOGIN))],
        active_deadline_seconds=HOUR,
        retry_strategy=pods.retries(1),
    )


def deploy(wanted: Wanted) -> Container:
    """An image becomes the candidate, and the first environment serves it."""
    act = '--who "$WHO" --why "$WHY"'
    lines = (
        noted("TRAINING"),
        noted("METADATA"),
        call(
            "release",
            f"--training {WORK}/training.json --build {WORK}/metadata.json",
            f"--run {{{{workflow.name}}}} --result {OUT}/release.json",
        ),
        call("deploy", f"--release {OUT}/release.json", act),
    )
    return _container(
        wanted, wanted.images.steps, lines, INPUTS[DEPLOY], outputs=[pods.left("release", "release.json")]
    )


def test(wanted: Wanted) -> Container:
    """The gate: the candidate goes on to the canary, or the first environment goes back."""
    lines = (
        noted("RELEASE"),
        call(
            "test",
            f"--release {WORK}/release.json --samples {SOURCE}/samples.jsonl",
            f'--decision {OUT}/evidence.json --who "$WHO" --why "$WHY"',
        ),
    )
    return _container(
        wanted,
        wanted.images.steps,
        lines,
        INPUTS[TEST],
        init_containers=[_checkout(wanted, f"--of {WORK}/release.json", names=("release",))],
        # The one step whose program gets a token of the API: it looks at the pods that it measures.
        service_account_name=MEASURER,
        automount_service_account_token=True,
        active_deadline_seconds=HOUR,
    )


def _decided(step: str) -> Callable[[Wanted], Container]:
    """A person's decision: who it is, and why, stays in Git."""

    def made(wanted: Wanted) -> Container:
        words = '--digest "$DIGEST" --run "$RUN" --who "$WHO" --why "$WHY"'
        lines = (AGAIN, patient(call(step, words)), patient(call("align")))
        return _container(wanted, wanted.images.steps, lines, INPUTS[PROMOTE])

    return made


def finish(wanted: Wanted) -> Container:
    """However a run ended: no candidate of it stays, its evidence is in MLflow, and the aliases follow Git."""
    lines = (AGAIN, patient(call("finish", "--run {{workflow.name}} --who {{workflow.name}}")))
    return _container(wanted, wanted.images.steps, lines, INPUTS[FINISH], retry_strategy=pods.retries(5))


def check_drift(wanted: Wanted) -> Container:
    """Whether production is asked about something else than the branch's samples."""
    lines = (call("drift", f"--samples {SOURCE}/samples.jsonl --drifted {OUT}/drifted"),)
    before = [_checkout(wanted, '--revision "$REVISION"')]
    return _container(
        wanted,
        wanted.images.steps,
        lines,
        INPUTS[DRIFT],
        init_containers=before,
        outputs=[pods.left("drifted", "drifted")],
    )


STEPS: Mapping[str, Callable[[Wanted], Container]] = {
    TRAIN: train,
    BUILD: build,
    DEPLOY: deploy,
    TEST: test,
    PROMOTE: _decided("approve"),
    REVERT: _decided("revert"),
    FINISH: finish,
    DRIFT: check_drift,
}
INPUTS: Mapping[str, tuple[str, ...]] = {
    TRAIN: ("revision",),
    BUILD: ("training",),
    DEPLOY: ("training", "metadata", "who", "why"),
    TEST: ("release", "who", "why"),
    PROMOTE: ("digest", "run", "who", "why"),
    REVERT: ("digest", "run", "who", "why"),
    FINISH: (),
    DRIFT: ("revision",),
}
DEFAULTS = {"who": "somebody", "why": ""}


def _from(step: str, name: str) -> str:
    return f"{{{{steps.{step}.outputs.parameters.{name}}}}}"


def _ours(name: str) -> str:
    return f"{{{{workflow.parameters.{name}}}}}"


def _step(name: str, **values: str) -> Step:
    return Step(
        name=name,
        template_ref=argo.TemplateRef(name=name, template=MAIN),
        arguments=[Parameter(name=key, value=value) for key, value in values.items()],
    )


def alone(name: str) -> Callable[[Wanted], Tree]:
    """What makes the spec of the WorkflowTemplate of one step."""
    return partial(_template, name)


def _template(name: str, wanted: Wanted) -> Tree:
    found = STEPS[name](wanted)
    arguments = [
        Parameter(name=item, value=DEFAULTS[item]) if item in DEFAULTS else Parameter(name=item)
        for item in INPUTS[name]
    ]
    made = WorkflowTemplate(name=name, entrypoint=MAIN, arguments=arguments, templates=[found])
    whole: Tree = made.to_dict()[SPEC]
    return whole


def _joined(wanted: Wanted, name: str, why: str) -> WorkflowTemplate:
    """What takes a revision through the first environment: one at a time, and nothing of it stays half done."""
    return WorkflowTemplate(
        name=name,
        entrypoint=MAIN,
        on_exit=END,
        arguments=[
            Parameter(name="revision", value=wanted.config.source.branch),
            Parameter(name="who", value=DEFAULTS["who"]),
            Parameter(name="why", value=why),
        ],
        synchronization=argo.Synchronization(mutexes=[argo.Mutex(name=ONE)]),
    )


def _way(name: str) -> None:
    """The whole way from a revision to the canary, as a template of the workflow that is being made; and its end."""
    act = {"who": _ours("who"), "why": _ours("why")}
    with Steps(name=name):
        _step(TRAIN, revision=_ours("revision"))
        _step(BUILD, training=_from(TRAIN, "training"))
        _step(DEPLOY, training=_from(TRAIN, "training"), metadata=_from(BUILD, "metadata"), **act)
        _step(TEST, release=_from(DEPLOY, "release"), **act)
    with Steps(name=END):
        _step(FINISH)


def pipeline(wanted: Wanted) -> Tree:
    """The spec of the whole way from a revision to the canary."""
    with _joined(wanted, PIPELINE, DEFAULTS["why"]) as made:
        _way(MAIN)
    whole: Tree = made.to_dict()[SPEC]
    return whole


def retrain(wanted: Wanted) -> Tree:
    """The spec of the same where there is drift, and of nothing where there is none."""
    with _joined(wanted, RETRAIN, CHANGED) as made:
        with Steps(name=MAIN):
            _step(DRIFT, revision=_ours("revision"))
            # A template of its own: what it hands on is not asked for where it is skipped.
            Step(name=PIPELINE, template=PIPELINE, when=f"{_from(DRIFT, 'drifted')} == true")
        _way(PIPELINE)
    whole: Tree = made.to_dict()[SPEC]
    return whole


def clock(template: str, schedule: str, branch: str, why: str) -> Tree:
    """The spec of a CronWorkflow: a template with the newest commit."""
    arguments = {"revision": branch, "who": "schedule", "why": why}
    made = CronWorkflow(
        name=template,
        schedules=[schedule],
        timezone="Etc/UTC",
        concurrency_policy="Forbid",
        starting_deadline_seconds=600,
        workflow_template_ref=argo.WorkflowTemplateRef(name=template),
        arguments=[Parameter(name=key, value=value) for key, value in arguments.items()],
    )
    whole: Tree = made.to_dict()[SPEC]
    return whole
