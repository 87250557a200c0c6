"""The command line: what it accepts, what it keeps private, what it asks of the pulumi CLI."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from infra import recovery
from rehearsal import arguments, cli, recover
from rehearsal.environment import EnvironmentFile, Unreadable
from rehearsal.paths import Root
from rehearsal.pulumi_cli import NoCli, PulumiCli
from tests.environments import as_file, dev, hosts


def test_a_rehearsal_is_named_by_its_whole_path() -> None:
    """A relative one has another name: what ends it would look for machines of that name, and find none."""
    with pytest.raises(ValueError, match="whole path"):
        Root(Path("rehearsal"))


def test_common_options_stand_before_or_after_the_command() -> None:
    """People type them where they think of them."""
    for words in (["--stack", "qa", "up"], ["up", "--stack", "qa"]):
        options = arguments.parser().parse_args(words)
        assert (options.command, options.stack) == ("up", "qa")


def test_a_key_given_twice_is_a_problem_with_its_line(tmp_path: Path) -> None:
    """YAML takes the last one without a word; the real CLI refuses the file."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(as_file(dev()).replace("      node2:", "      node1:", 1))
    lines = [str(problem) for problem in EnvironmentFile.read(file).duplicates()]
    assert len(lines) == 1
    assert lines[0].startswith("node1 = (line ")
    assert lines[0].endswith("given twice; keep one")


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    """A file has hundreds of lines; what is missing is told with the line of what lacks it."""
    file = tmp_path / "Pulumi.x.yaml"
    nodes = "    nodes:\n      n1: {role: boss, address: 1.2.3}\n"
    file.write_text(
        f"config:\n  leasehold:infra:\n    kind: openstack\n    sites: {{}}\n{nodes}  leasehold:cluster: 7\n"
    )
    found = EnvironmentFile.read(file)
    told = {line.split(" = ")[0]: line.rpartition("(line ")[2] for line in map(found.located, found.problems())}
    assert told == {
        "cluster": "7)",
        "infra.access": "2)",
        "infra.nodes.n1.address": "6)",
        "infra.nodes.n1.image": "6)",
        "infra.nodes.n1.role": "6)",
        "infra.sites": "4)",
    }


@pytest.mark.parametrize("text", ["config: [", "- 1", "config: 7", ""])
def test_a_file_that_is_no_environment_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    """No traceback for a wrong file."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)
    with pytest.raises(Unreadable, match=r"Pulumi\.x\.yaml"):
        EnvironmentFile.read(file)


def test_existing_machines_need_no_cloud(tmp_path: Path) -> None:
    """A homelab rehearses nothing but its own machines."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(as_file(hosts()))
    assert not EnvironmentFile.read(file).needs_cloud


def test_the_passphrase_is_made_once_and_readable_by_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens every secret of the state."""
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    first = cli.passphrase(Root(tmp_path / "root"))
    assert len(first) > 30
    assert cli.passphrase(Root(tmp_path / "root")) == first
    assert stat.S_IMODE((tmp_path / "root" / "passphrase").stat().st_mode) == 0o600


def test_a_login_of_the_users_own_is_never_used_in_a_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal that deletes things must not find the way to a real cloud."""
    monkeypatch.setenv("OS_AUTH_URL", "https://real.example/v3")
    monkeypatch.setenv("OS_PASSWORD", "secret")
    monkeypatch.setenv("OS_CLOUD", "real")
    cli.isolate({"OS_CLOUD": "rehearsal"})
    assert {name: value for name, value in os.environ.items() if name.startswith("OS_")} == {"OS_CLOUD": "rehearsal"}


def test_without_the_pulumi_cli_its_engine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the remedy is in the sentence."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCli, match="leave --engine out"):
        PulumiCli(Root(tmp_path), "dev", tmp_path / "Pulumi.dev.yaml").run("up", "--yes")


def test_the_pulumi_cli_is_given_stack_file_and_a_backend_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program here is a stand-in for the CLI, which writes down what it is asked."""
    log = tmp_path / "log"
    program = tmp_path / "pulumi"
    write = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    program.write_text(f'#!/bin/sh\n"$PYTHON" -c \'{write}\' "$@" >> {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    stack = PulumiCli(Root(tmp_path / "root"), "dev", tmp_path / "Pulumi.dev.yaml")
    assert stack.destroy([]) == 0
    calls = [json.loads(line) for line in log.read_text().splitlines()]
    commands = [[word for word in words if not word.startswith("-")][1:] for words, _ in calls]
    assert [words[:2] for words in commands] == [
        ["stack", "select"],
        ["state", "unprotect"],
        ["stack", "select"],
        ["destroy", "dev"],
    ]
    assert calls[-1][1]["PULUMI_BACKEND_URL"] == f"file://{tmp_path / 'root' / 'pulumi'}"
    assert calls[-1][1]["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(tmp_path / "root" / "passphrase")


class Verbs:
    """Stands in for the pulumi CLI: remembers its verbs."""

    def __init__(self, root: Path) -> None:
        self.root, self.words = Root(root), list[str]()

    def run(self, *words: str) -> int:
        self.words.append(" ".join(word for word in words if not word.startswith(("/", "--f"))))
        return 0


def test_recovery_by_the_pulumi_cli_imports_what_the_marks_tell_before_it_deploys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verbs of docs/recovery.md, in that order."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(as_file(dev()))
    (tmp_path / "pulumi").mkdir()

    def found(words: list[str]) -> int:
        Path(words[words.index("--import-file") + 1]).write_text('{"resources": [{}]}')
        return 0

    monkeypatch.setattr(recovery, "main", found)
    verbs: Any = Verbs(tmp_path)
    assert recover.by_cli(verbs, EnvironmentFile.read(file), "x") == 0
    assert [words.partition(" --")[0] for words in verbs.words] == ["cancel", "refresh", "stack export", "import", "up"]


def test_a_lock_of_a_living_process_is_not_cancelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`pulumi cancel` would remove it, whoever holds it."""
    lock = tmp_path / "pulumi" / ".pulumi" / "locks" / "organization" / "leasehold" / "x" / "1.json"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"pid": os.getpid(), "hostname": os.uname().nodename}))
    verbs: Any = Verbs(tmp_path)
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(as_file(dev()))
    assert recover.by_cli(verbs, EnvironmentFile.read(file), "x") == 1
    assert verbs.words == []
    assert f"process {os.getpid()} works on the stack" in capsys.readouterr().err
