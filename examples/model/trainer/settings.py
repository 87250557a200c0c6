"""What the environment says. Standard library only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(Exception):
    """The environment or the command line lacks something or breaks a rule; trying again does not help."""


@dataclass(frozen=True)
class Settings:
    """Where to register, under which name, and which commit this is."""

    tracking_uri: str
    model: str
    experiment: str
    revision: str


def of(environment: Mapping[str, str]) -> Settings:
    """Read the variables that README.md lists."""
    missing = [key for key in ("MLFLOW_TRACKING_URI", "MODEL_NAME", "REVISION") if not environment.get(key)]
    if missing:
        raise SettingsError(f"not set: {', '.join(missing)}")
    model, revision = environment["MODEL_NAME"], environment["REVISION"]
    if not re.fullmatch(r"[0-9a-f]{7,64}", revision):
        raise SettingsError(f"REVISION={revision!r} is not a Git commit (7 to 64 hexadecimal digits)")
    if not re.fullmatch(r"[^/:\s][^/:]*", model):
        raise SettingsError(f"MODEL_NAME={model!r} is not a name for MLflow's registry: no '/' or ':'")
    experiment = environment.get("MLFLOW_EXPERIMENT_NAME") or model
    return Settings(environment["MLFLOW_TRACKING_URI"], model, experiment, revision)
