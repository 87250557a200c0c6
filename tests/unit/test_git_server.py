"""The Git server, as git itself uses it."""

import json
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from apps.git.scripts import serve

RIGHTS = {
    "releases": {"linear": True, "rights": {"people": "write", "reader": "read"}},
    "model": {"linear": False, "rights": {"people": "write"}},
}


@dataclass(frozen=True)
class Git:
    """git as a person's computer has it."""

    folder: Path
    port: int

    def url(self, repository: str, account: str, password: str | None = None) -> str:
        given = (self.folder / "accounts" / account).read_text() if password is None else password
        return f"http://{account}:{given}@127.0.0.1:{self.port}/{repository}.git"

    def run(self, *words: str, fails: bool = False) -> str:
        set_ = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "PATH": os.environ["PATH"]}
        who = {f"GIT_{role}_{key}": "a@b.example" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env={**set_, **who}, capture_output=True, text=True, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stdout + done.stderr

    def commit(self, name: str, text: str) -> None:
        (self.folder / "work" / name).write_text(text)
        self.run("-C", "work", "add", ".")
        self.run("-C", "work", "commit", "-qm", name)


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Git]:
    """The server, with a repository that was cloned, filled and pushed."""
    folder = tmp_path_factory.mktemp("git")
    (folder / "accounts").mkdir()
    (folder / "data").mkdir()
    for account in ("people", "reader"):
        (folder / "accounts" / account).write_text(secrets.token_hex(16))
    (folder / "rights.json").write_text(json.dumps(RIGHTS))
    with serve.server(folder / "rights.json", folder / "accounts", folder / "data", 0) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        found = Git(folder, made.server_address[1])
        found.run("clone", "-q", found.url("releases", "people"), "work")
        found.commit("first", "1")
        found.run("-C", "work", "push", "-q", "origin", "HEAD:main")
        yield found
        made.shutdown()


def test_what_was_pushed_is_cloned_by_another_account(git: Git) -> None:
    """An account that reads gets all of it."""
    git.run("clone", "-q", git.url("releases", "reader"), "read")
    assert (git.folder / "read" / "first").read_text() == "1"


def test_a_push_of_many_megabytes_comes_whole(git: Git) -> None:
    """Git sends it in chunks, without its length."""
    content = secrets.token_hex(4 << 20)
    git.commit("large", content)
    git.run("-C", "work", "push", "-q", "origin", "HEAD:main")
    git.run("clone", "-q", git.url("releases", "reader"), "large")
    assert (git.folder / "large" / "large").read_text() == content


def test_an_account_that_reads_does_not_push(git: Git) -> None:
    """Argo CD needs to read, and a token of its must not decide what runs."""
    git.commit("refused", "1")
    said = git.run("-C", "work", "push", "-q", git.url("releases", "reader"), "HEAD:main", fails=True)
    assert "403" in said


def test_the_past_of_the_releases_is_not_rewritten(git: Git) -> None:
    """It is the evidence of what ran."""
    git.run("-C", "work", "checkout", "-q", "--orphan", "other")
    git.commit("other", "1")
    said = git.run("-C", "work", "push", "-qf", "origin", "other:main", fails=True)
    assert "denying non-fast-forward" in said
    said = git.run("-C", "work", "push", "-q", "origin", ":main", fails=True)
    assert "deletion" in said


@pytest.mark.parametrize(
    ("repository", "account", "password"),
    [("releases", "people", "wrong"), ("releases", "nobody", "x"), ("releases", "..", "x"), ("model", "reader", None)],
)
def test_strangers_learn_nothing(git: Git, repository: str, account: str, password: str | None) -> None:
    """Neither a wrong password nor another's repository opens anything."""
    git.run("ls-remote", git.url(repository, account, password), fails=True)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/releases.git/HEAD"),
        ("GET", "/releases.git/objects/info/packs"),
        ("GET", "/releases.git/info/refs"),
        ("GET", "/releases.git/info/refs?service=git-shell"),
        ("GET", "/releases.git/git-upload-pack"),
        ("POST", "/releases.git/info/refs?service=git-upload-pack"),
        ("GET", "/../releases.git/info/refs?service=git-upload-pack"),
        ("GET", "/a/releases.git/info/refs?service=git-upload-pack"),
    ],
)
def test_nothing_but_gits_three_requests_is_served(method: str, target: str) -> None:
    """Files of the repository, its configuration among them, are nobody's."""
    assert serve.wanted(method, target) is None
