"""The local cloud on its own: python -m rehearsal.cloud up|down|reset|status."""

import argparse
import sys
import time
from pathlib import Path

import yaml

from rehearsal.cloud import Cloud, CloudError, plan
from rehearsal.paths import PROJECT, Root


def main() -> int:
    """Do one command; 0 when it is done, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.cloud", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "reset", "status"))
    parser.add_argument("--root", type=Path, help="folder of the rehearsal (default: .rehearsal)")
    parser.add_argument("--config-file", type=Path, default=PROJECT / "Pulumi.dev.yaml")
    parser.add_argument("--no-trusts", action="store_true", help="refuse leases to application credentials")
    args = parser.parse_args()
    begin = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {text}", flush=True)

    cloud = Cloud(Root(args.root.resolve()) if args.root else Root.default(), progress)
    try:
        if args.command == "up":
            environment = yaml.safe_load(args.config_file.read_text()) or {}
            cloud.up(plan(environment.get("config") or {}), trusts_for_application_credentials=not args.no_trusts)
        elif args.command == "down":
            cloud.down()
        elif args.command == "reset":
            cloud.reset()
        for part in cloud.status():
            print(f"{part.kind:9} {part.name:22} {part.seconds:6.1f} s  {part.reason}")
    except CloudError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
