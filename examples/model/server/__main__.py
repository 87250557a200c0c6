"""Serve the model of a folder on a port until SIGTERM: `python -m server`.

The port opens once the model is in memory. Nothing but the folder is needed: not MLflow, not the network.
"""

import os
import sys
from pathlib import Path
from types import FrameType
from zipfile import BadZipFile

import uvicorn

from server import app
from server.drain import Drain

FOLDER = Path(__file__).resolve().parent.parent / "model"


class Server(uvicorn.Server):
    """Goes on answering for a while after it was asked to stop."""

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        """Stop when a drain is over."""
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a signal handler's arguments)
        """Begin to leave."""
        self._drain.ask()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now; asked ten times a second."""
        return await super().on_tick(counter) or self._drain.over


def main() -> int:
    """Serve; 0 after a stop that was asked for, 1 when there is no model that can be served."""
    drain = Drain(float(os.environ.get("DRAIN_SECONDS", "5")))
    try:
        served = app.load(Path(os.environ.get("MODEL_FOLDER", FOLDER)))
    except (OSError, ValueError, KeyError, BadZipFile) as problem:
        print(f"no model to serve: {problem}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app.build(served, drain),
        host="0.0.0.0",  # noqa: S104 (a pod's only address)
        port=int(os.environ.get("PORT", "8000")),
        http="h11",
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        limit_concurrency=512,
        # Longer than proxies keep an idle connection, so that it is they who close it, and no request meets the end.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=10,
    )
    Server(config, drain).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
