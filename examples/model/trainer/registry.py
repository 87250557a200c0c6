"""What the trainer says to MLflow, and gets from it."""

import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from digits import release
from digits.network import Network
from digits.picture import PIXELS
from digits.release import Release
from trainer.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parent.parent
SHA256 = "weights_sha256"
"""Tag of a version: what its weights must be."""


def log(settings: Settings, parameters: Mapping[str, object], metrics: Mapping[str, float], reason: str) -> str:
    """Record a training in MLflow; the id of its run. A reason marks it as failed."""
    mlflow.set_tracking_uri(settings.tracking_uri)
    mlflow.set_experiment(settings.experiment)
    run = mlflow.start_run(tags={"revision": settings.revision, "tests": reason or "passed"})
    mlflow.log_params(dict(parameters))
    mlflow.log_metrics(dict(metrics))
    mlflow.end_run("FAILED" if reason else "FINISHED")
    return str(run.info.run_id)


def register(settings: Settings, run_id: str, trained: Network) -> tuple[str, str]:
    """Log the model to a run and make it a version: its number, and the digest of its weights."""
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), (-1, PIXELS))]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, len(trained.classes)))]),
    )
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / release.WEIGHTS
        trained.save(weights)
        digest = release.digest(weights)
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(ROOT / "trainer" / "served.py"),
                artifacts={"weights": str(weights)},
                code_paths=[str(ROOT / "digits")],
                pip_requirements=[f"numpy=={version('numpy')}"],
                signature=signature,
                input_example=np.zeros((1, PIXELS), np.float32),
            )
    made = mlflow.register_model(logged.model_uri, settings.model, tags={SHA256: digest, "revision": settings.revision})
    return str(made.version), digest


def fetch(settings: Settings, number: str, folder: Path) -> Release:
    """Put the weights of a version into a folder, with what they are."""
    mlflow.set_tracking_uri(settings.tracking_uri)
    found = MlflowClient().get_model_version(settings.model, number)
    if SHA256 not in found.tags:
        raise SettingsError(
            f"version {number} of {settings.model} has no tag {SHA256}: this trainer did not register it"
        )
    made = Release(settings.model, number, settings.revision, found.run_id, found.tags[SHA256])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        uri = f"models:/{settings.model}/{number}"
        got = Path(mlflow.artifacts.download_artifacts(uri, dst_path=scratch))
        shutil.copyfile(got / "artifacts" / release.WEIGHTS, folder / release.WEIGHTS)
    made.write(folder)
    for file in (release.WEIGHTS, release.FILE):
        (folder / file).chmod(0o644)  # the server runs as another user
    return release.read(folder)
