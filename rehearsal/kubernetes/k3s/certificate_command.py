"""`k3s certificate`: check the leaf certificates, or have them made anew at the next start."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from . import log
from .config import load
from .files import run
from .log import Fatal
from .paths import Paths

AUTHORITIES = ("server-ca.crt", "client-ca.crt", "request-header-ca.crt", "peer-ca.crt")


def leaves(paths: Paths) -> list[Path]:
    """This machine's leaf certificates."""
    found = [*paths.tls.rglob("*.crt"), *paths.agent.glob("*.crt")]
    return sorted(path for path in found if path.name not in AUTHORITIES)


def _check(paths: Paths) -> int:
    for path in leaves(paths):
        text = run(["openssl", "x509", "-noout", "-subject", "-enddate", "-in", path])
        subject, _, rest = text.partition("\n")
        name = subject.rpartition("CN = ")[2].strip()
        end = rest.strip().removeprefix("notAfter=")
        alive = "will not expire" in run(["openssl", "x509", "-noout", "-checkend", "0", "-in", path], check=False)
        if alive:
            log.info(f"{path.name}: certificate {name} is ok, expires at {end}")
        else:
            log.error(f"{path.name}: certificate {name} expired at {end}")
    return 0


def _running() -> bool:
    units = ["systemctl", "is-active", "k3s.service", "k3s-agent.service"]
    return any(state in ("active", "activating", "reloading") for state in run(units, check=False).split())


def _rotate(paths: Paths) -> int:
    if _running():
        raise Fatal("certificate rotate: k3s is running: stop the service, then try again")
    found = leaves(paths)
    role, home = ("Server", paths.server) if paths.tls.exists() else ("Agent", paths.agent)
    if not found:
        raise Fatal(f"certificate rotate: there are no certificates below {paths.data}")
    log.info(f"{role} detected, rotating {'agent and server' if role == 'Server' else 'agent'} certificates")
    backup = home / f"tls-{int(time.time())}"
    for path in found:
        base = paths.tls if path.is_relative_to(paths.tls) else paths.agent
        target = backup / path.relative_to(base)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file, copy in ((path, target), (path.with_suffix(".key"), target.with_suffix(".key"))):
            shutil.copy2(file, copy)
            file.unlink()
    log.info(
        f"Successfully backed up certificates to {backup}, please restart k3s server or agent to rotate certificates"
    )
    return 0


def main(_name: str, words: Sequence[str]) -> int:
    """Run it. Raises Fatal, CommandError."""
    name, *rest = words or ["check"]
    if rest:
        raise Fatal(f"certificate {name} {rest[0]}: the stand-in for k3s takes all certificates, and no flags")
    if name not in ("check", "rotate"):
        raise Fatal(f"No help topic for 'certificate {name}': check, rotate; rotate-ca is not in the stand-in for k3s")
    paths = load("server", []).paths
    return _check(paths) if name == "check" else _rotate(paths)
