"""The timer that empties an agent before its lease ends."""

import subprocess
from pathlib import Path

import pytest

from cluster import leave, step
from tests.unit.test_prepare import bash

END = "2026-12-02 00:10"
KUBECTL = """#!/bin/sh
printf '%s\\n' "$*" >> "$(dirname "$0")/asked"
"""


def test_the_timer_fires_twenty_minutes_before_the_end_and_a_later_end_is_another_script() -> None:
    """Across midnight too; what Pulumi compares is the text."""
    text = leave.script("gpu1", END)
    assert "OnCalendar=2026-12-01 23:50:00 UTC" in text
    assert "leave-now.sh gpu1" in text
    assert leave.BEFORE.total_seconds() > leave.EVICT_SECONDS
    assert leave.script("gpu1", END) == text
    assert leave.script("gpu1", "2026-12-03 00:10") != text


@pytest.mark.parametrize("name", ["leave.sh", "leave-now.sh"])
def test_the_scripts_are_bash(name: str) -> None:
    """They run on the machine only."""
    subprocess.run(["bash", "-n"], input=step.read(name), text=True, check=True)


@pytest.mark.parametrize(("at", "back"), [("2999-01-01 00:00", True), ("2020-01-01 00:00", False)])
def test_an_extension_after_it_has_left_takes_it_back_and_a_passed_end_does_not(
    tmp_path: Path, at: str, *, back: bool
) -> None:
    """A node that left stays unschedulable for nobody else: this is the only one who may say otherwise."""
    program = tmp_path / "k3s"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    (tmp_path / "empty").touch()
    script = step.read("leave.sh").replace("/usr/local/bin/k3s", str(program)).replace("/usr/local/lib", str(tmp_path))
    call = "put() { return 1; }\nsystemctl() { :; }\nfinish() { exit 0; }\n" + script
    done = bash(tmp_path, call, at=at, host="gpu1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "empty").exists() is not back
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ('patch node gpu1 --type merge -p {"spec":{"unschedulable":null}}' in asked) is back
