"""Private files and short-lived commands."""

import hashlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandError(Exception):
    """A command failed; the text holds its name and the end of what it said."""


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file at once, never readable by more than `mode` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    new.replace(path)


def digest(data: bytes | str) -> str:
    """sha256, in hexadecimal."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def run(
    command: Sequence[object],
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 120,
) -> str:
    """Standard output of a command. Secrets go over `stdin` or `env`, never into `command`.

    Raises CommandError if it fails and `check` holds, or if it takes more than `timeout` seconds.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"{words[0]} did not end within {timeout:.0f} seconds") from None
    if check and done.returncode:
        raise CommandError(f"{Path(words[0]).name} failed: {done.stderr.decode(errors='replace').strip()[-600:]}")
    return done.stdout.decode(errors="replace")
