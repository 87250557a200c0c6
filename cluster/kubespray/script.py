"""What runs on the bastion, and what lets it into the machines, as text. Pure."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster import step
from cluster.kubespray import render
from config import Download

HERE = Path(__file__).parent
MINUTES = 180
"""Bound of a run: the release's own advice for large clusters is about an hour for 150 nodes; retries included."""
MARK = "leasehold kubespray"
ANSIBLES_OWN = frozenset({"ansible_host", "ansible_port", "ansible_user"})
"""Variables that Ansible reads, and the release need not know."""


@dataclass(frozen=True)
class Run:
    """One run of Kubespray."""

    bastion: str
    """Name of the machine that it runs on."""
    machines: tuple[render.Machine, ...]
    host_keys: tuple[str, ...]
    """OpenSSH public host keys, one for each machine."""
    identities: tuple[str, ...]
    """Another identity is another machine under the same name."""
    options: render.Options
    release: Download


def script(run: Run) -> str:
    """Render the command for the bastion; its secrets come on stdin. Raises ValueError for what cannot work."""
    variables = render.group_vars(run.machines, run.options)
    described = render.described(run.machines)
    names = {name for machine in described.values() for name in machine["variables"]} | set(variables)
    wanted = {
        "version": run.options.version,
        "release": run.release.sha256,
        "settings": hashlib.sha256(json.dumps(variables, sort_keys=True).encode()).hexdigest(),
        "machines": described,
    }
    return step.command(
        host=run.bastion,
        step="kubespray",
        minutes=MINUTES,
        variables={
            "forks": render.forks(len(run.machines)),
            "kubernetes": run.options.version,
            "release_path": run.release.path,
            "release_url": run.release.url,
            "release_sha256": run.release.sha256,
            # Not read: another machine under an old name is another text, so the command runs again.
            "identities": run.identities,
        },
        parts=("../kubespray/kubespray.sh",),
        programs={
            "plan.py": (HERE / "plan.py").read_text(),
            "ansible.lock": (HERE / "ansible.lock").read_text(),
            "wanted.json": json.dumps(wanted, separators=(",", ":")),
            "variables.json": json.dumps(variables),
            "names": "".join(f"{name}\n" for name in sorted(names - ANSIBLES_OWN)),
            "machines": "".join(f"{m.name} {m.address} {m.port} {m.user} {m.role}\n" for m in run.machines),
            "known_hosts": known_hosts(run.machines, run.host_keys),
        },
    )


def known_hosts(machines: Sequence[render.Machine], host_keys: Sequence[str]) -> str:
    """Render the pinned host keys under the addresses that Ansible connects to."""
    lines = []
    for machine, key in zip(machines, host_keys, strict=True):
        place = machine.address if machine.port == 22 else f"[{machine.address}]:{machine.port}"
        lines.append(f"{place} {' '.join(key.split()[:2])}\n")
    return "".join(lines)


def secrets(secret: str, ssh_key: str) -> str:
    """Render the command's stdin: the key that opens the machines, and the variables that are secrets."""
    digest = hashlib.sha256(secret[32:].encode()).hexdigest()
    return step.stdin({"ssh_key": ssh_key, "variables": json.dumps(render.secret_vars(secret, digest=digest))})


def admit(public_key: str) -> str:
    """Render the command that lets the bastion's key log in as this user: for commands, and nothing else."""
    line = f"restrict {' '.join(public_key.split()[:2])} {MARK}"
    return f"""set -eu
umask 077
mkdir -p ~/.ssh
file=~/.ssh/authorized_keys
{{ sed '/ {MARK}$/d' "$file" 2>/dev/null || true; echo {shlex.quote(line)}; }} >"$file.{MARK.replace(" ", "-")}"
mv -f "$file.{MARK.replace(" ", "-")}" "$file"
"""


def parse(stdout: str) -> str:
    """Read the administrator's kubeconfig from the command's output; ValueError, without the text, if it has none."""
    try:
        return str(json.loads(stdout.strip().splitlines()[-1])["kubeconfig"])
    except (IndexError, ValueError, KeyError, TypeError):
        raise ValueError("the bastion printed no kubeconfig at the end of its output") from None
