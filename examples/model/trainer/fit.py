"""Training and its measurements. The only module that knows scikit-learn."""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from digits import network
from digits.network import Floats, Network
from digits.picture import prepared
from trainer import architecture, task
from trainer.checks import Measurements
from trainer.samples import held_out


@dataclass(frozen=True)
class Split:
    """Prepared pictures and the positions of their labels."""

    pictures: Floats
    targets: NDArray[np.int64]
    held_out: Floats
    held_out_targets: NDArray[np.int64]


def split() -> Split:
    """The 1,797 pictures that come with scikit-learn; those of samples.jsonl are held out."""
    data = load_digits()
    targets = np.array([task.label(int(digit)) for digit in data.target])
    samples = held_out()
    apart = np.array([tuple(int(pixel) for pixel in picture) in samples for picture in data.data])
    pictures = prepared(data.data)
    return Split(pictures[~apart], targets[~apart], pictures[apart], targets[apart])


def train(data: Split) -> Network:
    """Fit the network."""
    classifier = MLPClassifier(
        architecture.HIDDEN,
        max_iter=architecture.EPOCHS,
        learning_rate_init=architecture.LEARNING_RATE,
        random_state=architecture.SEED,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is chosen; the tests judge
        classifier.fit(data.pictures, data.targets)
    weights = tuple(np.asarray(array, np.float32) for array in classifier.coefs_)
    biases = tuple(np.asarray(array, np.float32) for array in classifier.intercepts_)
    return Network(task.LABELS, weights, biases)


def measure(trained: Network, data: Split) -> Measurements:
    """What the tests of a model look at; made from its file, as the server will read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        trained.save(path)
        loaded = network.load(path)
    chances = loaded.probabilities(data.held_out)
    return Measurements(
        accuracy=float((chances.argmax(axis=1) == data.held_out_targets).mean()),
        parameters=loaded.parameters,
        same_when_loaded=bool(np.array_equal(chances, trained.probabilities(data.held_out))),
    )
