"""Bounded waiting: every wait of a provider ends by success, by timeout or by an interrupt."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from rehearsal.protocol import Call, ProviderError

T = TypeVar("T")

FIRST_PAUSE = 0.3
LAST_PAUSE = 1.0


class Clock:
    """The time that is left for one verb."""

    def __init__(self, call: Call, label: str, timeout: float | None = None) -> None:
        """Start now; `timeout` in seconds, else the call's."""
        self.label = label
        self.timeout = call.timeout if timeout is None else timeout
        self._cancel = call.cancel
        self._end = time.monotonic() + self.timeout

    @property
    def left(self) -> float:
        """Seconds; never negative."""
        return max(0.0, self._end - time.monotonic())

    def check(self, doing: str) -> None:
        """Raise when time is up or the run was interrupted."""
        if self._cancel.is_set():
            raise ProviderError(f"{self.label}: interrupted while {doing}; run the same command again to continue")
        if not self.left:
            raise ProviderError(
                f"{self.label}: {doing} took more than {self.timeout:g} s; "
                "look at the object in the cloud, then run again or raise its timeout"
            )

    def pause(self, seconds: float, doing: str) -> None:
        """Sleep, but not past the end, and not past an interrupt."""
        self.check(doing)
        self._cancel.wait(min(seconds, self.left))
        self.check(doing)

    def until(self, doing: str, probe: Callable[[], T | None]) -> T:
        """Ask again and again; the first answer that is not None."""
        pause = FIRST_PAUSE
        while True:
            answer = probe()
            if answer is not None:
                return answer
            self.pause(jitter(pause), doing)
            pause = min(pause * 1.3, LAST_PAUSE)


def jitter(seconds: float) -> float:
    """Spread by a fifth, so that many resources do not ask at the same moment."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311  no secret depends on it
