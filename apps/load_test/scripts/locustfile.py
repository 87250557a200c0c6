"""Clients that ask a model what the gate asks it: bodies in turn, each client one a second.

So the number of users on the page is the number of requests a second, for as long as the server keeps up.
"""

import itertools
import json
from pathlib import Path

from locust import FastHttpUser, constant_throughput, task

BODIES = [
    json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    for body in json.loads(Path(__file__).with_name("bodies.json").read_text())
]
HEADERS = {"Content-Type": "application/json"}
SECONDS = 30
"""For one answer, as the gate waits."""


class Client(FastHttpUser):  # type: ignore[misc]  # in the image, not here
    """One client, which keeps its connection."""

    wait_time = constant_throughput(1)
    connection_timeout = network_timeout = SECONDS
    turns = itertools.cycle(BODIES)
    """Of all clients: each body is asked as often as any other."""

    @task  # type: ignore[untyped-decorator]
    def predict(self) -> None:
        """Ask for one prediction. Whatever is not of status 200 has failed, and is not tried again."""
        body, known = next(self.turns), {"headers": HEADERS, "allow_redirects": False, "catch_response": True}
        with self.client.post("/predict", data=body, **known) as answer:
            if answer.status_code == 200:
                answer.success()
            else:
                answer.failure(f"status {answer.status_code}")
