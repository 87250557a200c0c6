"""What the pods of a release use while they are under load.

Memory is the server's own `process_resident_memory_bytes`, of `/metrics`: it is true at the moment of the reading and
costs milliseconds, so that it can be read ten times a second. The cluster's own figure (metrics.k8s.io) is renewed
every 15 to 60 s, longer than a whole round of load takes, and would miss it. A peak that falls between two readings is
missed by both; where it went beyond the limit, the kernel's kill is counted. Memory of a server's child processes is
not seen.
"""

import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ..gate import MeasurementError, PodUse
from .cluster_api import ApiError, ClusterApi, Pod
from .connection import Connection, Server

RESIDENT = re.compile(
    r"^process_resident_memory_bytes(?:\{[^}\n]*\})? ([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)(?![0-9.])", re.MULTILINE
)
LARGEST = 4 << 20
"""Bytes of `/metrics`."""
READING_SECONDS = 2.0
"""For one reading; a later answer is about another moment."""
MEMORY_EVERY = 0.1
"""Seconds between two readings of a pod's memory."""
STATES_EVERY = 1.0
"""Seconds between two readings of all states: of several kills of a container the API remembers the last."""


@dataclass(frozen=True)
class Where:
    """Which pods."""

    namespace: str
    selector: str
    """Labels that the release's pods have, such as app=staging."""
    container: str
    """The one that serves."""
    port: int = 8000


@dataclass
class _Seen:
    """What is known of one pod so far."""

    pod: Pod
    restarts_before: int = 0
    kills_before: frozenset[str] = frozenset()
    kills: frozenset[str] = frozenset()
    peak: int = 0
    readings: int = 0

    @property
    def use(self) -> PodUse:
        kills, restarts = len(self.kills - self.kills_before), self.pod.restarts - self.restarts_before
        return PodUse(self.pod.name, restarts, kills, self.peak, self.pod.limit_bytes, self.readings)


def resident(metrics: str) -> int | None:
    """Bytes, of the text of `/metrics`."""
    found = RESIDENT.search(metrics)
    used = float(found[1]) if found else math.inf
    return int(used) if math.isfinite(used) else None


@dataclass
class Watch:
    """Remembers the pods of a release from its making on. Restarts and kills before that are not the release's fault
    under load, and are not counted; those of pods that come later are.
    """

    api: ClusterApi
    where: Where
    clock: Callable[[], float] = time.monotonic
    _pods: dict[str, _Seen] = field(default_factory=dict)
    _ignored: frozenset[str] = frozenset()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Read every pod's past, or ApiError."""
        found = self._read()
        self._ignored = frozenset(pod.uid for pod in found if pod.leaving or pod.phase in {"Failed", "Succeeded"})
        for pod in found:
            if pod.uid not in self._ignored:
                self._pods[pod.uid] = _Seen(pod, pod.restarts, pod.oom_kills)

    def _read(self) -> tuple[Pod, ...]:
        return self.api.pods(self.where.namespace, self.where.selector, self.where.container)

    def refresh(self) -> None:
        """Read states again, or ApiError; MeasurementError where a pod went that was measured."""
        found = {pod.uid: pod for pod in self._read() if pod.uid not in self._ignored}
        with self._lock:
            for uid, pod in found.items():
                seen = self._pods.setdefault(uid, _Seen(pod))
                seen.pod, seen.kills = pod, seen.kills | pod.oom_kills
            gone = [seen.pod.name for uid, seen in self._pods.items() if uid not in found or found[uid].leaving]
        if gone:
            raise MeasurementError(f"pod {gone[0]} was deleted while it was measured; measure again")

    @property
    def servers(self) -> dict[str, Server]:
        """Where the pods that run answer, by their uid."""
        with self._lock:
            running = {uid: seen.pod.address for uid, seen in self._pods.items() if seen.pod.runs}
        return {uid: Server.at(address, self.where.port) for uid, address in running.items()}

    @property
    def uses(self) -> tuple[PodUse, ...]:
        """What is known of all pods that ran."""
        with self._lock:
            ran = [seen for seen in self._pods.values() if seen.pod.runs or seen.readings or seen.use.restarts]
            return tuple(seen.use for seen in sorted(ran, key=lambda seen: seen.pod.name))

    @contextmanager
    def under_load(self, until: float) -> Iterator[None]:
        """Read memory and states as long as this lasts, and once after it. No reading goes on after `until`."""
        over = threading.Event()
        with ExitStack() as stack:
            readers = [
                threading.Thread(target=self._read_memory, args=(uid, server, until, over))
                for uid, server in self.servers.items()
            ]
            readers.append(threading.Thread(target=self._read_states, args=(over,)))
            for reader in readers:
                reader.start()
                stack.callback(reader.join)
            stack.callback(over.set)
            yield
        self.refresh()

    def _read_memory(self, uid: str, server: Server, until: float, over: threading.Event) -> None:
        connection = Connection(server)
        ended = False
        while not ended:
            ended = over.is_set()  # the last reading begins after the load, and finds what the load left
            seconds = min(READING_SECONDS, until - self.clock())
            if seconds <= 0:
                break
            reply = connection.ask("GET", "/metrics", seconds=seconds, largest=LARGEST)
            used = resident(reply.body) if reply.status == 200 else None
            if used is not None:
                with self._lock:
                    seen = self._pods[uid]
                    seen.peak = max(seen.peak, used)
                    seen.readings += not ended
            over.wait(MEMORY_EVERY)
        connection.close()

    def _read_states(self, over: threading.Event) -> None:
        while not over.wait(STATES_EVERY):
            try:
                self.refresh()
            except (ApiError, MeasurementError):
                continue  # the reading after the load raises it, if it is still so
