"""How work runs on a machine: the real scripts in bash, with a stand-in for systemctl where a unit would be started."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cluster import step

SYSTEMCTL = """#!/bin/bash
# A unit is a process in the background; its state is in a file.
folder={folder}
case $1 in
  start) ( bash -c "$(sed -n 's/^ExecStart=//p' {folder}/units/*.service)" >>{folder}/journal 2>&1
           [ $? = 0 ] && echo inactive >$folder/state || echo failed >$folder/state ) &
         echo active >$folder/state ;;
  stop) echo inactive >$folder/state ;;
  show) case $* in *ActiveState*) cat $folder/state 2>/dev/null || echo inactive ;; *) echo exit-code ;; esac ;;
esac
"""


class Host:
    """A folder that plays a machine's disk; scripts keep their paths, below another root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "units").mkdir()
        fake = folder / "bin" / "systemctl"
        fake.write_text(SYSTEMCTL.format(folder=folder))
        fake.chmod(0o755)

    def run(self, script: str, secrets: str = "{}", minutes: int = 1) -> subprocess.CompletedProcess[str]:
        (self.folder / "part.sh").write_text(script)
        text = step.command(
            host="node1", step="try", minutes=minutes, variables={}, parts=(str(self.folder / "part.sh"),)
        )
        body = re.sub(r"^exec sudo -n bash", "exec bash", text)
        body = body.replace("/var/lib/leasehold", str(self.folder / "root"))
        body = body.replace("/etc/systemd/system", str(self.folder / "units"))
        env = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "LC_ALL": "C"}
        return subprocess.run(
            ["bash", "-c", body], input=secrets, capture_output=True, text=True, timeout=60, env=env, check=False
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    if not all(shutil.which(tool) for tool in ("bash", "flock", "sha256sum")) or not Path("/etc/machine-id").exists():
        pytest.skip("needs bash, util-linux and a machine id")
    return Host(tmp_path)


def test_a_step_runs_once_and_its_result_is_told_again(host: Host) -> None:
    """An `up` that lost its session asks again; the effect must not happen twice."""
    script = f"echo ran >>{host.folder}/effects\nsecret word >$work/out\nfinish $work/out"
    for _ in range(2):
        done = host.run(script, '{"word": "canary"}')
        assert (done.returncode, done.stdout, done.stderr) == (0, "canary", "")
    assert (host.folder / "effects").read_text() == "ran\n"


def test_another_secret_or_script_runs_again(host: Host) -> None:
    """A rotated token reaches the machine though the script is the same."""
    script = f"echo ran >>{host.folder}/effects\nfinish"
    host.run(script, '{"word": "one"}')
    host.run(script, '{"word": "two"}')
    host.run(script + " # other", '{"word": "two"}')
    assert (host.folder / "effects").read_text() == "ran\n" * 3


def test_a_failure_is_one_sentence_with_host_step_cause_and_next_command(host: Host) -> None:
    """The person who reads it has not seen the script."""
    done = host.run('stop "the volume is on fire"')
    assert done.returncode == 1
    assert done.stderr == ("node1: step try: the volume is on fire; on node1: journalctl -u leasehold-try.service\n")


def test_a_command_that_fails_is_named_by_line_and_text(host: Host) -> None:
    """What nobody foresaw is told too."""
    done = host.run("false")
    assert "ended with status 1: false" in done.stderr


def test_secrets_are_in_private_files_only(host: Host) -> None:
    """Not in the script, the unit, the key file or what a failing step prints."""
    done = host.run('stop "no"', '{"word": "canary"}')
    files = [f for f in host.folder.rglob("*") if f.is_file() and "canary" in f.read_text(errors="replace")]
    assert [f.relative_to(host.folder / "root").as_posix() for f in files] == ["secrets/try/word"]
    assert files[0].stat().st_mode & 0o777 == 0o600
    assert "canary" not in done.stdout + done.stderr


def test_a_text_that_would_end_its_own_quotation_is_refused() -> None:
    """Otherwise the rest of it would be run."""
    with pytest.raises(ValueError, match=step.TEXT):
        step.command(
            host="n", step="s", minutes=1, variables={}, parts=(), texts={"/etc/x": f"a\n{step.TEXT}\nrm -rf /\n"}
        )


def test_a_script_too_long_for_one_argument_is_refused_with_its_size() -> None:
    """Linux would say no more than E2BIG, on the machine."""
    with pytest.raises(ValueError, match="bytes, more than"):
        step.command(host="n", step="s", minutes=1, variables={"x": "y" * step.LONGEST}, parts=())


def test_stdin_holds_the_secrets_that_there_are() -> None:
    """An absent one must not become an empty file."""
    assert json.loads(step.stdin({"a": "x", "b": None, "c": ""})) == {"a": "x"}
