"""What the command line of a rehearsal takes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import config
from rehearsal.engine import PARALLEL
from rehearsal.environment import Unreadable

ABOUT = """The commands of a rehearsal. Exit codes: 0 done, 1 a resource failed, 2 bad input, 3 changes where none were
expected, 130 interrupted.
"""


def parser() -> argparse.ArgumentParser:
    """The command line. The common options stand before or after the command."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--stack", help="name of the stack (default dev)")
    common.add_argument("--config-file", type=Path, help="environment file (default Pulumi.<stack>.yaml)")
    common.add_argument("--root", type=Path, help="folder of the rehearsal (default .rehearsal)")
    common.add_argument("--engine", choices=("own", "pulumi"), help="own (default), or the pulumi CLI on PATH")
    top = argparse.ArgumentParser(prog="python -m rehearsal", description=ABOUT, parents=[common])
    commands = top.add_subparsers(dest="command", required=True)

    cloud = commands.add_parser("cloud", parents=[common], help="the local cloud itself")
    cloud.add_argument("action", choices=("up", "down", "reset", "status"))
    changes = argparse.ArgumentParser(add_help=False)
    changes.add_argument("--replace", action="append", default=[], metavar="URN", help="replace this resource")
    changes.add_argument("--target", action="append", default=[], metavar="URN", help="only this resource")
    beside = argparse.ArgumentParser(add_help=False)
    beside.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="configuration for this run, such as leasehold:restore=latest; not written into the file",
    )
    preview = commands.add_parser(
        "preview", parents=[common, changes, beside], help="what `up` would change; changes nothing"
    )
    preview.add_argument("--json", action="store_true")
    preview.add_argument("--refresh", action="store_true", help="compare with what is there, not with the record")
    commands.add_parser("policy", parents=[common, beside], help="what the rules object to; makes and asks nothing")
    up = commands.add_parser("up", parents=[common, changes, beside], help="make it so; starts the cloud if need be")
    up.add_argument("--expect-no-changes", action="store_true", help="exit code 3 if anything changed")
    up.add_argument("--parallel", type=int, default=PARALLEL, metavar="N", help="resources under way at a time")
    rehearse = commands.add_parser("rehearse", parents=[common, beside], help="up, then the outputs and the report")
    rehearse.set_defaults(replace=[], target=[], expect_no_changes=False, parallel=PARALLEL)
    destroy = commands.add_parser("destroy", parents=[common], help="remove everything the stack made")
    destroy.add_argument(
        "--keep-protected", action="store_true", help="refuse, as pulumi does, while data is protected"
    )
    recovering = commands.add_parser(
        "recover",
        parents=[common, beside],
        help="bring an interrupted or half-dead stack back under control, then up",
    )
    recovering.add_argument("--parallel", type=int, default=PARALLEL, metavar="N", help="resources under way at a time")
    commands.add_parser("refresh", parents=[common], help="record what is there")
    outputs = commands.add_parser("outputs", parents=[common], help="what other teams consume")
    outputs.add_argument("--json", action="store_true")
    outputs.add_argument("--show-secrets", action="store_true")
    told = commands.add_parser("demo", parents=[common], help="a model's way to production, told on the deployed stack")
    told.add_argument("--picture", type=Path, metavar="FILE", help="keep what is told as an SVG picture, too")
    shown = commands.add_parser("report", parents=[common], help="what was real, and what stood in")
    shown.add_argument("--json", action="store_true")
    return top


def key_values(words: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` of --config as configuration by full key. Raises Unreadable for anything else."""
    found: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not key or not separator:
            raise Unreadable(f"--config {word}: KEY=VALUE is expected, such as leasehold:restore=latest")
        found[key if ":" in key else f"{config.PROJECT}:{key}"] = value
    return found
