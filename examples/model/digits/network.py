"""The trained network as plain arrays: it is served without the library that trained it."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from digits.picture import PIXELS

MOST_BYTES = 64 << 20
"""Of a model in memory. A file may pack far more than its own size."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """Layers of weights and biases: ReLU between them, softmax after the last."""

    classes: tuple[str, ...]
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]

    def __post_init__(self) -> None:
        """Refuse layers that do not fit each other."""
        sizes = [PIXELS]
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.ndim != 2 or weight.shape[0] != sizes[-1] or bias.shape != (weight.shape[1],):
                raise ValueError(f"layer {number}: {weight.shape} and {bias.shape} do not follow {sizes[-1]} values")
            sizes.append(weight.shape[1])
        if sizes[-1] != len(self.classes) or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{sizes[-1]} values for the classes {self.classes}")

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return sum(array.size for array in (*self.weights, *self.biases))

    def probabilities(self, pictures: Floats) -> Floats:
        """Of each class, one row for each prepared picture."""
        values = pictures
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = np.maximum(values @ weight + bias, 0)
        scores = values @ self.weights[-1] + self.biases[-1]
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Floats = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def save(self, path: Path) -> None:
        """Write the arrays; the same network always gives the same bytes."""
        layers = {f"weight_{number}": weight for number, weight in enumerate(self.weights)}
        layers |= {f"bias_{number}": bias for number, bias in enumerate(self.biases)}
        np.savez(path, classes=np.array(self.classes), **layers)  # type: ignore[arg-type]


def load(path: Path) -> Network:
    """Read what `save` wrote. The format holds arrays only: nothing in it is ever run."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_BYTES:
        raise ValueError(f"{path} holds {size} bytes, more than {MOST_BYTES}")
    with np.load(path, allow_pickle=False) as arrays:
        count = sum(name.startswith("weight_") for name in arrays.files)
        classes = tuple(str(name) for name in arrays["classes"])
        return Network(classes, _layers(arrays, "weight", count), _layers(arrays, "bias", count))


def _layers(arrays: "np.lib.npyio.NpzFile", kind: str, count: int) -> tuple[Floats, ...]:
    return tuple(arrays[f"{kind}_{number}"].astype(np.float32) for number in range(count))
