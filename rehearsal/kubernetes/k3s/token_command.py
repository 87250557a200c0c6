"""`k3s token`: bootstrap tokens for agents, and a new server token."""

import base64
import os
import secrets
from collections.abc import Sequence

from . import binaries, config, control_plane, objects, rotation, tokens
from .api import SYSTEM, Api
from .config import Config
from .log import Fatal
from .server_files import LOOPBACK

KEPT = (
    "WARNING: Recommended to keep a record of the old token. If restoring from a snapshot, you must use the token "
    "associated with that snapshot."
)


def flags(words: Sequence[str], known: dict[str, str]) -> dict[str, str]:
    """Values of flags by their long name; `known` maps every spelling to it.

    Raises Fatal at any other word.
    """
    found, rest = {}, list(words)
    while rest:
        word, given, value = rest.pop(0).partition("=")
        name = known.get(word.lstrip("-")) if word.startswith("-") else None
        if not name:
            raise Fatal(f"flag provided but not defined: {word}")
        if not given and not rest:
            raise Fatal(f"flag needs an argument: {word}")
        found[name] = value if given else rest.pop(0)
    return found


def _rotate(settings: Config, given: dict[str, str]) -> None:
    url = given.get("server") or os.environ.get("K3S_URL") or LOOPBACK
    if url.rstrip("/") not in (LOOPBACK, "https://localhost:6443"):
        raise Fatal(
            f"token rotate --server {url}: the stand-in for k3s does it on the server itself: leave --server out"
        )
    stored = settings.paths.token.read_text().strip()
    old = tokens.parse(given.get("token") or os.environ.get("K3S_TOKEN") or stored)
    tokens.check(old, (settings.paths.tls / "server-ca.crt").read_text())
    new = given.get("new-token", "")
    rotation.rotate(settings, old.secret, tokens.parse(new).secret if new else "")
    print("Token rotated, restart k3s nodes with new token")


def _create(api: Api, settings: Config) -> None:
    token = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
    api.apply(f"{SYSTEM}/secrets", objects.token_secret(token, objects.AGENTS))
    print(tokens.full(token, "", (settings.paths.tls / "server-ca.crt").read_text()))


def _list(api: Api) -> None:
    print("TOKEN\tTTL\tEXTRA GROUPS")
    for secret in api.get(f"{SYSTEM}/secrets?fieldSelector=type=bootstrap.kubernetes.io/token")["items"]:
        data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        print(data["token-id"], data.get("expiration", "<forever>"), data.get("auth-extra-groups", "<none>"), sep="\t")


def main(_name: str, words: Sequence[str]) -> int:
    """Run it. Raises Fatal, CommandError."""
    name, *rest = words or ["list"]
    if name == "generate":
        print(f"{secrets.token_hex(3)}.{secrets.token_hex(8)}")
        return 0
    if name not in ("create", "list", "delete", "rotate"):
        raise Fatal(f"No help topic for 'token {name}': create, delete, generate, list, rotate")
    settings = config.load("server", [])
    if not (settings.paths.tls / "client-admin.crt").exists():
        raise Fatal(f"token {name}: this machine is not a server of a running cluster")
    binaries.unpack(settings.paths.data)
    api = control_plane.admin(settings)
    if name == "rotate":
        print(KEPT)
        spellings = {"token": "token", "t": "token", "server": "server", "s": "server", "new-token": "new-token"}
        _rotate(settings, flags(rest, spellings))
    elif name == "create":
        _create(api, settings)
    elif name == "list":
        _list(api)
    else:
        for token in rest:
            identity = token.rpartition("::")[2].partition(".")[0]
            api.delete(f"{SYSTEM}/secrets/bootstrap-token-{identity}")
            print(f'bootstrap token "{identity}" deleted')
    return 0
