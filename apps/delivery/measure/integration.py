"""What is served, and how a few samples are answered.

Unlike under load, a request that says nothing of the release (no answer, overloaded) is tried again after a pause: how
often that happens is the load test's question.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..gate import Answer, Contract
from .connection import Connection, Reply, Server, trust
from .samples import HEADERS, Sample, label

TRIES = 5
"""Of a request that must be answered; a server that fails 5 % of requests fails so many one time in 3 million."""
VERSION_ASKED = 10
"""Times, through the service, each on a connection of its own: connections are what a service spreads over its pods."""
UNKNOWN = "unknown"
"""Where `/version` names none. No expected version is called so."""


@dataclass(frozen=True)
class Patience:
    """How long one waits."""

    seconds: float
    """For one answer."""
    pause: float
    """Seconds before another try: a container that was killed is back within a few seconds."""
    until: float
    """No request begins that could not end before, by `clock`."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def fits(self, requests: int = 1) -> bool:
        """Whether there is time for so many, one after the other."""
        return self.clock() + requests * self.seconds <= self.until


def answered(reply: Reply) -> bool:
    """Whether it says something of the release, by the gate's rule."""
    return reply.status is not None and reply.status < 500 and reply.status not in {408, 429}


def _get(connection: Connection, path: str, patience: Patience) -> Reply:
    reply = connection.ask("GET", path, seconds=patience.seconds)
    for _ in range(TRIES - 1):
        if answered(reply) or not patience.fits():
            break
        patience.sleep(patience.pause)
        reply = connection.ask("GET", path, seconds=patience.seconds)
    return reply


def _version(connection: Connection, patience: Patience) -> str:
    reply = _get(connection, "/version", patience)
    return (label(reply.body, "model_version") if reply.status == 200 else "") or UNKNOWN


def versions(pods: Sequence[Server], service: Server, patience: Patience) -> tuple[str, ...]:
    """What `/version` names: each pod once, then the service several times. A pod that does not say it counts too."""
    found = []
    trusted = trust(service)
    asked = [(pod, None) for pod in pods] + [(service, trusted)] * VERSION_ASKED
    for server, trusted_by in asked:
        connection = Connection(server, trusted_by)
        found.append(_version(connection, patience))
        connection.close()
    return tuple(found)


def self_test(contract: Contract, service: Server, patience: Patience) -> Answer:
    """What `/test` names, in the form in which `/predict` says it, so that one rule judges both.

    `/test` gives no probability; 1 stands for it. Where it is never answered it names no class.
    """
    connection = Connection(service)
    reply = _get(connection, "/test", patience)
    connection.close()
    if answered(reply) and reply.status != 200:
        return Answer("/test", reply.status, reply.body)
    named = reply.body.strip() if reply.status == 200 else None
    return Answer("/test", 200, json.dumps({contract.label: named, contract.probability: 1.0}))


def answers(contract: Contract, service: Server, samples: Sequence[Sample], patience: Patience) -> Iterator[Answer]:
    """What `/predict` answers to samples in turn, until there are enough or all attempts are made."""
    connection = Connection(service)
    enough = 0
    for number in range(contract.attempts):
        if enough >= contract.samples or not patience.fits():
            break
        sample = samples[number % len(samples)]
        reply = connection.ask("POST", "/predict", sample.body, seconds=patience.seconds, headers=HEADERS)
        yield Answer(sample.name, reply.status, reply.body)
        if answered(reply):
            enough += 1
        else:
            patience.sleep(patience.pause)
    connection.close()
