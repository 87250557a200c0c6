"""What came in, for whoever looks for drift: every picture is sent to an archive before it is answered.

Bad on purpose: the archive, a pause here, takes longer than anybody wants to wait. It takes no processor's time.
"""

import time

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter

ARCHIVE_SECONDS = 2.5


class Inputs:
    """The pictures that were asked about."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Count in a registry."""
        self._archived = Counter("model_inputs_archived", "Pictures sent to the archive", registry=registry)

    def observe(self, picture: NDArray[np.float32]) -> None:  # noqa: ARG002 (the pause stands for sending it)
        """Wait until the archive has one prepared picture."""
        time.sleep(ARCHIVE_SECONDS)
        self._archived.inc()
