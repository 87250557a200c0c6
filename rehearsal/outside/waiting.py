"""Waits with a bound."""

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

from rehearsal.outside.kubectl import KubectlError

T = TypeVar("T")
NOT_YET: tuple[type[Exception], ...] = (KubectlError, subprocess.SubprocessError, ValueError, KeyError)
"""What a check may raise while what it looks for is not there."""


def until(
    what: str,
    check: Callable[[], T],
    seconds: float,
    pause: float = 0.5,
    not_yet: tuple[type[Exception], ...] = NOT_YET,
) -> T:
    """Wait for something true; its value. Raises TimeoutError, with what the last check said."""
    deadline, last = time.monotonic() + seconds, "false"
    while True:
        try:
            if found := check():
                return found
        except not_yet as error:
            last = str(error)[-1500:]
        if time.monotonic() >= deadline:
            raise TimeoutError(f"gave up after {seconds:.0f} s waiting for {what}: {last}")
        time.sleep(pause)
