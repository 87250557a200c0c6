"""What came in, for whoever looks for drift: the last pictures themselves, enlarged for people to look at.

Bad on purpose: each picture takes 8 MiB, and 128 of them are kept, 1 GiB. One request shows nothing of it; load does.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Gauge

KEPT = 128
SIDE = 1448
"""Of an enlarged picture, in pixels of 4 bytes each."""


class Inputs:
    """The pictures that were asked about."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Keep the last ones."""
        self._kept: deque[NDArray[np.float32]] = deque(maxlen=KEPT)
        Gauge("model_inputs_kept", "Pictures in memory", registry=registry).set_function(lambda: len(self._kept))

    def observe(self, picture: NDArray[np.float32]) -> None:
        """Keep one prepared picture."""
        times = SIDE // 8
        self._kept.append(picture.reshape(8, 8).repeat(times, axis=0).repeat(times, axis=1))
