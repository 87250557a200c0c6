"""The charts that stand in for upstream's, as packages in a folder, and the configuration that names it."""

import gzip
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rehearsal.kubernetes import tars
from rehearsal.kubernetes.tars import File
from rehearsal.paths import PROJECT

CHARTS = PROJECT / "rehearsal" / "charts"
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
    digests = {}
    for description in sorted(CHARTS.glob("*/Chart.yaml")):
        name, content = packed(description.parent)
        new = folder / f"{name}.new"
        new.write_bytes(content)
        new.replace(folder / name)
        digests[name] = hashlib.sha256(content).hexdigest()
    for old in folder.iterdir():
        if old.name not in digests:
            old.unlink()
    return {"mirror": str(folder), "digests": digests}


def packed(folder: Path) -> tuple[str, bytes]:
    """A chart's file name and package."""
    described = yaml.safe_load((folder / "Chart.yaml").read_text())
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    entries = {f"{described['name']}/{file.relative_to(folder)}": File(file, 0o644) for file in files}
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as archive:
        archive.write(tars.packed(entries))
    return f"{described['name']}-{described['version']}.tgz", buffer.getvalue()
