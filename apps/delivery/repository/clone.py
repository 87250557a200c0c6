"""A bare clone of one branch, without its past: files as objects, a commit, a push."""

import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ..releases import Act
from . import git
from .bare import Bare
from .failures import CONTENDED, RepositoryError, content, failure
from .remote import Remote

FILE_BYTES = 1024 * 1024
"""A larger file is none of ours."""
OURS = ("pipeline.json", "environments", "evidence", "records")
"""What of the repository is the pipeline's; the rest is left alone."""
REGULAR = ("100644", "100755")
FETCHED = "refs/leasehold/fetched"
MADE = "refs/leasehold/made"


@dataclass(frozen=True)
class Entry:
    """A file of the branch."""

    mode: str
    object: str
    size: int


@dataclass(frozen=True)
class Refusal:
    """A push that did not succeed, as far as one can tell."""

    error: RepositoryError
    contended: bool
    """Whether the server spoke of another writer."""


Files = Mapping[str, str | None]
"""Texts by path; None for a file that goes."""


class Clone(Bare):
    """One branch of the repository."""

    def fetch(self) -> str | None:
        """The last commit of the branch, None if the repository is empty."""
        branch = f"refs/heads/{self._remote.branch}"
        words = ("fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head", self._remote.url)
        ran = self._run(*words, "--depth=1", f"{branch}:{FETCHED}")
        if "does not support shallow" in ran.errors:
            ran = self._run(*words, f"{branch}:{FETCHED}")
        if ran.done:
            return self._git("reading", "rev-parse", "--verify", f"{FETCHED}^{{commit}}").decode().strip()
        if not re.search("couldn't find remote ref", ran.errors, re.IGNORECASE):
            raise failure(self._remote, "reading", ran)
        if self._git("reading", "ls-remote", "--heads", self._remote.url).strip():
            problem = f"it has branches, but no {self._remote.branch}: name the right one, or push it"
            raise RepositoryError(f"releases repository {self._remote.shown}: {problem}")
        return None

    def entries(self, commit: str | None) -> Mapping[str, Entry]:
        """All files of a commit by path; what is ours must be regular files, each where it belongs."""
        if commit is None:
            return {}
        listed = self._git("listing", "ls-tree", "-r", "-l", "-z", "--full-tree", commit)
        if len(listed) >= git.KEPT:
            raise content(self._remote, "it holds too many files to be a releases repository")
        entries = dict(self._entries(listed))
        for path, entry in entries.items():
            top, *below = path.split("/")
            if top in OURS and (entry.mode not in REGULAR or bool(below) != (top != OURS[0])):
                raise content(self._remote, f"{path[:100]!r} is not a regular file in a folder of its own")
        return entries

    @staticmethod
    def _entries(listed: bytes) -> Iterator[tuple[str, Entry]]:
        for line in listed.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            mode, _, name, size = facts.decode().split()
            yield path.decode(errors="replace"), Entry(mode, name, 0 if size == "-" else int(size))

    def texts(self, entries: Mapping[str, Entry], paths: Collection[str]) -> dict[str, str]:
        """The texts of those of the paths that are there."""
        wanted = {path: entries[path] for path in paths if path in entries}
        for path in paths:
            folder = next((str(above) for above in Path(path).parents if str(above) in entries), None)
            if folder is not None:
                raise content(self._remote, f"{folder!r} is a file, but must be a folder")
        for path, entry in wanted.items():
            if entry.size > FILE_BYTES:
                raise content(self._remote, f"{path!r} has {entry.size:,} bytes, but may have {FILE_BYTES:,} at most")
        if sum(entry.size for entry in wanted.values()) > git.KEPT // 2:
            raise content(self._remote, "its records are too large to be read at once")
        names = "".join(f"{entry.object}\n" for entry in wanted.values())
        out = self._git("reading", "cat-file", "--batch", given=names.encode()) if wanted else b""
        return dict(self._texts(wanted, out))

    def _texts(self, wanted: Mapping[str, Entry], out: bytes) -> Iterator[tuple[str, str]]:
        at = 0
        for path, entry in wanted.items():
            begin = out.index(b"\n", at) + 1
            at = begin + entry.size + 1
            try:
                yield path, out[begin : at - 1].decode()
            except UnicodeDecodeError:
                raise content(self._remote, f"{path!r} is not text in UTF-8") from None

    def commit(self, parent: str | None, files: Files, message: str, act: Act) -> str:
        """Make a commit on top of another one; nobody sees it yet."""
        stream = b"".join(self._stream(parent, files, message, act))
        words = ("fast-import", "--quiet", "--force", "--date-format=raw")
        return self._git("making a commit", *words, given=stream).decode().strip()

    def _stream(self, parent: str | None, files: Files, message: str, act: Act) -> Iterator[bytes]:
        signer, who = self._remote.signer, " ".join(re.sub(r"[<>\x00-\x1f\x7f]", " ", act.who).split()) or "unknown"
        acted = int(datetime.strptime(act.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
        yield f"reset {MADE}\n\n".encode()
        yield f"commit {MADE}\nmark :1\n".encode()
        yield f"author {who} <{signer.email}> {acted} +0000\n".encode()
        yield f"committer {signer.name} <{signer.email}> {int(time.time())} +0000\n".encode()
        yield _data(message)
        if parent is not None:
            yield f"from {parent}\n".encode()
        for path, text in sorted(files.items()):
            yield f"D {path}\n".encode() if text is None else f"M 100644 inline {path}\n".encode() + _data(text)
        yield b"\nget-mark :1\n"

    def push(self, commit: str) -> Refusal | None:
        """Make a commit the branch's last, without force. A refusal can be wrong: answers get lost on their way."""
        words = ("push", "--porcelain", "--no-verify", "--no-thin", "--recurse-submodules=no")
        ran = self._run(*words, self._remote.url, f"{commit}:refs/heads/{self._remote.branch}")
        if ran.done:
            return None
        text = f"{ran.errors}\n{ran.out.decode(errors='replace')}"
        return Refusal(failure(self._remote, f"pushing to {self._remote.branch}", ran), bool(CONTENDED.search(text)))


def _data(text: str) -> bytes:
    plain = text.encode()
    return b"data %d\n%s\n" % (len(plain), plain)


@contextmanager
def cloned(remote: Remote, work: Path | None = None) -> Iterator[Clone]:
    """A clone in a folder of its own, below `work`, that goes afterwards."""
    with TemporaryDirectory(prefix="releases-", dir=work, ignore_cleanup_errors=True) as folder:
        yield Clone(remote, Path(folder))
