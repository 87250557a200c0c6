"""What a rehearsal showed: each part as real or as a stand-in, why, and how long it took."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from rehearsal.cloud.parts import Part
from rehearsal.engine import Summary

COMMAND = "command:remote:Command"
# Part, type, end of the name, kind, reason.
WAITED_FOR = (
    ("leases", "pulumi-python:dynamic/infra:Lease", "", "real", "Blazar made them ACTIVE at its own pace"),
    ("network", "openstack:networking/", "", "real", "Neutron's objects; see `agent` for what enforces them"),
    ("servers", "openstack:compute/instance:Instance", "", "real", "scheduled by Nova; see `machines`"),
    ("attachments", "openstack:compute/volumeAttach:VolumeAttach", "", "real", "Cinder and Nova; see `volumes`"),
    ("first boot", COMMAND, "-ready", "real", "cloud-init and SSH with pinned keys, through the bastion"),
    ("preparation", COMMAND, "-prepare", "real", "the product's own scripts, over SSH"),
    ("installation", COMMAND, "-k3s", "real", "the product's own scripts; see `artifacts` for what they install"),
    ("charts", "kubernetes:helm.sh/v3:Release", "", "real", "by the real helm; the charts are stand-ins"),
)
ALWAYS = ("leases", "network", "servers", "attachments", "first boot")


@dataclass(frozen=True)
class Report:
    """The parts of the last run of one stack."""

    stack: str
    engine: Literal["own", "pulumi"]
    parts: tuple[Part, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"stack": self.stack, "engine": self.engine, "parts": [asdict(part) for part in self.parts]}

    def save(self, path: Path) -> None:
        """Keep it for `report`."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(json.dumps(self.to_json(), indent=1))

    @classmethod
    def load(cls, path: Path) -> "Report | None":
        """The report of the last run; None before the first."""
        if not path.exists():
            return None
        record = json.loads(path.read_text())
        return cls(record["stack"], record["engine"], tuple(Part(**part) for part in record["parts"]))

    def show(self, console: Console) -> None:
        """Print a table."""
        table = Table(title=f"rehearsal of {self.stack}", title_justify="left", box=None, pad_edge=False)
        for column, justify in (("part", "left"), ("", "left"), ("seconds", "right"), ("what it is", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for part in self.parts:
            colour = "green" if part.kind == "real" else "yellow"
            seconds = f"{part.seconds:.1f}" if part.seconds else ""
            table.add_row(part.name, f"[{colour}]{part.kind}[/]", seconds, part.reason)
        console.print(table)


def of_run(stack: str, cloud: Sequence[Part], summary: Summary) -> Report:
    """The report of a run of our own engine: the cloud's parts, the engine, and what the run waited for."""
    engine = Part(
        "engine",
        "stand-in",
        "our small engine runs the same __main__.py over openstacksdk and SSH; no pulumi CLI, no published providers",
        summary.seconds,
    )
    parts = [engine, *cloud]
    for name, prefix, suffix, kind, reason in WAITED_FOR:
        steps = [step for step in summary.steps if step.type.startswith(prefix) and step.urn.endswith(suffix)]
        seconds = [step.seconds for step in steps if step.op != "same"]
        if not steps and name not in ALWAYS:
            continue
        parts.append(Part(name, kind, reason, max(seconds, default=0.0)))  # type: ignore[arg-type]
    return Report(stack, "own", tuple(parts))


def of_cli(stack: str, cloud: Sequence[Part], seconds: float) -> Report:
    """The report of a run of the pulumi CLI."""
    engine = Part("engine", "real", "the pulumi CLI with the published providers, on a local file backend", seconds)
    return Report(stack, "pulumi", (engine, *cloud))
