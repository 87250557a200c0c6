"""The end of a server: it goes on answering while others learn that it is leaving. Standard library only."""

import time
from collections.abc import Callable


class Drain:
    """Remembers when the server was asked to stop."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Let a drain take so many seconds."""
        self._seconds = seconds
        self._clock = clock
        self._began: float | None = None
        self._hurried = False

    def ask(self) -> None:
        """Begin; whoever asks again does not want to wait."""
        self._hurried = self.began
        if self._began is None:
            self._began = self._clock()

    @property
    def began(self) -> bool:
        """Whether new requests should go elsewhere."""
        return self._began is not None

    @property
    def over(self) -> bool:
        """Whether to stop now."""
        return self._began is not None and (self._hurried or self._clock() - self._began >= self._seconds)
