"""Recovery of one stack: what its marks tell at every site, and the same by the real CLI (docs/recovery.md)."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from cluster.retries import may_pass
from infra import login, recovery
from infra.retries import pause
from rehearsal.engine import Engine, Summary
from rehearsal.environment import EnvironmentFile
from rehearsal.providers.openstack.connection import forget_refusals
from rehearsal.pulumi_cli import PulumiCli

TIMES = 3
"""Rounds of `destroy` that remove nothing, before it gives up on what failed for a reason that may pass."""


def destroy(engine: Engine, progress: Callable[[str], None]) -> Summary:
    """Delete everything that can be deleted; again, where what failed may go a moment later: deletions do no harm."""
    idle = 0
    while True:
        summary = engine.destroy()
        # What one round has freed, the next one may meet a fault at: only rounds without progress count.
        idle = 0 if summary.changed else idle + 1
        passing = any(may_pass(failure.cause) for failure in summary.failures)
        if summary.interrupted or not passing or idle >= TIMES:
            return summary
        progress(f"{len(summary.failures)} resource(s) could not be deleted: trying again")
        forget_refusals()
        time.sleep(pause(idle + 1))


def sites(file: EnvironmentFile) -> Iterator[tuple[str, str | None, str]]:
    """Name, entry of clouds.yaml and region of every site."""
    for name, site in file.tree["infra"]["sites"].items():
        yield name, site.get("cloud"), site["region"]


def sweep(
    file: EnvironmentFile, stack: str, known: set[str], progress: Callable[[str], None], *, data: bool = False
) -> list[str]:
    """Remove what has the stack's mark and is not in its state; a line for each thing that is left, with the reason."""
    left: list[str] = []
    for name, cloud, region in sites(file):
        try:
            connection = login.connect(cloud, region)
            found = recovery.unknown(connection, stack, known)
        except (ClientException, SDKException) as error:
            left.append(f"site {name} could not be asked what is left there: {error}; run recover again")
            continue
        for one in found:
            progress(f"not in the state: {one.type} {one.logical} ({one.id})")
        for one, reason in recovery.remove(connection, found, data=data):
            left.append(f"{one.type} {one.logical} ({one.id}): {reason} ({recovery.command(one)})")
    return left


def say_left(left: list[str]) -> int:
    """Print what is left; 1 if there is anything."""
    for line in left:
        print(f"left: {line}", file=sys.stderr)
    return 1 if left else 0


def by_cli(cli: PulumiCli, file: EnvironmentFile, stack: str) -> int:
    """The same by the real engine's verbs, in the order of docs/recovery.md; ends at the first that fails."""
    if (holder := living_holder(cli.root.path / "pulumi")) is not None:
        print(f"error: process {holder} works on the stack: wait for it, or end it first", file=sys.stderr)
        return 1
    # Nothing is held by the living: what `cancel` removes is a lock that a dead process has left.
    cli.run("cancel", "--yes")
    if code := cli.run("refresh", "--yes", "--clear-pending-creates"):
        return code
    folder = cli.root.path / "pulumi"
    exported, wanted = folder / f"{stack}.export.json", folder / f"{stack}.import.json"
    for name, cloud, region in sites(file):
        if code := cli.run("stack", "export", "--file", str(exported)):
            return code
        words = ["--stack", stack, "--site", name, "--region", region, "--state", str(exported)]
        words += ["--import-file", str(wanted), *(["--cloud", cloud] if cloud else [])]
        if code := recovery.main(words):
            return code
        if json.loads(wanted.read_text())["resources"]:
            code = cli.run("import", "--yes", "--file", str(wanted), "--generate-code=false", "--protect=false")
            if code:
                return code
    return cli.run("up", "--yes")


def living_holder(backend: Path) -> int | None:
    """Process that holds a lock of a local backend and is alive on this computer."""
    for lock in backend.glob(".pulumi/locks/**/*.json"):
        held: dict[str, Any] = json.loads(lock.read_text())
        pid = int(held.get("pid") or 0)
        if pid and held.get("hostname", os.uname().nodename) == os.uname().nodename and Path(f"/proc/{pid}").exists():
            return pid
    return None
