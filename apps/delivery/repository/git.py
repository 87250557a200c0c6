"""One git command at a time: bounded in time, memory and disk, in an environment that is ours alone."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from .remote import Login, Remote, SshKey

DISK = 256 * 1024 * 1024
"""Bytes of the largest file that git may write: a larger repository is no releases repository."""
KEPT = 16 * 1024 * 1024
"""Bytes of output that are read."""
PASSED_ON = ("PATH", *(name for word in ("http", "https", "no") for name in (f"{word}_proxy", f"{word}_proxy".upper())))
"""All that git gets of our environment."""
TOO_LARGE = "the repository is larger than"


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: bytes
    errors: str
    """What it said of problems, and what the server did."""

    @property
    def done(self) -> bool:
        """Whether it did what it was told."""
        return self.code == 0


def ssh_command(ssh: SshKey) -> str:
    """Ssh that knows one key, believes one file, and asks nobody."""
    options = (
        f"IdentityFile={ssh.key}",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={ssh.known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "ForwardAgent=no",
        "ConnectTimeout=10",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
    )
    return " ".join(["ssh", "-F", "/dev/null", *(f"-o {option}" for option in options)])


def credential_helper(login: Login) -> str:
    """A function of the shell that tells git, and only git, the login. Neither is in an argument or a variable."""
    say = f"echo username={login.user}; printf 'password=%s\\n' \"$(head -n 1 {login.token})\""
    return f'!leasehold() {{ test "$1" = get && {{ {say}; }}; }}; leasehold'


def configuration(remote: Remote) -> Iterator[tuple[str, str]]:
    """Git's settings: no hooks, nothing in the background, what comes is checked and held in little memory."""
    yield "core.hooksPath", "/dev/null"
    yield "core.fsmonitor", "false"
    yield "core.bigFileThreshold", "1m"
    yield "core.fsync", "none"  # the clone is thrown away; what counts is on the server
    yield "fastimport.unpackLimit", "1"  # saves a process
    yield "fetch.fsckObjects", "true"
    yield "fetch.recurseSubmodules", "false"
    yield "gc.auto", "0"
    yield "maintenance.auto", "false"
    yield "http.followRedirects", "false"  # another server would get the login
    yield "http.lowSpeedLimit", "100"
    yield "http.lowSpeedTime", "20"
    yield "credential.helper", ""
    if remote.login is not None:
        yield "credential.helper", credential_helper(remote.login)
    if remote.authority is not None:
        yield "http.sslCAInfo", remote.authority


def environment(remote: Remote, home: Path) -> dict[str, str]:
    """The variables of git; secrets are not among them."""
    settings = tuple(configuration(remote))
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    variables |= {
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_DIR": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": remote.scheme,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for index, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    if remote.ssh is not None:
        variables["GIT_SSH_COMMAND"] = ssh_command(remote.ssh)
    return variables


def run(
    variables: Mapping[str, str],
    words: Sequence[str],
    given: bytes = b"",
    seconds: float = 60,
    disk: int | None = None,
) -> Ran:
    """Run git, and end it with all that it started when its time is over. Code 124 stands for that."""
    disk = DISK if disk is None else disk
    # The shell sets the bound, since a function of ours between fork and exec could hang in a program with threads.
    # It fails only where a lower one holds.
    command = ["/bin/sh", "-c", f'ulimit -f {disk // 512} 2>/dev/null; exec git "$@"', "git", *words]
    with TemporaryFile() as sent, TemporaryFile() as out, TemporaryFile() as errors:
        sent.write(given)
        sent.seek(0)
        process = subprocess.Popen(
            command, stdin=sent, stdout=out, stderr=errors, env=dict(variables), cwd="/", start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = 124
        finally:
            _end(process)
        said = _read(errors).decode(errors="replace")
        if code == 124:
            said += f"\nfatal: no answer within {seconds:g} s"
        if code in {-signal.SIGXFSZ, 128 + signal.SIGXFSZ} or f"signal {signal.SIGXFSZ.value}" in said:
            said += f"\nfatal: {TOO_LARGE} {disk // 1024**2} MiB"
        return Ran(code, _read(out), said)


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(KEPT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ssh and git's helpers for HTTP are children of git's: they go with it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
