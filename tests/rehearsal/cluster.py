"""A deployed cluster as tests see it: through the stack outputs, and from inside its machines."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rehearsal.cloud import Cloud, machines, network
from rehearsal.outside import kubectl, waiting
from rehearsal.paths import Root
from tests.rehearsal.stack import Stack

T = TypeVar("T")
LOGIN = "Accepted publickey"


def until(what: str, check: Callable[[], T], seconds: float, pause: float = 0.5) -> T:
    """Wait for something true; its value. A failed assertion of the check means: not yet."""
    return waiting.until(what, check, seconds, pause, (*waiting.NOT_YET, AssertionError))


@dataclass(frozen=True)
class Machines:
    """The machines of one stack, entered from the computer that they run on: no SSH, no bastion."""

    cloud: Cloud
    root: Root
    stack: str

    def ids(self) -> dict[str, str]:
        """Node name to server id."""
        prefix = f"{self.stack}-"
        servers = self.cloud.inventory()["servers"]
        return {s["name"].removeprefix(prefix): s["id"] for s in servers if s["name"].startswith(prefix)}

    def _podman(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        env = {**os.environ, **machines.configure(self.root.cloud)}
        done = subprocess.run(["podman", *words], env=env, capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, f"podman {shlex.join(words)}: {done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def run(self, name: str, command: str, *, check: bool = True, timeout: float = 120) -> str:
        """Run a command as root on a machine."""
        return self._podman("exec", self.container(name), "bash", "-c", command, check=check, timeout=timeout).strip()

    def container(self, name: str) -> str:
        """Name of a machine's container."""
        return f"{network.namespace(self.root.name)}-{self.ids()[name]}"

    def kill(self, name: str) -> None:
        """Cut the power."""
        self._podman("kill", "--signal", "KILL", self.container(name))

    def reboot(self, name: str) -> None:
        """Restart it without a word to what runs there."""
        self.cloud.admin().compute.reboot_server(self.ids()[name], "HARD")

    def lose(self, *names: str) -> None:
        """Delete servers behind the stack's back."""
        admin, ids = self.cloud.admin(), self.ids()
        for name in names:
            admin.compute.delete_server(ids[name])
        until("the servers to be gone", lambda: not set(names) & set(self.ids()), 60)

    def logins(self) -> dict[str, int]:
        """SSH sessions that each machine's sshd accepted so far; those of the bastion include its jumps."""
        count = f"journalctl -q -t sshd --no-pager | grep -c '{LOGIN}' || true"
        return {name: int(self.run(name, count)) for name in self.ids()}


@dataclass(frozen=True)
class Kubectl(kubectl.Kubectl):
    """The same with a stack's kubeconfig, and with waits of tests."""

    @classmethod
    def of(cls, stack: Stack, text: str | None = None) -> "Kubectl":
        """With the stack's kubeconfig, or another one."""
        file = Path(tempfile.mkdtemp(dir=stack.root.path)) / "kubeconfig"
        file.touch(mode=0o600)
        file.write_text(text or stack.outputs(secrets=True)["kubeconfig"])
        return cls(file)

    def recovered(self, seconds: float = 180) -> None:
        """Wait until every pod serves again that has not ended: a failed step of a workflow has, and is kept."""

        def unready() -> list[str]:
            ended = "status.phase!=Succeeded,status.phase!=Failed"
            pods = self.get("pods", "-A", "--field-selector", ended)["items"]
            conditions = {pod["metadata"]["name"]: pod["status"].get("conditions") or [] for pod in pods}
            ready = {"type": "Ready", "status": "True"}
            return sorted(
                name for name, found in conditions.items() if not any(ready.items() <= c.items() for c in found)
            )

        def whole() -> bool:
            assert not (waiting := unready()), waiting
            return True

        until("every pod to be ready again", whole, seconds, 2)

    def wait_ready(self, names: set[str], seconds: float = 60) -> None:
        """Wait until exactly these nodes are there and Ready."""
        until(f"{sorted(names)} to be Ready", lambda: self.ready() == dict.fromkeys(names, True), seconds)
