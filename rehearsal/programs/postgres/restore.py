"""The server's restore command: `restore STORE SERVER NAME PATH` gets a segment of the log from the sidecar.

Status 1 says that the archive has no such segment, which ends a recovery; 255 that nobody knows, which stops it.
"""

import sys
import urllib.error
import urllib.request
from pathlib import Path

from rehearsal.programs.postgres.settings import SIDECAR


def main(store: str, server: str, name: str, path: str) -> int:
    """Returns the exit status."""
    try:
        with urllib.request.urlopen(f"{SIDECAR}/wal?store={store}&server={server}&name={name}", timeout=60) as answer:  # noqa: S310  loopback
            Path(path).write_bytes(answer.read())
    except urllib.error.HTTPError as error:
        return 1 if error.code == 404 else 255
    except OSError:
        return 255
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
