"""The embedded default: a local cloud, local machines, and an engine for where the `pulumi` CLI is absent.

Product code never imports this package and never asks whether it is rehearsed.
"""

import sys
from pathlib import Path

# The program's own line for this runs only with the program (docs/decisions/0005-platform-folder.md). The rules of the
# policy are found in their pack, as Pulumi finds them.
sys.path += [str(Path(__file__).resolve().parent.parent / folder) for folder in ("platform", "policy")]
