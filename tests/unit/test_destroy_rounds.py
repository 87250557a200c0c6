"""A destroy goes over what failed again, while that may help."""

from types import SimpleNamespace
from typing import Any

import openstack
import pytest
from keystoneauth1 import exceptions as ksa

from rehearsal import recover
from rehearsal.engine import Failure, Step, Summary
from rehearsal.protocol import ProviderError
from rehearsal.providers.openstack.connection import connect

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


def test_a_round_logs_in_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's process logs in once; each round is what another process would do."""
    logins = iter([ksa.ServiceUnavailable(), None])

    def answered(_site: Any) -> None:
        if (refusal := next(logins)) is not None:
            raise refusal

    site = SimpleNamespace(session=SimpleNamespace(mount=lambda *_: None))
    monkeypatch.setattr(recover, "pause", lambda _failures: 0.0)
    monkeypatch.setattr(
        openstack, "connect", lambda **_: SimpleNamespace(**vars(site), authorize=lambda: answered(site))
    )

    class Deleting(Engine):
        def destroy(self) -> Summary:
            try:
                connect({"cloud": "login-anew"})
            except ProviderError as refusal:
                return Summary((), failures=(Failure(URN, str(refusal)),))
            return super().destroy()

    engine: Any = Deleting((1, ""))
    assert not recover.destroy(engine, lambda _text: None).failures
