"""What went wrong with the repository, as one sentence: which repository, why, and what to do next."""

import re

from .git import TOO_LARGE, Ran
from .remote import Remote

CONTENDED = re.compile(
    r"fetch first|non-fast-forward|cannot lock ref|failed to update ref|incorrect old value|already exists|\.lock'"
)
"""What servers say to the one of two writers who was second. Only a hint: what the branch says next decides."""
MARK = re.compile(r"((fatal|error|warning|remote): *)+|! \S+ ")
IDLE = re.compile(r"(To |hint:|Done|error: failed to push some refs|remote: *$)|$")
"""Lines that say nothing of a cause."""
WORST = re.compile(r"rejected|fatal|error|denied|declined|refused|failed", re.IGNORECASE)
LENGTH = 300
"""Characters of a server's words that are repeated."""
SILENT = r"no answer within|timed out|Operation too slow"
LOGIN = r"Permission denied|Authentication failed|could not read (Username|Password)|\b40[13]\b|not appear to be a git"
REFUSED = r"declined|protected|denied by|not allowed|prohibited"
REMEDIES: tuple[tuple[str, str], ...] = (
    ("git: not found", "install git 2.31 or newer"),
    ("Host key verification failed", "compare `ssh-keyscan {host}` with what its owner says, then put it into {known}"),
    (
        "certificate|SSL",
        "give its authority as `authority` in the settings, see `openssl s_client -connect {host}:443`",
    ),
    (REFUSED, "let this account push to {branch}: ask the server's owner"),
    (LOGIN, "see that {secret} may read and write there: `git ls-remote {url}`"),
    (SILENT, "see whether it answers, `git ls-remote {url}`, and repeat: a second delivery has no second effect"),
    (TOO_LARGE, "keep large files elsewhere: `git clone {url}` shows what is in this one"),
)
"""The first pattern that is in what git said, and what to do then."""
RELEASES = "releases repository"
OTHERWISE = "try `git ls-remote {url}`"


class RepositoryError(RuntimeError):
    """The repository could not be read or changed; nothing is half done, and trying again does no harm."""


class ContentError(RepositoryError):
    """The repository holds what nobody can have meant, or not what was asked for; trying again does not help."""


def said(text: str) -> str:
    """What git and the server said of the cause, on one line, without what a terminal would obey."""
    lines = [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in text.splitlines()]
    lines = [line for line in lines if not IDLE.match(line)] or ["git gave no reason"]
    server = [line for line in lines if line.startswith("remote:")][:2]
    worst = [line for line in lines if WORST.search(line)] or lines
    # Git's first line is the cause, and its last one what came of it.
    parts = (MARK.sub("", line, count=1).rstrip(".") for line in (*server, worst[0], worst[-1]))
    return "; ".join(dict.fromkeys(parts))[:LENGTH]


def remedy(remote: Remote, text: str) -> str:
    """What to do about it."""
    found = next((advice for pattern, advice in REMEDIES if re.search(pattern, text)), OTHERWISE)
    secret = remote.ssh.key if remote.ssh else remote.login.token if remote.login else "everybody"
    known = remote.ssh.known_hosts if remote.ssh else ""
    host = re.sub(r"^[a-z]+://(?:[^/@]*@)?([^/:]*).*$", r"\1", remote.shown)
    return found.format(url=remote.shown, branch=remote.branch, secret=secret, known=known, host=host)


def failure(remote: Remote, doing: str, ran: Ran, name: str = RELEASES) -> RepositoryError:
    """The error of a command that failed; `name` is what people call the repository."""
    text = f"{ran.errors}\n{ran.out.decode(errors='replace')}"
    return RepositoryError(f"{name} {remote.shown}: {doing} failed: {said(text)}; {remedy(remote, text)}")


def content(remote: Remote, problem: str) -> ContentError:
    """The error of what stands in the repository."""
    look = f"see `git log -p {remote.branch}` in a clone, and revert the commit that did it"
    return ContentError(f"{RELEASES} {remote.shown}: {problem}; {look}")
