"""A destroy goes over what failed again, while that may help."""

from typing import Any

import pytest

from rehearsal import recover
from rehearsal.engine import Failure, Step, Summary

URN = "urn:pulumi:dev::leasehold::openstack:networking/network:Network::n"


class Engine:
    """Ends its rounds as told: how many were deleted, and why one was not."""

    def __init__(self, *rounds: tuple[int, str]) -> None:
        self.rounds, self.count = rounds, 0

    def destroy(self) -> Summary:
        deleted, cause = self.rounds[min(self.count, len(self.rounds) - 1)]
        self.count += 1
        failures = (Failure(URN, cause),) if cause else ()
        return Summary(tuple(Step("delete", URN) for _ in range(deleted)), failures=failures)


@pytest.mark.parametrize(
    ("rounds", "count", "done"),
    [
        ([(3, "")], 1, True),
        ([(1, "x (HTTP 503)"), (1, "x (HTTP 429)"), (1, "x (HTTP 409)"), (1, "x (HTTP 504)"), (1, "")], 5, True),
        ([(1, "x (HTTP 401)")], 1, False),
        ([(1, "x (HTTP 503)"), (0, "x (HTTP 503)")], 1 + recover.TIMES, False),
    ],
)
def test_rounds_go_on_while_they_remove_something(
    rounds: list[tuple[int, str]], count: int, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round frees what the next one may meet a fault at; a site that is down is not asked for ever."""
    monkeypatch.setattr(recover, "pause", lambda _failures: 0.0)
    engine: Any = Engine(*rounds)
    assert (not recover.destroy(engine, lambda _text: None).failures) is done
    assert engine.count == count
