"""`python -m delivery STEP`: see steps/command.py."""

import sys

from .steps.command import main

if __name__ == "__main__":
    sys.exit(main())
