"""The charts that stand in for upstream's, as packages in a folder, and the configuration that names it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rehearsal.kubernetes import artifacts

KEY = "charts"
"""The program's configuration key."""
PLACEHOLDER = "/rehearsal.invalid"


def wanted(tree: Mapping[str, Any]) -> bool:
    """Whether an environment's charts come from here: there is a cluster, and the file says nothing of charts."""
    return isinstance(tree.get("cluster"), dict) and KEY not in tree


def expected(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration with which an environment can be checked before anything is made."""
    return {KEY: {"mirror": PLACEHOLDER}} if wanted(tree) else {}


def config(folder: Path) -> dict[str, Any]:
    """Pack every chart into a folder; returns the value of the configuration key. A reader never finds half of one."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = set()
    for description in sorted(artifacts.CHARTS.glob("*/Chart.yaml")):
        name, content = artifacts.chart(description.parent)
        new = folder / f"{name}.new"
        new.write_bytes(content)
        new.replace(folder / name)
        known.add(name)
    for old in folder.iterdir():
        if old.name not in known:
            old.unlink()
    return {"mirror": str(folder)}
