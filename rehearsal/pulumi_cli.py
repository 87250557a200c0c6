"""The same commands by the real engine, where a `pulumi` CLI is on PATH: same cloud, same file, published providers."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rehearsal.cloud.state import write_private
from rehearsal.paths import PROJECT, Root


class NoCli(Exception):  # noqa: N818  a state of the computer
    """There is no pulumi CLI."""


@dataclass(frozen=True)
class PulumiCli:
    """One stack on a local file backend in the rehearsal's own folder."""

    root: Root
    stack: str
    config_file: Path
    extra_config: Mapping[str, Any] = field(default_factory=dict)
    """Configuration beside the file, by full key. The CLI gets a copy of the file that has it: `pulumi up --config`
    would write it into the user's own."""

    def file(self) -> Path:
        """The environment file for the CLI."""
        if not self.extra_config:
            return self.config_file
        copy = self.root.path / "pulumi" / self.config_file.name
        data = yaml.safe_load(self.config_file.read_text())
        # What the CLI itself has added to the copy, such as the salt of the passphrase, is kept.
        kept = yaml.safe_load(copy.read_text()) if copy.exists() else {}
        merged = {**kept, **data, "config": {**data["config"], **self.extra_config}}
        write_private(copy, yaml.safe_dump(merged, sort_keys=False))
        return copy

    def environment(self) -> Mapping[str, str]:
        """Backend and passphrase: the user's own passphrase where one is given, else the rehearsal's by file."""
        backend = self.root.path / "pulumi"
        backend.mkdir(parents=True, exist_ok=True, mode=0o700)
        added = {"PULUMI_BACKEND_URL": f"file://{backend}", "PULUMI_SKIP_UPDATE_CHECK": "true"}
        if not (os.environ.get("PULUMI_CONFIG_PASSPHRASE") or os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")):
            added["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self.root.path / "passphrase")
        return {**os.environ, **added}

    def run(self, *words: str) -> int:
        """Run one command of the CLI on the stack; its exit code."""
        self._call("stack", "select", "--create", self.stack)
        return self._call(*words, "--stack", self.stack, "--config-file", str(self.file()))

    def destroy(self, options: Sequence[str]) -> int:
        """A rehearsal's data are throw-away: take the protection off, then destroy."""
        self._call("stack", "select", "--create", self.stack)
        self._call("state", "unprotect", "--all", "--yes", "--stack", self.stack)
        return self.run("destroy", "--yes", "--continue-on-error", *options)

    def outputs(self, options: Sequence[str]) -> int:
        """Print the stack's outputs."""
        return self._call("stack", "output", *options, "--stack", self.stack)

    def _call(self, *words: str) -> int:
        program = shutil.which("pulumi")
        if program is None:
            raise NoCli("no pulumi CLI is on PATH; leave --engine out, or install it")
        return subprocess.run(
            [program, "--non-interactive", "--cwd", str(PROJECT), *words], env=self.environment(), check=False
        ).returncode
