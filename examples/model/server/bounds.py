"""Bounds on what a client may send, in front of everything else. Standard library only: plain ASGI.

A body is read whole before anything is done with it, so a slow or endless one never holds a thread of the server.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class RefusedError(Exception):
    """A request that is not answered further."""

    def __init__(self, status: int, reason: str) -> None:
        """Say it to the client with a status."""
        super().__init__(reason)
        self.status = status


class Bounds:
    """Passes on requests whose body is small enough and comes in time."""

    def __init__(self, app: App, most_bytes: int, seconds: float) -> None:
        """Stand in front of an application."""
        self._app = app
        self._most_bytes = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            body = await asyncio.wait_for(self._body(scope, receive), self._seconds)
        except asyncio.TimeoutError:
            return await _refuse(send, RefusedError(408, f"the body did not come within {self._seconds:g} seconds"))
        except RefusedError as refused:
            return await _refuse(send, refused)
        return None if body is None else await self._app(scope, _again(body, receive), send)

    async def _body(self, scope: Message, receive: Receive) -> bytes | None:
        """All of it; None when the client went away."""
        too_long = RefusedError(413, f"the body is longer than {self._most_bytes} bytes")
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if int(said) > self._most_bytes:  # the HTTP parser has refused anything but digits
            raise too_long
        body: bytes = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += bytes(message.get("body", b""))
            if len(body) > self._most_bytes:
                raise too_long
            if not message.get("more_body", False):
                return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read, then what comes after it."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


async def _refuse(send: Send, refused: RefusedError) -> None:
    # The rest of the body may still be on its way, so the connection cannot be used again.
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{refused}\n".encode()})
