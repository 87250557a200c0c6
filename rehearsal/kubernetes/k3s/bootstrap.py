"""Bootstrap data: what every server of a cluster must have alike, encrypted with the server token.

As in k3s it lies in etcd under /bootstrap/<hash of the token>, so a snapshot and the token are enough to found the
cluster anew. A joining server reads the same text from a Secret that only a server's token may read.
"""

import json
from collections.abc import Callable

from . import log
from .files import CommandError, digest, run, write
from .log import Fatal
from .paths import Paths

AUTHORITIES = ("server-ca", "client-ca", "request-header-ca", "etcd/server-ca", "etcd/peer-ca")
OTHER_TOKEN = "bootstrap data already found and encrypted with different token"  # noqa: S105  # an error text
CIPHER = ("openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "100000", "-a", "-A", "-pass", "env:BOOTSTRAP_TOKEN")


def key(secret: str) -> str:
    """The key in etcd."""
    return f"/bootstrap/{digest(secret)[:12]}"


def encrypt(text: str, secret: str) -> str:
    """Encrypt with the token, as one line of base64."""
    return run([*CIPHER, "-salt"], stdin=text, env={"BOOTSTRAP_TOKEN": secret})


def decrypt(text: str, secret: str) -> str:
    """The reverse. Raises Fatal, in k3s's words, if the token is another one."""
    try:
        plain = run([*CIPHER, "-d"], stdin=text.strip(), env={"BOOTSTRAP_TOKEN": secret})
        json.loads(plain)
    except (CommandError, ValueError):
        raise Fatal(OTHER_TOKEN) from None
    return plain


def collect(paths: Paths) -> str:
    """The bootstrap data of this server."""
    names = [f"tls/{name}.{kind}" for name in AUTHORITIES for kind in ("crt", "key")]
    names += ["tls/service.key", "tls/service.current.key"]
    if paths.encryption.exists():
        names.append("cred/encryption-config.json")
    return json.dumps({name: (paths.server / name).read_text() for name in names}, sort_keys=True)


def spread(text: str, paths: Paths) -> None:
    """Write bootstrap data to this server's disk, where it differs."""
    for name, content in json.loads(text).items():
        file = paths.server / name
        if not file.exists() or file.read_text() != content:
            if file.exists():
                log.warning(f"{file} is out of sync with datastore")
            write(file, content)


def _stored(ctl: Callable[..., str]) -> dict[str, str]:
    lines = ctl("get", "--prefix", "/bootstrap/").splitlines()
    return dict(zip(lines[::2], lines[1::2], strict=False))


def read(ctl: Callable[..., str], secret: str) -> str | None:
    """Bootstrap data in etcd; None if there is none yet. Raises Fatal if it belongs to another token."""
    stored = _stored(ctl)
    if not stored:
        return None
    if key(secret) not in stored:
        raise Fatal(OTHER_TOKEN)
    return decrypt(stored[key(secret)], secret)


def store(ctl: Callable[..., str], paths: Paths, secret: str) -> None:
    """Write this server's bootstrap data to etcd, unless it is there; then the disk follows etcd."""
    found = read(ctl, secret)
    if found is None:
        ctl("put", key(secret), stdin=encrypt(collect(paths), secret))  # etcdctl reads the value from its input
    else:
        log.info("Reconciling bootstrap data between datastore and disk")
        spread(found, paths)


def rotate(ctl: Callable[..., str], old: str, new: str) -> None:
    """Encrypt the data in etcd with another token. Raises Fatal if `old` is not the present one."""
    found = read(ctl, old)
    if found is None:
        raise Fatal("no bootstrap data found")
    ctl("put", key(new), stdin=encrypt(found, new))
    if key(new) != key(old):
        ctl("del", key(old))
