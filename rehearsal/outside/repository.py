"""A checkout on a person's computer, and the stack's Git server by its password."""

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.outside.names import names_lead_to
from rehearsal.outside.services import Services
from rehearsal.paths import PROJECT

EXAMPLE = PROJECT / "examples" / "model"
NOT_OURS = shutil.ignore_patterns("revisions", "__pycache__", ".venv", ".pytest_cache")
REVISIONS = ("good", "bad-arch", "bad-size", "slow")
NO_DOCKERFILE, NO_BASE = "no-dockerfile", "no-base"
SECONDS = 120


class GitError(Exception):
    """Git ended with an error; its words."""


@dataclass
class Repository:
    """The model's repository."""

    services: Services
    folder: Path
    commits: dict[str, str] = field(default_factory=dict)
    """Branch to its commit."""

    def git(self, *words: str, **more: str) -> str:
        """Git in the checkout, with more variables; its output. Raises GitError."""
        who = {f"GIT_{role}_{key}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", **who, **more}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise GitError(f"git {words[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def outside(self, *words: str, repository: str) -> None:
        """Git, with the URL of a repository of the stack's as its last word. The password is in no command line."""
        user, password = self.services.password("git")
        header = base64.b64encode(f"{user}:{password}".encode()).decode()
        authority = str(self.services.authority)
        settings = {"http.sslCAInfo": authority, "http.extraHeader": f"Authorization: Basic {header}"}
        counted = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        with names_lead_to(self.services.address) as proxy:
            self.git(*words, f"{self.services.url('git')}/{repository}.git", https_proxy=proxy, **counted)

    def said(self, path: str) -> dict[str, Any]:
        """What a file of the releases repository says now."""
        self.outside("fetch", "-q", "--no-tags", repository="releases")
        found: dict[str, Any] = json.loads(self.git("show", f"FETCH_HEAD:{path}"))
        return found

    def branch(self, name: str, *files: tuple[str, str]) -> None:
        """A branch of the example with a revision laid over it, or with files changed; no text: removed."""
        self.git("switch", "-q", "-c", name, "main")
        laid = EXAMPLE / "revisions" / name
        if laid.is_dir():
            shutil.copytree(laid, self.folder, copy_function=shutil.copy, dirs_exist_ok=True)
        for file, text in files:
            if text:
                (self.folder / file).write_text(text)
            else:
                (self.folder / file).unlink()
        self.git("commit", "-qam", name)
        self.commits[name] = self.git("rev-parse", "HEAD")


def example(services: Services, folder: Path) -> Repository:
    """The example with its good and bad revisions, and two that cannot be built, pushed to the stack's Git server."""
    shutil.copytree(EXAMPLE, folder, ignore=NOT_OURS)
    made = Repository(services, folder)
    made.git("init", "-q", "-b", "main")
    made.git("add", ".")
    made.git("commit", "-qm", "the example")
    made.commits["main"] = made.git("rev-parse", "HEAD")
    for name in REVISIONS:
        made.branch(name)
    made.branch(NO_DOCKERFILE, ("Dockerfile", ""))
    made.branch(NO_BASE, ("Dockerfile", "FROM registry.registry.svc/models/nobody:1\n"))
    made.outside("push", "-qf", "--all", repository="model")
    return made
