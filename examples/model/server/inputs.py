"""What came in, for whoever looks for drift: a distribution, never the pictures."""

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Histogram

BUCKETS = tuple(step / 20 for step in range(1, 21))


class Inputs:
    """Brightness of the pictures that were asked about."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Count in a registry."""
        what = "Mean of a picture's pixels, from 0 to 1"
        self._brightness = Histogram("model_input_brightness", what, buckets=BUCKETS, registry=registry)

    def observe(self, picture: NDArray[np.float32]) -> None:
        """Count one prepared picture."""
        self._brightness.observe(float(picture.mean()))
