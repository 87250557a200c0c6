"""The real program under the rehearsal's engine, with nothing behind it: no cloud, no machine, no cluster.

Inputs are checked and compared as in a rehearsal; what is made is in memory alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from pulumi.runtime.mocks import MockResourceArgs

import config
import infra.preflight
from rehearsal.engine import Engine, Silent
from rehearsal.engine.dynamic import Dynamic
from rehearsal.engine.model import name_of, type_of
from rehearsal.engine.references import TYPE as REFERENCE
from rehearsal.engine.references import StackReferences
from rehearsal.engine.secrets import Crypter
from rehearsal.paths import Root
from rehearsal.protocol import UNKNOWN, Call, Diff, Props, Provider, Result
from rehearsal.providers import RESOURCES
from rehearsal.providers.kubernetes.release import Release
from tests.environments import PROJECT
from tests.unit import graph
from tests.unit.test_engine_toys import PASSPHRASE, SALT

TEXTS = {name: f"canary-{name}" for name in config.SECRETS} | {"kubeconfig": graph.KUBECONFIG}
OPTIONAL = ("summary_api_key", "comment_url")
MADE: Mapping[str, Props] = {
    "pulumi-python:dynamic/infra:Lease": {"end_date": "2999-12-31 00:00"},
    "pulumi-python:dynamic/cluster:HeldReleases": {"held": {}, "healed": {}},
}
"""What else is known of what was made."""
NOTHING_BEHIND = ("tls:", "pulumi:providers:", "random:index/randomId")
"""What is made in the state alone, and at once."""


class _Unrendered(Release):
    """A Helm release whose chart is nowhere."""

    def _template(self, call: Call, inputs: Props) -> str:  # noqa: ARG002  the signature of what it stands for
        return ""


class Memory:
    """A resource type: checked and compared as it is rehearsed, made in memory."""

    def __init__(self, rehearsed: Provider) -> None:
        """Stand in for a provider."""
        self._rehearsed = rehearsed

    def check(self, call: Call, news: Props) -> Props:
        """As in a rehearsal whose cluster cannot be asked."""
        return self._rehearsed.check(_unreached(call), news)

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:
        """The same."""
        return self._rehearsed.diff(_unreached(call), olds, news)

    def create(self, call: Call, news: Props) -> Result:
        """Say what the recorded graphs of other tests are told."""
        type_, name = type_of(call.urn), name_of(call.urn)
        id_, outputs = graph.Answers().new_resource(MockResourceArgs(type_, name, news))
        return Result(id_, {**graph.unwrapped(outputs), **MADE.get(type_, {})})

    def read(self, call: Call, olds: Result) -> Result | None:  # noqa: ARG002  the protocol's signature
        """It is as it was made."""
        return olds

    def update(self, call: Call, olds: Result, news: Props) -> Result:  # noqa: ARG002
        """Take the new inputs."""
        return replace(olds, outputs={**olds.outputs, **news})

    def delete(self, call: Call, olds: Result) -> None:
        """There is nothing to remove."""

    def find(self, call: Call, news: Props) -> str | None:  # noqa: ARG002
        """Nothing is left behind."""
        return None


def _unreached(call: Call) -> Call:
    return replace(call, provider={**call.provider, "kubeconfig": UNKNOWN})


def write(folder: Path, tree: Mapping[str, Any]) -> Path:
    """An environment as a file, with the secrets that it may need; those that the tree has are as it says."""
    opener = Crypter(PASSPHRASE, SALT, "test")
    texts = {name: tree.get(name, text) for name, text in TEXTS.items() if name in tree or name not in OPTIONAL}
    sealed = {name: {"secure": opener.encrypt(text)} for name, text in texts.items()}
    values = {f"leasehold:{name}": value for name, value in {**tree, **sealed}.items()}
    file = folder / "Pulumi.test.yaml"
    file.write_text(yaml.safe_dump({"encryptionsalt": SALT, "config": values}, sort_keys=False))
    return file


def engine(folder: Path, others: Mapping[str, Provider] | None = None) -> Engine:
    """The program of this project on the environment file of a folder; `others` serve some types in another way."""
    made = {token: known if token.startswith(NOTHING_BEHIND) else Memory(known) for token, known in RESOURCES.items()}
    made |= {
        "kubernetes:helm.sh/v3:Release": Memory(_Unrendered()),
        "pulumi-python:": Memory(Dynamic()),
        REFERENCE: Memory(StackReferences(folder, config.PROJECT, PASSPHRASE)),
        **(others or {}),
    }
    answers = {"openstack:networking/getNetwork:getNetwork": lambda _call, args: {"id": f"id-of-{args['name']}"}}
    return Engine(Root(folder), "test", folder / "Pulumi.test.yaml", PROJECT, made, answers, PASSPHRASE, Silent())


def unasked() -> AbstractContextManager[Any]:
    """Let the program ask no site whether it has what the environment wants."""
    return patch.object(infra.preflight, "for_stack", lambda _stack: lambda _environment: iter(()))


def differences(folder: Path) -> list[str]:
    """What a deployment changes, one line each; and what fails."""
    with unasked():
        summary = engine(folder).up()
    steps = [f"{step.op} {step.urn} {step.changes}" for step in summary.steps if step.op != "same"]
    return steps + [f"{failure.urn}: {failure.cause}" for failure in summary.failures]


def again(folders: list[Path]) -> dict[str, list[str]]:
    """What a second deployment changes, in a process of its own: whatever has no order has another one there."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.unit.memory", *map(str, folders)]
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "platform")])
    seeds = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "4711"}
    done = subprocess.run(words, cwd=PROJECT, env=seeds, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps({folder: differences(Path(folder)) for folder in sys.argv[1:]}))
