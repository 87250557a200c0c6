"""What the pods of steps have in common. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hera.workflows import Env, Parameter, Resources, UserContainer
from hera.workflows import models as argo

from apps import steps
from apps.package import ARCHIVE
from apps.settings import TOKENS
from mlops.pods import hardened

NOBODY = 65534
PACKAGE, SETTINGS = "/srv/delivery", "/etc/delivery"
SOURCE, WORK, OUT = "/src", "/work", "/out"
"""A checkout; what the containers of a pod tell each other; what a step leaves."""
DELIVERY = f"python3 -m delivery {{step}} --settings {SETTINGS}/settings.json"
MLFLOW = "mlflow-client"
"""Secret with the settings of MLflow's client."""


@dataclass(frozen=True)
class Images:
    """What steps run in, by their whole names."""

    steps: str
    """Python and git."""
    training: str
    """What the trainer needs; also what the model's image begins with."""
    builds: str
    """BuildKit's client."""
    scanner: str
    """Runs in a build, not as a step: it lists what is in the image."""


def call(step: str, *words: str) -> str:
    """A line of the shell that runs a step of apps/delivery."""
    return " ".join([DELIVERY.format(step=step), *words])


AGAIN = """again() {
  for pause in 1 2 4 8; do
    code=0; "$@" || code=$?
    [ $code = 1 ] || return $code
    sleep $pause
  done
  "$@"
}"""
"""A function of the shell: a command once more where it ended with 1. A new pod's network policies come into force some
seconds after its start, and another pod would be as new."""


def patient(line: str) -> str:
    """A line that is tried again, of a script that begins with AGAIN."""
    return f"again {line}"


def script(*lines: str) -> list[str]:
    """A command that runs lines of the shell until one fails."""
    return ["/bin/sh", "-ec", "\n".join(lines)]


def noted(variable: str) -> str:
    """A line that puts the text of a variable where programs read it as a file."""
    return f"printf '%s' \"${variable}\" > {WORK}/{variable.lower()}.json"


def given(*names: str) -> list[Env]:
    """Parameters as variables: text that somebody gave is never part of a program."""
    return [Env(name=name.upper(), value=f"{{{{inputs.parameters.{name}}}}}") for name in names]


def left(name: str, file: str) -> Parameter:
    """An output of a step: the text of a file."""
    return Parameter(name=name, value_from=argo.ValueFrom(path=f"{OUT}/{file}"))


def volumes(package: str, *secrets: str, scratch: str = "1Gi") -> list[argo.Volume]:
    """Volumes of every step, and Secrets by name; `package` is the ConfigMap of the program."""
    folders = [
        argo.Volume(name=name, empty_dir=argo.EmptyDirVolumeSource(size_limit=argo.Quantity(root=scratch)))
        for name in ("src", "work", "out", "tmp")
    ]
    kept = [
        argo.Volume(name="package", config_map=argo.ConfigMapVolumeSource(name=package)),
        argo.Volume(name="settings", config_map=argo.ConfigMapVolumeSource(name=steps.SETTINGS)),
        argo.Volume(name="tokens", secret=argo.SecretVolumeSource(secret_name=steps.TOKENS, default_mode=0o440)),
    ]
    more = [
        argo.Volume(name=secret, secret=argo.SecretVolumeSource(secret_name=secret, default_mode=0o440))
        for secret in secrets
    ]
    return [*folders, *kept, *more]


def _mount(name: str, path: str, *, read_only: bool = True) -> argo.VolumeMount:
    return argo.VolumeMount(name=name, mount_path=path, read_only=read_only or None)


def scratch() -> list[argo.VolumeMount]:
    """Folders that a container may write to."""
    return [_mount(name, f"/{name}", read_only=False) for name in ("src", "work", "out", "tmp")]


def mounts() -> list[argo.VolumeMount]:
    """The same, and what apps/delivery needs."""
    return [*scratch(), _mount("package", PACKAGE), _mount("settings", SETTINGS), _mount("tokens", TOKENS)]


def home() -> list[Env]:
    """Variables of every container."""
    return [Env(name="HOME", value=WORK), Env(name="PYTHONDONTWRITEBYTECODE", value="1")]


def delivery() -> list[Env]:
    """Variables of those that run `delivery`."""
    return [Env(name="PYTHONPATH", value=f"{PACKAGE}/{ARCHIVE}")]


def closed() -> argo.SecurityContext:
    """The security context of every container."""
    return argo.SecurityContext.model_validate({**hardened(), "runAsNonRoot": True})


def pod() -> argo.PodSecurityContext:
    """The security context of every pod."""
    return argo.PodSecurityContext(
        run_as_non_root=True,
        run_as_user=NOBODY,
        run_as_group=NOBODY,
        fs_group=NOBODY,
        seccomp_profile=argo.SeccompProfile(type="RuntimeDefault"),
    )


def resources(cpu: str, memory: str, *, gpu: bool = False) -> argo.ResourceRequirements:
    """What a container asks for, and the memory at which it ends."""
    return Resources(cpu_request=cpu, memory_request=memory, memory_limit=memory, gpus=1 if gpu else None).build()


def retries(limit: int) -> argo.RetryStrategy:
    """Again after 5 s, 10 s and so on, where that may help.

    Not after 2 (wrong input), 3 (the gate or the trainer said no) and 4 (another release is under test). A step that
    never began has no code, which reads as -1.
    """
    return argo.RetryStrategy(
        limit=argo.IntOrString(root=limit),
        retry_policy="Always",
        expression="asInt(lastRetry.exitCode) <= 1",
        backoff=argo.Backoff(duration="5s", factor=argo.IntOrString(root=2)),
    )


LAST_LINES = "FallbackToLogsOnError"
"""What a container that fails leaves as its message, which is the workflow's: why, and not only a code."""


def before(name: str, image: str, lines: Sequence[str], **more: Any) -> UserContainer:
    """A container that runs before a step's own."""
    return UserContainer(
        name=name,
        image=image,
        command=script(*lines),
        resources=resources("50m", "256Mi"),
        security_context=closed(),
        termination_message_policy=LAST_LINES,
        **more,
    )
