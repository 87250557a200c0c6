"""promtool, where it is at hand: on PATH, or built for the rehearsal's Prometheus."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rehearsal.kubernetes import build, programs

PROGRAM = shutil.which("promtool") or build.built(programs.PROMTOOL)
Groups = Sequence[Mapping[str, Any]]

needed = pytest.mark.skipif(PROGRAM is None, reason="no promtool: neither on PATH nor built by a rehearsal")


def run(*words: str | Path) -> str:
    """What it says. It fails the test with that, when it finds something wrong."""
    assert PROGRAM is not None
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(groups: Groups, folder: Path) -> None:
    """Check the syntax of rules, and what it warns of."""
    file = folder / "rules.json"
    file.write_text(json.dumps({"groups": list(groups)}))
    run("check", "rules", "--lint=all", "--lint-fatal", file)


def expect(
    groups: Groups,
    folder: Path,
    series: Mapping[str, str],
    query: str,
    results: Mapping[int, Sequence[str]],
    *,
    every: str = "30s",
) -> None:
    """Give series with a sample a minute from 1970 on, and expect the series of a query, each 1, at some minutes.

    Rules are evaluated `every` so long, as Prometheus' own clock would.
    """
    (folder / "rules.json").write_text(json.dumps({"groups": list(groups)}))
    asked = [
        {
            "expr": query,
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": labels, "value": 1} for labels in expected],
        }
        for minute, expected in results.items()
    ]
    given = [{"series": name, "values": values} for name, values in series.items()]
    tests = [{"interval": "1m", "input_series": given, "promql_expr_test": asked}]
    whole = {"rule_files": ["rules.json"], "evaluation_interval": every, "tests": tests}
    (folder / "tests.json").write_text(json.dumps(whole))
    run("test", "rules", folder / "tests.json")
