"""Where the releases repository is, and how to get in. Secrets are files: they are named here, and never read."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..checks import matches

ENCRYPTED = ("https", "ssh")
OTHERS = ("http", "file")
"""Nobody proves who they are there; for a repository on the same network or computer, and for tests."""
ADDRESS = re.compile(r"[!-~]+")
BRANCH = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?")
PATH = re.compile(r"/[\w./-]+")
"""Of files: they stand in commands of the shell and of ssh, where other characters mean something."""
USER = re.compile(r"[\w.@+-]+")
SIGNATURE = re.compile(r"[^<>\x00-\x1f\x7f]+")


def _file(key: str, value: str) -> None:
    matches(key, value, PATH, "the absolute path of a file, of letters, digits and . _ - /")


@dataclass(frozen=True)
class SshKey:
    """A deploy key, and whom it is shown to."""

    key: str
    """File with the private key, without a passphrase."""
    known_hosts: str
    """File with the server's keys: any other server is refused."""

    def __post_init__(self) -> None:
        """Refuse what a shell would read otherwise."""
        _file("key", self.key)
        _file("known_hosts", self.known_hosts)


@dataclass(frozen=True)
class Login:
    """A name and a token, for HTTP."""

    user: str
    token: str
    """File whose first line is the token or password."""

    def __post_init__(self) -> None:
        """Refuse what a shell would read otherwise."""
        matches("user", self.user, USER, "a user name of letters, digits and . _ - @ +")
        _file("token", self.token)


@dataclass(frozen=True)
class Signer:
    """Who commits. The author of a commit is who acted."""

    name: str = "Leasehold"
    email: str = "leasehold@localhost"

    def __post_init__(self) -> None:
        """Refuse what would end the line of a commit."""
        for key in ("name", "email"):
            matches(key, getattr(self, key), SIGNATURE, "text on one line, without < and >")


@dataclass(frozen=True)
class Remote:
    """A repository and its branch."""

    url: str
    """https://HOST/PATH or ssh://USER@HOST/PATH, without a password."""
    branch: str = "main"
    ssh: SshKey | None = None
    login: Login | None = None
    authority: str | None = None
    """File with the certificates that an https server is checked by; None: those of the system."""
    unencrypted: bool = False
    """Whether http:// and file:// are allowed."""
    seconds: int = 60
    """So long may one command of git take."""
    signer: Signer = Signer()

    def __post_init__(self) -> None:
        """Refuse an address that leaks a secret or trusts anybody."""
        matches("url", self.url, ADDRESS, "an address without spaces")
        scheme, url = self.scheme, urlsplit(self.url)
        if scheme not in (*ENCRYPTED, *(OTHERS if self.unencrypted else ())):
            remedy = (
                "write git@HOST:PATH as ssh://git@HOST/PATH" if ":" in self.url else "begin with https:// or ssh://"
            )
            rule = "must be https or ssh, or http or file where unencrypted"
            raise ValueError(f"url = {self.shown!r}: {rule}; {remedy}")
        if url.password is not None or (url.username is not None and scheme != "ssh"):
            raise ValueError(
                f"url = {self.shown!r}: must hold no login; put the token into a file, and name it in login"
            )
        if (url.hostname or "").startswith("-") or (url.username or "").startswith("-"):
            raise ValueError(f"url = {self.shown!r}: must not have a name that begins with a hyphen")
        matches("branch", self.branch, BRANCH, "the name of a branch")
        if scheme == "ssh" and self.ssh is None:
            raise ValueError(f"url = {self.shown!r}: needs ssh, a deploy key and the keys of the host")
        if self.authority is not None:
            _file("authority", self.authority)
        if self.seconds <= 0:
            raise ValueError(f"seconds = {self.seconds}: must be greater than 0")

    @property
    def scheme(self) -> str:
        """The protocol, the only one that git may use."""
        return self.url.partition("://")[0] if "://" in self.url else ""

    @property
    def shown(self) -> str:
        """The address for messages: without what may be a secret."""
        if self.scheme == "ssh":
            return re.sub(r"(//[^/@:]*):[^/]*@", r"\1@", self.url)
        return re.sub(r"//[^/]*@", "//", self.url)
