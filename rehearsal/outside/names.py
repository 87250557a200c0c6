"""Stands in for the DNS record of a stack's domain: every name below it leads to one address."""

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def leading(domain: str, address: str) -> Iterator[None]:
    """In this process, while it lasts."""
    real = socket.getaddrinfo

    def found(host: Any, *rest: Any, **options: Any) -> Any:
        ours = isinstance(host, str) and host.endswith(f".{domain}")
        return real(address if ours else host, *rest, **options)

    with mock.patch.object(socket, "getaddrinfo", found):
        yield


class _Tunnel(socketserver.BaseRequestHandler):
    """CONNECT to any name, at the address that all names of the domain lead to."""

    address = ""

    def handle(self) -> None:
        asked = self.request.recv(4096).decode().split()[1]
        with socket.create_connection((self.address, int(asked.partition(":")[2])), 10) as upstream:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            pair = {self.request: upstream, upstream: self.request}
            while True:
                for ready in select.select(list(pair), [], [], 60)[0]:
                    content = ready.recv(65536)
                    if not content:
                        return
                    pair[ready].sendall(content)


@contextmanager
def names_lead_to(address: str) -> Iterator[str]:
    """For programs that are not this process: the URL of a proxy, which knows every name."""
    handler = type("Bound", (_Tunnel,), {"address": address})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
