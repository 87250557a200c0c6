"""The file of a model: it holds what was trained, and cannot hold anything else."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from digits import network, release
from digits.network import MOST_BYTES, Network


def some_network(classes: tuple[str, ...] = ("a", "b")) -> Network:
    numbers = np.random.default_rng(1)
    sizes = (64, 5, len(classes))
    weights = tuple(numbers.normal(size=pair).astype(np.float32) for pair in pairwise(sizes))
    return Network(classes, weights, tuple(np.zeros(size, np.float32) for size in sizes[1:]))


def test_a_saved_network_answers_as_before(tmp_path: Path) -> None:
    made, path = some_network(), tmp_path / "weights.npz"
    made.save(path)
    pictures = np.random.default_rng(2).random((3, 64), np.float32)
    answers = network.load(path).probabilities(pictures)
    assert np.array_equal(answers, made.probabilities(pictures))
    assert np.allclose(answers.sum(axis=1), 1)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    """Its digest is what a version is known by."""
    for name in ("one.npz", "two.npz"):
        some_network().save(tmp_path / name)
    assert release.digest(tmp_path / "one.npz") == release.digest(tmp_path / "two.npz")


def test_a_file_with_a_pickle_is_not_read(tmp_path: Path) -> None:
    """Loading a pickle runs what its author wrote."""
    path = tmp_path / "weights.npz"
    np.savez(path, classes=np.array(["a", {"b": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        network.load(path)


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    """A few kilobytes of zeros can unpack to gigabytes."""
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, weight_0=np.zeros(MOST_BYTES // 4 + 1, np.float32))
    assert path.stat().st_size < MOST_BYTES / 100
    with pytest.raises(ValueError, match="more than"):
        network.load(path)


@pytest.mark.parametrize("classes", [("a",), ("a", "b", "c"), ("a", "a")])
def test_classes_that_do_not_fit_the_last_layer_are_refused(classes: tuple[str, ...]) -> None:
    made = some_network()
    with pytest.raises(ValueError, match="classes"):
        Network(classes, made.weights, made.biases)


def test_weights_other_than_the_registered_ones_are_refused(model: Path, tmp_path: Path) -> None:
    """An image with a file that was swapped or cut must not serve."""
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    assert release.read(tmp_path).model_version == "7"
    weights = tmp_path / release.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match="was registered"):
        release.read(tmp_path)
