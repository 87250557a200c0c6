"""Load: so many requests, so many at a time, each begun when one before it has ended.

Threads, not asyncio: the standard library's only reader of HTTP answers is `http.client`, which blocks, and ten threads
that wait cost nothing. Requests are not tried again, and `Retry-After` is not heeded: both would hide failures.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .connection import Connection, Reply, Server, trust
from .samples import HEADERS, Sample


@dataclass(frozen=True)
class Problem:
    """Why requests failed, for people."""

    what: str
    times: int


@dataclass(frozen=True)
class Offered:
    """What became of the requests."""

    requests: tuple[float | None, ...]
    """Milliseconds, in the order of their start; None where the answer was missing, late or not of status 200."""
    problems: tuple[Problem, ...]
    """The most frequent first."""


class _Round:
    """What the threads of one round share."""

    def __init__(self, requests: int, may_start: Callable[[], bool]) -> None:
        self.requests: list[float | None] = []
        self.problems: Counter[str] = Counter()
        self._most = requests
        self._may_start = may_start
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """The number of the next request: numbers are in the order of starts."""
        with self._lock:
            if len(self.requests) >= self._most or not self._may_start():
                return None
            self.requests.append(None)
            return len(self.requests) - 1

    def note(self, number: int, reply: Reply) -> None:
        with self._lock:
            if reply.status == 200:
                self.requests[number] = reply.ms
            else:
                self.problems[reply.problem if reply.status is None else f"status {reply.status}"] += 1


def offer(
    server: Server,
    samples: Sequence[Sample],
    requests: int,
    concurrency: int,
    *,
    first: int = 0,
    seconds: float,
    until: float,
    clock: Callable[[], float] = time.monotonic,
) -> Offered:
    """Send samples in turn, from number `first` on.

    A request takes `seconds` at most. None begins that could not end before `until` by `clock`, so that no request is
    cut short for another's cause; then there are fewer.
    """
    round_ = _Round(requests, lambda: clock() + seconds <= until)
    trusted = trust(server)

    def client() -> None:
        connection = Connection(server, trusted)
        try:
            while (number := round_.take()) is not None:
                body = samples[(first + number) % len(samples)].body
                round_.note(number, connection.ask("POST", "/predict", body, seconds=seconds, headers=HEADERS))
        finally:
            connection.close()

    with ThreadPoolExecutor(concurrency) as clients:
        for ended in [clients.submit(client) for _ in range(concurrency)]:
            ended.result()
    return Offered(tuple(round_.requests), tuple(Problem(*counted) for counted in round_.problems.most_common()))
