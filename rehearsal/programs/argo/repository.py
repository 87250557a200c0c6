"""A Git repository as Argo CD's stand-in reads it: by git itself, with a login that no command line shows."""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 60
HELPER = "!f() { echo username=$GIT_USER; echo password=$GIT_PASSWORD; }; f"


class GitError(Exception):
    """Git did not do what it was told; its last line says why."""


@dataclass
class Repository:
    """A bare copy of one repository, of the commits that were asked for."""

    url: str
    user: str = ""
    password: str = ""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="argocd-")))

    def __post_init__(self) -> None:
        """Make the copy, with nothing in it."""
        self._git("init", "--quiet", "--bare", ".")

    def _environment(self) -> Mapping[str, str]:
        settings = {"credential.helper": HELPER, "core.hooksPath": "/dev/null", "http.followRedirects": "false"}
        counted = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        login = {"GIT_USER": self.user, "GIT_PASSWORD": self.password}
        fixed = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        return {**fixed, "GIT_CONFIG_NOSYSTEM": "1", **counted, **login}

    def _git(self, *words: str) -> str:
        try:
            done = subprocess.run(
                ["git", *words],
                cwd=self.folder,
                env=dict(self._environment()),
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {words[0]}: no answer within {SECONDS} s") from error
        if done.returncode:
            raise GitError(f"git {words[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        return done.stdout

    def newest(self, revision: str) -> str:
        """The commit of a branch."""
        found = self._git("ls-remote", "--", self.url, revision, f"refs/heads/{revision}").split()
        if not found:
            raise GitError(f"unable to resolve '{revision}' to a commit")
        return found[0]

    def files(self, commit: str, folder: str) -> dict[str, str]:
        """Path below a folder to text, of every file there."""
        self._git("fetch", "--quiet", "--depth=1", "--no-tags", self.url, commit)
        listed = self._git("ls-tree", "-r", "-z", "--name-only", commit, "--", f"{folder}/")
        names = [name for name in listed.split("\0") if name]
        return {name[len(folder) + 1 :]: self._git("show", f"{commit}:{name}") for name in names}
