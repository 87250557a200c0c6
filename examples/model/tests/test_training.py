"""From training to a version in MLflow, and from there to the folder that the server reads."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from digits import network, release
from digits.picture import prepared
from processes import MODEL, REVISION, Tracked, checkout
from server.sample import SAMPLE
from trainer import architecture, fit, result
from trainer.checks import Bounds, failures
from trainer.result import Result
from trainer.samples import held_out


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout("main", tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="module")
def trained(tracked: Tracked, code: Path) -> Result:
    """What a training of this revision has left."""
    done = tracked.run(code, "trainer", "--result", "result.json")
    assert done.returncode == 0, done.stderr
    return result.read(tracked.folder / "result.json")


def test_this_revision_passes_its_own_tests(data: fit.Split) -> None:
    measured = fit.measure(fit.train(data), data)
    assert failures(measured, Bounds(architecture.LEAST_ACCURACY, *architecture.PARAMETERS)) == ()


def test_the_same_revision_gives_the_same_model(data: fit.Split, model: Path, tmp_path: Path) -> None:
    """A training that is run again must not make another model."""
    fit.train(data).save(tmp_path / "again.npz")
    assert release.digest(tmp_path / "again.npz") == release.read(model).sha256


def test_no_training_sees_a_sample_of_the_gate(data: fit.Split) -> None:
    """It would seem better than it is, and better than what runs in production."""
    samples = {prepared(picture).tobytes() for picture in held_out()}
    assert len(samples) == len(data.held_out) == 1000
    assert not samples & {picture.tobytes() for picture in data.pictures}


def test_the_sample_was_held_out_and_is_a_seven(data: fit.Split, model: Path) -> None:
    """/test would say little of a picture that was trained on."""
    sample = prepared(SAMPLE)
    assert not (data.pictures == sample).all(axis=1).any()
    assert (data.held_out == sample).all(axis=1).any()
    chances = network.load(model / release.WEIGHTS).probabilities(sample)[0]
    assert chances[7] > 0.9


def test_a_passing_model_is_a_version_with_its_evidence(tracked: Tracked, trained: Result) -> None:
    client = MlflowClient(tracked.uri)
    assert trained.model_version is not None
    version = client.get_model_version(MODEL, trained.model_version)
    run = client.get_run(trained.run_id)
    assert version.run_id == trained.run_id
    assert version.tags == {"weights_sha256": trained.sha256, "revision": REVISION}
    assert run.data.metrics == trained.metrics
    assert run.data.params["seed"] == str(architecture.SEED)
    assert run.info.status == "FINISHED"


def test_a_version_can_be_loaded_by_whoever_uses_mlflow(tracked: Tracked, trained: Result, model: Path) -> None:
    mlflow.set_tracking_uri(tracked.uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{MODEL}/{trained.model_version}")
    pictures = np.array([SAMPLE], np.float32)
    own = network.load(model / release.WEIGHTS).probabilities(prepared(pictures))
    assert np.array_equal(loaded.predict(pictures), own)


def test_a_fetched_version_is_what_was_registered(tracked: Tracked, code: Path, trained: Result, model: Path) -> None:
    done = tracked.run(
        code, "trainer.fetch", "--version", str(trained.model_version), "--to", "model", REVISION="beef" * 10
    )
    assert done.returncode == 0, done.stderr
    fetched = release.read(tracked.folder / "model")
    assert (fetched.sha256, fetched.run_id) == (trained.sha256, trained.run_id)
    assert fetched.revision == "beef" * 10
    assert fetched.sha256 == release.read(model).sha256


def test_a_failing_model_is_recorded_and_not_registered(tracked: Tracked, tmp_path: Path) -> None:
    code = checkout("main", tmp_path)
    file = code / "trainer" / "architecture.py"
    file.write_text(file.read_text().replace("EPOCHS = 60", "EPOCHS = 1"))
    done = tracked.run(code, "trainer", "--result", "failed.json", MODEL_NAME="Failing")
    left = result.read(tracked.folder / "failed.json")
    assert done.returncode == 3, done.stderr
    assert not left.passed
    assert "accuracy" in left.reason
    client = MlflowClient(tracked.uri)
    assert client.search_registered_models("name = 'Failing'") == []
    run = client.get_run(left.run_id)
    assert (run.info.status, run.data.tags["tests"]) == ("FAILED", left.reason)


def test_a_missing_variable_is_named_and_nothing_is_trained(tracked: Tracked, code: Path) -> None:
    done = tracked.run(code, "trainer", "--result", "none.json", REVISION="")
    assert done.returncode == 2
    assert "not set: REVISION" in done.stderr
    assert not (tracked.folder / "none.json").exists()
