"""A lease is asked for again only after a look, and only so often."""

from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1.exceptions import ConnectFailure

from infra import blazar

LEASE = {"id": "l1", "name": "leasehold-dev-gpu", "status": "PENDING"}


class Site:
    """Answers to POST in turn; GET tells what was made."""

    def __init__(self, *answers: Any, made: bool = False) -> None:
        self.answers, self.made, self.posts = list(answers), made, 0

    def get_endpoint(self, **_: Any) -> str:
        return "http://blazar/v1"

    def request(self, _url: str, method: str, **_: Any) -> Any:
        if method == "GET":
            return self._answer(200, {"leases": [LEASE] if self.made else []})
        self.posts += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return self._answer(answer, {"lease": LEASE})

    @staticmethod
    def _answer(status: int, body: Any) -> Any:
        return SimpleNamespace(status_code=status, text=str(body), json=lambda: body)


def create(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(blazar.time, "sleep", lambda _: None)  # type: ignore[attr-defined]
    config = SimpleNamespace(get_region_name=lambda: "R", config={})
    connection: Any = SimpleNamespace(session=site, config=config)
    return blazar.Blazar(connection).create(LEASE["name"], None, "2026-12-01 00:00", [])


@pytest.mark.parametrize("failure", [ConnectFailure("reset"), 500, 503, 504, 409, 429])
def test_a_request_that_was_carried_out_is_not_sent_twice(failure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two leases of one name would hold the capacity twice, and be charged twice."""
    site = Site(failure, made=True)
    assert create(site, monkeypatch)["id"] == "l1"
    assert site.posts == 1


@pytest.mark.parametrize("failure", [ConnectFailure("reset"), 503])
def test_a_request_that_did_nothing_is_sent_again_and_has_a_bound(
    failure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that is down is not asked for ever."""
    site = Site(failure, failure, 201)
    create(site, monkeypatch)
    assert site.posts == 3
    site = Site(*[failure] * 9)
    with pytest.raises(blazar.BlazarError):
        create(site, monkeypatch)
    assert site.posts == blazar.TIMES


def test_a_refusal_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not enough hosts is an answer."""
    site = Site(400, 201)
    with pytest.raises(blazar.BlazarError, match="was answered 400"):
        create(site, monkeypatch)
    assert site.posts == 1
