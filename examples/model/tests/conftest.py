"""A model for the server, and what starts servers and trainings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from digits.release import WEIGHTS, Release, digest
from processes import MODEL, REVISION, Tracked, checkout, serving
from trainer import fit


@pytest.fixture(scope="session")
def data() -> fit.Split:
    return fit.split()


@pytest.fixture(scope="session")
def model(data: fit.Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `trainer.fetch` leaves it."""
    folder = tmp_path_factory.mktemp("model")
    fit.train(data).save(folder / WEIGHTS)
    Release(MODEL, "7", REVISION, "0" * 32, digest(folder / WEIGHTS)).write(folder)
    return folder


@pytest.fixture(scope="session")
def start(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Starts the server of a revision with the model."""

    def started(revision: str = "main", **options: Any) -> Any:
        return serving(checkout(revision, tmp_path_factory.mktemp(revision)), options.pop("model", model), **options)

    return started


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    return Tracked(tmp_path_factory.mktemp("mlflow"))
