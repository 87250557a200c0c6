"""One revision of a model's repository as files in a folder. Whoever wrote the revision runs nothing by that.

Git's own folder is elsewhere and goes afterwards, so that no login, no setting and no hook is beside the files. No
submodules are fetched, no filters run: files of Git LFS stay pointers. Links that lead out of the folder are refused:
what reads or writes through them later would touch what is the pod's, such as its token.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .bare import Bare
from .failures import ContentError, failure
from .git import Ran
from .remote import BRANCH, Remote

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
DISK = 1024 * 1024 * 1024
"""Bytes of the largest file, and of all objects together, that come over the network."""
FETCHED = "refs/leasehold/fetched"
HEADS = "refs/leasehold/heads"
WHOLE = re.compile(r"unadvertised object|not our ref|does not support shallow|remote ref", re.IGNORECASE)
"""What servers say that give no single commit, or no shallow one: then all branches are fetched."""
UNKNOWN = re.compile(r"couldn't find remote ref|invalid refspec", re.IGNORECASE)


class Source(Bare):
    """The model's repository."""

    name = "source repository"
    disk = DISK

    def _fetch(self, *words: str) -> Ran:
        options = ("--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--recurse-submodules=no")
        return self._run("fetch", *options, *words)

    def _unknown(self, revision: str) -> ContentError:
        remedy = "give a full commit of 40 or 64 digits, or the name of a branch, that were pushed there"
        return ContentError(f"{self.name} {self._remote.shown}: has no {revision[:100]!r}; {remedy}")

    def fetch(self, revision: str) -> str:
        """Fetch a commit, or what a branch says now; its full name."""
        if COMMIT.fullmatch(revision):
            return self._commit(revision)
        if BRANCH.fullmatch(revision) is None:
            raise self._unknown(revision)
        branch = f"refs/heads/{revision}:{FETCHED}"
        ran = self._fetch("--depth=1", self._remote.url, branch)
        if "does not support shallow" in ran.errors:
            ran = self._fetch(self._remote.url, branch)
        if UNKNOWN.search(ran.errors):
            raise self._unknown(revision)
        if not ran.done:
            raise failure(self._remote, f"fetching {revision}", ran, self.name)
        return self._git("reading", "rev-parse", "--verify", f"{FETCHED}^{{commit}}").decode().strip()

    def _commit(self, revision: str) -> str:
        ran = self._fetch("--depth=1", self._remote.url, f"{revision}:{FETCHED}")
        if not ran.done and WHOLE.search(ran.errors):
            ran = self._fetch(self._remote.url, f"refs/heads/*:{HEADS}/*")
        if not ran.done:
            raise failure(self._remote, f"fetching {revision}", ran, self.name)
        if self._run("cat-file", "-e", f"{revision}^{{commit}}").done:
            return revision
        raise self._unknown(revision)

    def write(self, commit: str, folder: Path) -> None:
        """Put the files of a commit into an empty folder."""
        self._git("writing the files", "read-tree", "--reset", "-u", commit, more={"GIT_WORK_TREE": str(folder)})
        outside = next(_outside(folder), None)
        if outside is not None:
            problem = f"{str(outside)[:100]!r} in {commit} is a link that leads out of the checkout"
            raise ContentError(f"{self.name} {self._remote.shown}: {problem}; make it a file, or a link inside")


def _outside(folder: Path) -> Iterator[Path]:
    """Links that lead out, by where they truly lead: a link may go over other links."""
    root = folder.resolve()
    for at, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(at, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                yield path.relative_to(root)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def checkout(remote: Remote, revision: str, folder: Path, work: Path | None = None) -> str:
    """The files of a commit or branch in a folder that is empty or not there yet; the full name of the commit.

    ContentError where there is no such revision, or one that must not be used; the folder is empty again then, so that
    the same may be tried again.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ContentError(f"{folder}: is not empty; give an empty folder, or one that is not there yet")
    with TemporaryDirectory(prefix="source-", dir=work, ignore_cleanup_errors=True) as clone:
        source = Source(remote, Path(clone))
        commit = source.fetch(revision)
        try:
            source.write(commit, folder)
        except BaseException:
            _empty(folder)
            raise
    return commit
