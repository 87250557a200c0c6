"""GitHub's word on a deployed platform, from outside, through the ingress: only what it signed starts something, once.

The repository is one that nobody has: what is started fails at its checkout, and is ended with the test.
"""

import secrets
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from mlops.argo import github
from rehearsal.outside.workflows import SPACE
from tests.environments import changed, dev
from tests.rehearsal.cluster import until
from tests.rehearsal.github import push, signature
from tests.rehearsal.services import Platform

pytestmark = pytest.mark.long  # two more deployments
REPOSITORY = "nobody/nothing"
STORM = 25
MINUTE = 10
"""Workflows that may begin in one."""


class Hook:
    """The webhook as GitHub knows it."""

    def __init__(self, platform: Platform) -> None:
        self.platform, self.url = platform, f"https://hooks.{dev()['platform']['domain']}{github.PATH}"
        names = platform.kubectl.run("get", "secrets", "-n", "argo-events", "-o", "name").split()
        [name] = [name.partition("/")[2] for name in names if "github-webhook" in name]
        self.word = platform.secret(f"argo-events/{name}", github.KEY)

    def told(self, commit: str, branch: str = "main", signed: str | None = None) -> int:
        """Status of a delivery."""
        body, headers = push(self.word, REPOSITORY, commit, branch, signed=signed)
        return self.platform.session().post(self.url, data=body, headers=headers, timeout=20).status_code

    def started(self) -> set[str]:
        """Workflows that are there by a commit's name."""
        items = self.platform.kubectl.get("workflows", "-n", SPACE, "-l", "leasehold/event=push")["items"]
        return {item["metadata"]["name"] for item in items}

    def name(self, commit: str) -> str:
        return f"pipeline-{commit[: github.SHOWN]}"


@pytest.fixture(scope="module")
def hook(platform: Platform) -> Iterator[Hook]:
    """The shipped environment with a repository at GitHub; afterwards without it, and without what it started."""
    source = {"url": f"https://github.com/{REPOSITORY}.git", "branch": "main"}
    platform.stack.write(changed(dev(), {"apps.source": source, "apps.webhook": True}))
    try:
        platform.stack.run("up")
        made = Hook(platform)
        until("the webhook", lambda: made.told("0" * 40) == HTTPStatus.OK, 120)
        yield made
    finally:
        platform.stack.write(dev())
        platform.stack.run("up")
        platform.kubectl.run("delete", "workflows", "-n", SPACE, "-l", "leasehold/event=push")


def commit() -> str:
    return secrets.token_hex(20)


def test_what_github_did_not_sign_and_what_is_of_another_branch_starts_nothing(hook: Hook) -> None:
    """Forged by another secret, unsigned, or signed and not for us; one that is right comes after them, alone."""
    forged = commit()
    assert hook.told(forged, signed=signature("guessed", b"{}")) == HTTPStatus.BAD_REQUEST
    assert hook.told(forged, signed="") == HTTPStatus.BAD_REQUEST
    hook.platform.alerted("WebhookForged")
    assert hook.told(commit(), branch="other") == HTTPStatus.OK
    right = commit()
    before = hook.started()
    assert hook.told(right) == HTTPStatus.OK
    until("its workflow", lambda: hook.started() - before, 30)
    assert hook.started() - before == {hook.name(right)}


def test_what_is_told_again_starts_nothing_more(hook: Hook) -> None:
    """A delivery that somebody recorded is worth nothing: its commit has been taken."""
    again, before = commit(), hook.started()
    assert [hook.told(again) for _ in range(3)] == [HTTPStatus.OK] * 3
    until("its workflow", lambda: hook.started() - before, 60)
    later = commit()
    assert hook.told(later) == HTTPStatus.OK
    # Each repeated one is tried five times, and every try takes a turn of the minute's.
    until("the next one", lambda: hook.name(later) in hook.started(), 240)
    assert hook.started() - before == {hook.name(again), hook.name(later)}


def test_a_storm_is_bounded(hook: Hook) -> None:
    """Each is taken, and waits for its turn."""
    before = hook.started()
    assert {hook.told(commit()) for _ in range(STORM)} == {HTTPStatus.OK}
    assert len(hook.started() - before) <= MINUTE
