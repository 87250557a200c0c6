"""Join tokens: k3s's own form, and the Kubernetes bootstrap tokens that stand for them in the API."""

import re
from dataclasses import dataclass

from .files import digest
from .log import Fatal

BOOTSTRAP = re.compile(r"[a-z0-9]{6}\.[a-z0-9]{16}")


@dataclass(frozen=True)
class Token:
    """A join token's parts; `ca_hash` is "" where the token does not pin the cluster's CA."""

    ca_hash: str
    user: str
    secret: str


def parse(token: str) -> Token:
    """Read `K10<sha256 of the CA>::<user>:<secret>`, `K10<sha256>::<id>.<secret>` or a bare secret.

    Raises Fatal in k3s's words.
    """
    if not token:
        raise Fatal("token must not be empty")
    if not token.startswith("K10"):
        return Token("", "", token)
    ca_hash, parted, rest = token.removeprefix("K10").partition("::")
    if not parted:
        raise Fatal("invalid token format")
    if len(ca_hash) not in (0, 64):
        raise Fatal("invalid token CA hash length")
    if BOOTSTRAP.fullmatch(rest):
        return Token(ca_hash, "", rest)
    user, _, secret = rest.partition(":")
    if not secret:
        raise Fatal("invalid token format")
    return Token(ca_hash, user, secret)


def ca_hash(ca: str) -> str:
    """How a token pins a CA: the sha256 of the certificate's file."""
    return digest(ca)


def full(secret: str, user: str, ca: str) -> str:
    """The full form of a token, as in `server/token`."""
    creds = secret if BOOTSTRAP.fullmatch(secret) else f"{user}:{secret}"
    return f"K10{ca_hash(ca)}::{creds}"


def check(token: Token, ca: str) -> None:
    """Compare the CA that a server shows with the one that the token pins.

    Raises Fatal in k3s's words if they differ.
    """
    if token.ca_hash and token.ca_hash != ca_hash(ca):
        raise Fatal(f"token CA hash does not match the Cluster CA certificate hash: {token.ca_hash} != {ca_hash(ca)}")


def api_token(secret: str, role: str) -> str:
    """The Kubernetes bootstrap token that stands for a k3s token; `role` is agent or server.

    It is derived one way, so an agent's never yields a server's. One made by `k3s token create` is one already.
    """
    if role == "agent" and BOOTSTRAP.fullmatch(secret):
        return secret
    hashed = digest(f"{role}:{secret}")
    return f"{hashed[:6]}.{hashed[6:22]}"
