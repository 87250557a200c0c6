"""The agents' own balancer: 127.0.0.1:6444, before all API servers."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from . import log
from .files import write
from .log import Fatal

PORT = 6444
NAME = "k3s-agent-load-balancer"
# A machine that vanished sends no reset: after this many seconds of silence its connections are closed.
IDLE, INTERVAL, COUNT = 5, 5, 2


def reordered(servers: Sequence[str], present: Sequence[str]) -> list[str]:
    """`present` in the order of `servers`, new ones at the end; no server at all is never believed."""
    if not present:
        return list(servers)
    return [server for server in servers if server in present] + [one for one in present if one not in servers]


def failed(servers: Sequence[str], server: str) -> list[str]:
    """The order after `server` did not answer: it is tried last."""
    return [*(one for one in servers if one != server), server]


class Balancer:
    """Connections go to the first server that answers."""

    def __init__(self, folder: Path, first: str) -> None:
        """`first` is host:port of the configured server; servers known from earlier come before it."""
        self.file = folder / f"{NAME}.json"
        known = json.loads(self.file.read_text())["ServerAddresses"] if self.file.exists() else []
        self.servers = list(dict.fromkeys([*known, first]))
        self._listening = threading.Event()
        self._failure = ""

    def start(self) -> None:
        """Listen in a thread. Raises Fatal if the port is taken."""
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True, name=NAME).start()
        self._listening.wait(10)
        if self._failure:
            raise Fatal(f"{NAME}: {self._failure}")
        log.info(f"Running load balancer {NAME} 127.0.0.1:{PORT} -> {self.servers}")

    def update(self, present: Sequence[str]) -> None:
        """The servers that there are now."""
        servers = reordered(self.servers, present)
        if set(servers) != set(self.servers):
            log.info(f"Updated load balancer {NAME} server addresses -> {servers}")
            write(self.file, json.dumps({"ServerAddresses": servers}))
        self.servers = servers

    async def _serve(self) -> None:
        try:
            server = await asyncio.start_server(self._client, "127.0.0.1", PORT)
        except OSError as failure:
            self._failure = str(failure)
            return
        finally:
            self._listening.set()
        async with server:
            await server.serve_forever()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for server in list(self.servers):
            host, _, port = server.rpartition(":")
            try:
                return await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), 3)
            except (TimeoutError, OSError):
                self.servers = failed(self.servers, server)
        return None

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await self._connect()
        if not upstream:
            writer.close()
            return
        connection = upstream[1].get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        limits = {
            socket.TCP_KEEPIDLE: IDLE,
            socket.TCP_KEEPINTVL: INTERVAL,
            socket.TCP_KEEPCNT: COUNT,
            socket.TCP_USER_TIMEOUT: (IDLE + INTERVAL * COUNT) * 1000,
        }
        for option, value in limits.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        await asyncio.gather(_pipe(reader, upstream[1]), _pipe(upstream[0], writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
