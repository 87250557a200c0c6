"""A picture: 8 x 8 pixels in rows from the top left, each from 0 (empty) to 16 (full)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

PIXELS = 64
FULL = 16


def prepared(pictures: ArrayLike) -> NDArray[np.float32]:
    """What the network is given, one row for each picture: pixels from 0 to 1.

    Training and serving both call this, so that they cannot differ.
    """
    return (np.asarray(pictures, dtype=np.float32).reshape(-1, PIXELS) / FULL).astype(np.float32)
