"""Put a registered version into the build context: `python -m trainer.fetch --version 7 --to model`."""

import argparse
import os
import sys
from pathlib import Path

from trainer import registry, settings


def main(words: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m trainer.fetch")
    parser.add_argument("--version", required=True, help="number in MLflow's registry")
    parser.add_argument("--to", type=Path, required=True, help="folder of the build context that the Dockerfile copies")
    arguments = parser.parse_args(words)
    try:
        made = registry.fetch(settings.of(os.environ), arguments.version, arguments.to)
    except (settings.SettingsError, ValueError) as problem:
        parser.error(str(problem))
    print(f"version {made.model_version} of {made.model} for revision {made.revision}: sha256 {made.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
