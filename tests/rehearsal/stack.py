"""One stack of a rehearsal as tests drive it: the command line, the outputs, and OpenSSH."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.cli import passphrase
from rehearsal.cloud import Cloud
from rehearsal.engine.secrets import Crypter
from rehearsal.paths import PROJECT, Root
from tests.environments import as_file, dev

SECONDS = 900


@dataclass
class Run:
    """A command that ended."""

    code: int
    out: str
    err: str

    def count(self, op: str) -> int:
        """Resources with an operation, from the closing line of up, preview and destroy."""
        lines = [line for line in self.out.splitlines() if re.match(r"^(up|preview|destroy|refresh): ", line)]
        found = re.search(rf"\b(\d+) {op}\b", lines[-1]) if lines else None
        return int(found.group(1)) if found else 0

    def names(self, op: str) -> set[str]:
        """Type and name of the resources with an operation: `Instance node1`."""
        pattern = rf"^ *\S+ {op} +\S+:(\w+) (\S+)"
        return {f"{kind} {name}" for kind, name in re.findall(pattern, self.out, re.MULTILINE)}


@dataclass
class Stack:
    """One stack of a rehearsal, driven by the command line as people do."""

    root: Root
    name: str
    file: Path
    program: tuple[str, ...] = ("rehearsal",)
    """The module that is run, and its first words."""

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a command in a session of its own."""
        command = [sys.executable, "-m", *self.program, *words]
        options = ["--root", str(self.root.path), "--stack", self.name, "--config-file", str(self.file)]
        return subprocess.Popen(
            [*command, *options],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"},
        )

    def run(self, *words: str, code: int | None = 0) -> Run:
        """Run a command to its end; `code` is what it must end with, None for anything."""
        process = self.start(*words)
        out, err = process.communicate(timeout=SECONDS)
        if code is not None:
            assert process.returncode == code, f"{words} ended with {process.returncode}\n{out[-6000:]}\n{err[-3000:]}"
        return Run(process.returncode, out, err)

    def write(self, tree: dict[str, Any], **secrets: str) -> None:
        """Change the environment file; secrets as `pulumi config set --secret` has them."""
        crypter = Crypter.new(passphrase(self.root))
        sealed = {name: {"secure": crypter.encrypt(text)} for name, text in secrets.items()}
        salt = f"encryptionsalt: {crypter.salt}\n" if secrets else ""
        self.file.write_text(salt + as_file({**tree, **sealed}))

    def outputs(self, *, secrets: bool = False) -> dict[str, Any]:
        """The stack outputs."""
        found: dict[str, Any] = json.loads(self.run("outputs", "--json", *(["--show-secrets"] if secrets else [])).out)
        return found

    @property
    def state(self) -> Path:
        """The state file."""
        return self.root.stacks / f"{self.name}.json"


@dataclass
class Ssh:
    """The OpenSSH client, set up from the stack outputs as docs/outputs.md says."""

    config: Path

    def run(self, host: str, command: str, *, check: bool = True) -> str:
        """Run a command on a machine, through the bastion, with its pinned key."""
        result = subprocess.run(
            ["ssh", "-F", str(self.config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host, command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or result.returncode == 0, f"{host}: {command}: {result.stderr}"
        return (result.stdout if check else result.stdout + result.stderr).strip()


def kill(running: "subprocess.Popen[str]") -> str:
    """End a command that `Stack.start` began, and all that it started, without a word; what it had printed."""
    os.killpg(running.pid, signal.SIGKILL)
    return running.communicate(timeout=60)[0]


def ssh_of(stack: Stack) -> Ssh:
    """Write the client's files into a private folder."""
    folder = Path(tempfile.mkdtemp(dir=stack.root.path))
    outputs = stack.outputs(secrets=True)
    key, hosts, config = folder / "key", folder / "known_hosts", folder / "config"
    key.touch(mode=0o600)
    key.write_text(outputs["ssh_private_key"])
    hosts.write_text(outputs["known_hosts"])
    name = stack.name
    text = outputs["ssh_config"].replace(f"~/.ssh/leasehold-{name}.known_hosts", str(hosts))
    config.write_text(text.replace(f"~/.ssh/leasehold-{name}", str(key)))
    return Ssh(config)


@contextmanager
def fresh(root: Root, cloud: Cloud, name: str, folder: Path, tree: dict[str, Any], **secrets: str) -> Iterator[Stack]:
    """A stack that was never deployed, on an empty cloud, which is empty afterwards, too."""

    def emptied() -> None:
        stack.state.unlink(missing_ok=True)
        cloud.reset()

    stack = Stack(root, name, folder / f"Pulumi.{name}.yaml")
    stack.write(tree, **secrets)
    emptied()
    try:
        yield stack
    finally:
        emptied()


def machines_only() -> dict[str, Any]:
    """The shipped environment without its cluster: what becomes of the machines is shown quicker."""
    return {"infra": dev()["infra"]}


def small() -> dict[str, Any]:
    """One server and one volume on an unreserved flavor: every kind of cloud object, and quick."""
    tree = machines_only()
    infra = tree["infra"]
    infra["leases"] = {}
    node = infra["nodes"]["node1"]
    infra["nodes"] = {"node1": {k: v for k, v in node.items() if k != "lease"} | {"flavor": "m1.small"}}
    infra["volumes"] = {"node1-data": {"size_gb": 1}}
    return tree
