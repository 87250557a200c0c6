"""How long work runs on a machine: as a systemd unit of its own that the SSH session starts and watches.

A cut session or a reboot loses nothing: the unit goes on, and the same command attaches to it, or finds its result.
`scripts/step.sh` is the session's side, `scripts/lib.sh` what every script on the machine begins with.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = str | int | bool | Sequence[str]
"""A variable of a script: text, number, yes or no ("1" or ""), or an array."""

SCRIPTS = Path(__file__).parent / "scripts"
# Lines that end the texts inside each other; no text may hold one.
TEXT, SCRIPT, SESSION = "LEASEHOLD-TEXT", "LEASEHOLD-SCRIPT", "LEASEHOLD-SESSION"
LONGEST = 128 * 1024
"""Linux's bound for one argument of a program, in bytes: the script travels as one."""


def read(name: str) -> str:
    """Read a file of `scripts/`."""
    return (SCRIPTS / name).read_text()


def command(
    *,
    host: str,
    step: str,
    minutes: int,
    variables: Mapping[str, Value],
    parts: Sequence[str],
    texts: Mapping[str, str] | None = None,
    programs: Mapping[str, str] | None = None,
    holds: str = ":",
) -> str:
    """Render the command for an SSH session; the step's secrets are its stdin, one JSON object of texts.

    `parts` are files of `scripts/`, run one after the other as root, at most `minutes` long; `texts` (path to content)
    are files that the script may install, `programs` are for it alone. `holds` is shell that fails when what a finished
    step did was undone elsewhere: then it runs again. Raises ValueError when a text cannot be carried.
    """
    carried = {f"texts/{path.strip('/').replace('/', '_')}": text for path, text in (texts or {}).items()}
    carried |= {f"programs/{name}": text for name, text in (programs or {}).items()}
    known: dict[str, Value] = {"host": host, "step": step, **variables}
    texts_of = [_heredoc(f"carried {shlex.quote(name)}", TEXT, text) for name, text in carried.items()]
    body = "\n".join([*assignments(known), read("lib.sh"), *texts_of, *(read(part) for part in parts)])
    header: dict[str, Value] = {
        "host": host,
        "step": step,
        "minutes": minutes,
        "digest": hashlib.sha256(body.encode()).hexdigest(),
    }
    carried_script = _heredoc("IFS= read -r -d '' script", SCRIPT, body, "|| true")
    session = [*assignments(header), carried_script, f"holds() {{\n{holds}\n}}", read("step.sh")]
    rendered = session_command("\n".join(session))
    if len(rendered.encode()) >= LONGEST:
        raise ValueError(f"{host}: the script of step {step} has {len(rendered.encode())} bytes, more than {LONGEST}")
    return rendered


def session_command(script: str) -> str:
    """Wrap a script so that any login shell runs it in bash as root, with stdin left to it."""
    return f'exec sudo -n bash -euo pipefail -c "$({_heredoc("cat", SESSION, script)})"\n'


def stdin(secrets: Mapping[str, str | None]) -> str:
    """Render a step's secrets: those that there are."""
    return json.dumps({name: value for name, value in secrets.items() if value})


def assignments(variables: Mapping[str, Value]) -> list[str]:
    """Render shell variables: booleans as "1" or nothing, sequences as arrays."""
    lines = []
    for name, value in variables.items():
        if isinstance(value, bool):
            lines.append(f"{name}={'1' if value else ''}")
        elif isinstance(value, str | int):
            lines.append(f"{name}={shlex.quote(str(value))}")
        else:
            lines.append(f"{name}=({' '.join(shlex.quote(item) for item in value)})")
    return lines


def _heredoc(command: str, end: str, text: str, after: str = "") -> str:
    """Render a command with a text as its stdin. Raises ValueError when a line of the text would end it."""
    if end in text.splitlines():
        raise ValueError(f"a text for `{command}` holds the line {end}")
    newline = "" if text.endswith("\n") else "\n"
    return f"{command} <<'{end}' {after}".rstrip() + f"\n{text}{newline}{end}\n"
