"""`python -m rehearsal policy`: the program, unchanged, on paper; no cloud, no login, nothing left behind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rehearsal import cli, policy
from rehearsal.environment import EnvironmentFile
from rehearsal.kubernetes import mirror
from tests.environments import as_file, changed, dev, machines_only
from tests.unit.policies import shipped


def asked(folder: Path, tree: Mapping[str, Any]) -> policy.Judgement:
    """The judgement of an environment."""
    path = folder / "Pulumi.x.yaml"
    path.write_text(as_file(tree))
    file = EnvironmentFile.read(path)
    extra = {cli.PREFIX + key: value for key, value in mirror.expected(tree).items()}
    return policy.judge(
        policy.asked_for(file, "test", providers=cli.PROVIDERS, passphrase="x", extra=extra)  # of no state that stays
    )


def test_the_engine_asks_for_what_the_recorder_records(tmp_path: Path) -> None:
    """The tests' graph is that of the program itself, and the rules find nothing in either."""
    judgement = asked(tmp_path, dev())
    made = {(r.type, r.name) for r in judgement.resources if r.type != "pulumi:pulumi:Stack"}
    assert {(r.type, r.name) for r in shipped()} == made
    assert judgement.lines[:-1] == []
    assert judgement.waived > 0


def test_a_finding_has_its_place_its_demand_and_its_remedy(tmp_path: Path) -> None:
    """An environment file that opens SSH to the world is refused before there is a machine."""
    tree = changed(machines_only(dev()), {"infra.access.admin_cidrs": ["0.0.0.0/0"]})
    found = [line for line in asked(tmp_path, tree).lines if line.startswith("network.ssh-from-the-world")]
    assert len(found) == 1
    assert "kvm-admin-22-0.0.0.0/0: port 22 is open to every address" in found[0]
    assert "Remedy: name the networks of your administrators" in found[0]


def test_the_command_ends_with_the_judgement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 where nothing is found, 1 where something is, 2 where the file is no environment; the root stays empty."""
    for variable in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"):
        monkeypatch.delenv(variable, raising=False)
    good = machines_only(dev())
    cases = [
        (good, cli.DONE),
        (changed(good, {"infra.access.admin_cidrs": ["0.0.0.0/0"]}), cli.FAILED),
        (changed(good, {"infra.kind": "moon"}), cli.BAD_INPUT),
    ]
    path, root = tmp_path / "Pulumi.x.yaml", tmp_path / "root"
    for tree, code in cases:
        path.write_text(as_file(tree))
        assert cli.main(["--root", str(root), "--config-file", str(path), "--stack", "x", "policy"]) == code
    assert "0 findings" in capsys.readouterr().out
    assert not root.exists()
