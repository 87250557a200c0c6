"""Running programs, and keeping processes that can be found again after anything was killed."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rehearsal.cloud.errors import CloudError

MARK = "LEASEHOLD_CLOUD_ROOT"
"""Environment variable of every process that a cloud starts, its children included: the cloud's folder."""
TAIL = 600


def run(
    args: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 600,
    log: Path | None = None,
) -> str:
    """Run a program to its end (`timeout` in seconds) and return its output, or append that to `log`.

    A failure is a CloudError with the program's name and the end of what it printed.
    """
    words = [str(arg) for arg in args]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=None if env is None else dict(env),
            text=True,
            errors="replace",
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CloudError(f"{words[0]} is not installed: install the package that has it, then try again") from error
    except subprocess.TimeoutExpired as error:
        raise CloudError(f"{words[0]} {words[1] if words[1:] else ''} did not end within {timeout:.0f} s") from error
    if log:
        with log.open("a") as file:
            file.write(done.stdout + done.stderr)
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-TAIL:]
        raise CloudError(f"{Path(words[0]).name} failed ({done.returncode}): {said}")
    return done.stdout


def free_ports(count: int) -> list[int]:
    """`count` consecutive ports of 127.0.0.1 that nobody uses, below the range that outgoing connections use."""
    for _ in range(100):
        first = 20000 + secrets.randbelow(12000)
        ports = list(range(first, first + count))
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in ports:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return ports
    raise CloudError(f"no block of {count} free ports on 127.0.0.1: end what uses ports 20000 to 32000")


def listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something answers there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def marked(mark: str) -> list[int]:
    """Ids of the processes whose environment carries MARK=`mark`: whatever became of their parents."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def _gone(pid: int) -> bool:
    """Whether nothing of a process runs: after its first thread has ended, others may still hold its ports."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return True
    state, threads = fields[0], int(fields[17])
    return state == "Z" and threads <= 1


def end(pids: Sequence[int], timeout: float = 15.0) -> None:
    """SIGTERM, then SIGKILL after `timeout` seconds; returns when they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    for pid in pids:
        while not _gone(pid):
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):  # ours, if this process started it
            os.waitpid(pid, os.WNOHANG)


class Processes:
    """The long-running processes of one cloud, by name. Their ids are kept in files below `run`."""

    def __init__(self, folder: Path) -> None:
        """`env` is added to the environment of every process started."""
        self._folder = folder
        self.env: dict[str, str] = {}

    def start(self, name: str, args: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Start it in the background, its output in log/NAME.out."""
        for sub in ("run", "log"):
            (self._folder / sub).mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "log" / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                [str(arg) for arg in args],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.env, **(env or {}), MARK: str(self._folder)},
                cwd=self._folder,
                start_new_session=True,
            )
        self._file(name).write_text(str(process.pid))

    def _file(self, name: str) -> Path:
        return self._folder / "run" / f"{name}.pid"

    def pid(self, name: str) -> int | None:
        """Its id while it runs; a number that meanwhile belongs to somebody else does not count."""
        try:
            pid = int(self._file(name).read_text())
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if f"{MARK}={self._folder}".encode() in environ.split(b"\0") and not _gone(pid) else None

    def stop(self, names: Sequence[str], timeout: float = 15.0) -> None:
        """End those that run."""
        end([pid for pid in map(self.pid, names) if pid], timeout)
        for name in names:
            self._file(name).unlink(missing_ok=True)

    def stop_all(self) -> None:
        """End every process of this cloud, also those whose files are lost."""
        end(marked(str(self._folder)))
        for file in (self._folder / "run").glob("*.pid"):
            file.unlink(missing_ok=True)

    def wait_port(self, name: str, port: int, timeout: float = 180.0, host: str = "127.0.0.1") -> None:
        """Wait until `name` answers on `port`; a process that ended first is an error."""
        deadline = time.monotonic() + timeout
        while not listening(port, host):
            if self.pid(name) is None:
                raise CloudError(f"{name} ended while it started: see {self._folder / 'log'}/{name}.out and .log")
            if time.monotonic() > deadline:
                raise CloudError(f"{name} does not answer on port {port} after {timeout:.0f} s: see {self._folder}/log")
            time.sleep(0.05)
