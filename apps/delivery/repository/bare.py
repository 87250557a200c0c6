"""A bare repository for one call: git in a folder of its own, bounded, with failures as sentences."""

from collections.abc import Mapping
from pathlib import Path

from . import git
from .failures import RELEASES, failure
from .remote import Remote


class Bare:
    """Git's commands about one remote repository."""

    name = RELEASES
    """What people call the repository."""
    disk: int | None = None
    """Bytes of the largest file; None: what is enough for releases."""

    def __init__(self, remote: Remote, folder: Path) -> None:
        """Begin an empty repository in an empty folder."""
        self._remote = remote
        self._variables = git.environment(remote, folder)
        self._git("making a clone", "init", "--quiet", "--bare", f"--template={folder}", str(folder))

    def _run(self, *words: str, given: bytes = b"", more: Mapping[str, str] | None = None) -> git.Ran:
        """How a command ended; `more` are variables that only it gets."""
        return git.run({**self._variables, **(more or {})}, words, given, self._remote.seconds, self.disk)

    def _git(self, doing: str, *words: str, given: bytes = b"", more: Mapping[str, str] | None = None) -> bytes:
        """What a command said, or RepositoryError."""
        ran = self._run(*words, given=given, more=more)
        if not ran.done:
            raise failure(self._remote, doing, ran, self.name)
        return ran.out
