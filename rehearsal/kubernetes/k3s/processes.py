"""Component processes: started, watched, ended together."""

import collections
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from . import log
from .files import CommandError
from .log import Fatal

T = TypeVar("T")
_LIBC = ctypes.CDLL(None)
_DEATH_SIGNAL = 1  # prctl: what a child gets when the thread that started it ends


class Stopped(Exception):  # noqa: N818  # no error
    """The program is to end: by a signal, or because a component failed."""


def _end_with_parent() -> None:
    _LIBC.prctl(_DEATH_SIGNAL, signal.SIGTERM)


class Component(threading.Thread):
    """One process. Its end ends the program, as a component's does inside k3s, unless it is to be `restarted`."""

    def __init__(
        self,
        group: "Group",
        name: str,
        argv: Sequence[object],
        *,
        env: Mapping[str, str],
        log_file: Path | None,
        restart: bool,
    ) -> None:
        """Nothing runs before `start`."""
        super().__init__(daemon=True, name=name)
        self.group, self.argv, self.env, self.log_file, self.restart = (
            group,
            [str(word) for word in argv],
            env,
            log_file,
            restart,
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.last: collections.deque[str] = collections.deque(maxlen=20)

    def run(self) -> None:
        """Keep the process running until the group stops."""
        while not self.group.stopping.is_set():
            log.info(f"Running {self.name}")
            code = self._once()
            if self.group.stopping.is_set():
                return
            reason = next((line for line in reversed(self.last) if line.strip()), f"exit status {code}")
            if not self.restart:
                self.group.fail(f"{self.name} exited: {reason}")
                return
            log.error(f"{self.name} exited with {code}, starting it again: {reason}")
            self.group.stopping.wait(2)

    def _once(self) -> int:
        output = self.log_file.open("ab") if self.log_file else subprocess.PIPE
        self.process = subprocess.Popen(
            self.argv,
            env={key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"} | dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            umask=0o022,  # the usual one: with ours, only root could enter the root folder of a container
            preexec_fn=_end_with_parent,  # the unit has KillMode=process: nothing else would end them  # noqa: PLW1509
        )
        if self.process.stdout:
            for line in self.process.stdout:
                os.write(2, line)
                self.last.append(line.decode(errors="replace").strip())
        return self.process.wait()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None


class Group:
    """All components of this program."""

    def __init__(self) -> None:
        """Nothing runs at first."""
        self.stopping = threading.Event()
        self.failure = ""
        self.components: list[Component] = []

    def start(
        self,
        name: str,
        argv: Sequence[object],
        env: Mapping[str, str] | None = None,
        log_file: Path | None = None,
        restart: bool = False,
    ) -> Component:
        """Start a component; its output goes to ours, or to `log_file`."""
        component = Component(self, name, argv, env=env or {}, log_file=log_file, restart=restart)
        self.components.append(component)
        component.start()
        return component

    def fail(self, reason: str) -> None:
        """End the program because of `reason`; the first reason counts."""
        if not self.stopping.is_set():
            self.failure = reason
            log.error(f"Shutdown request received: {reason}")
            self.stopping.set()

    def background(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Run `work` in a thread; an exception of it ends the program."""

        def body() -> None:
            try:
                work()
            except Stopped:
                pass
            except (Fatal, CommandError, OSError) as failure:
                self.fail(f"{name}: {failure}")

        thread = threading.Thread(target=body, daemon=True, name=name)
        thread.start()
        return thread

    def repeat(self, name: str, work: Callable[[], object], seconds: float) -> None:
        """Run `work` again and again, `seconds` apart; what it raises is logged, and it goes on."""

        def body() -> None:
            while not self.stopping.wait(seconds):
                try:
                    work()
                except Exception as failure:  # it must outlive a lost API server, whatever that raises
                    log.error(f"{name}: {type(failure).__name__}: {failure}"[:400])

        threading.Thread(target=body, daemon=True, name=name).start()

    def until(self, what: str, probe: Callable[[], T], seconds: float = 300, pause: float = 0.25) -> T:
        """The first true value of `probe`, tried `pause` seconds apart; Fatal of `probe` is not tried again.

        Raises Fatal after `seconds`, with the last error; Stopped if the program is to end.
        """
        end, last = time.monotonic() + seconds, ""
        while not self.stopping.is_set():
            try:
                value = probe()
                if value:
                    return value
            except Fatal:
                raise
            except Exception as failure:  # any failure here means: not yet
                last = f": {failure}"
            if time.monotonic() > end:
                raise Fatal(f"gave up after {seconds:.0f} seconds waiting for {what}{last}")
            self.stopping.wait(pause)
        raise Stopped

    def shutdown(self, first: float = 4, rest: float = 3) -> None:
        """End all: etcd and containerd last, so that the others can say goodbye. At most `first` + `rest` seconds."""
        self.stopping.set()
        late = [component for component in self.components if component.name in ("etcd", "containerd")]
        early = [component for component in self.components if component not in late]
        for batch, seconds in ((early, first), (late, rest)):
            for component in batch:
                if component.running and component.process:
                    component.process.terminate()
            end = time.monotonic() + seconds
            while any(component.running for component in batch) and time.monotonic() < end:
                time.sleep(0.05)
            for component in batch:
                if component.running and component.process:
                    component.process.kill()


def notify_ready() -> None:
    """Tell systemd that the unit is up."""
    where = os.environ.get("NOTIFY_SOCKET")
    if where:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"READY=1", "\0" + where[1:] if where[0] == "@" else where)
