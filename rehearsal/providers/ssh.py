"""One command over SSH: pinned host keys, at most one hop, and nothing of the user's own SSH set-up.

Owns dialling (retries, backoff, limits) and running. No agent, no configuration file and no known_hosts file is ever
read: what decides is the connection of the resource alone.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import asyncssh

from rehearsal.protocol import ProviderError
from rehearsal.providers.clock import Clock

T = TypeVar("T")

FIRST_BACKOFF = 0.1
BACKOFF_FACTOR = 1.5
LONGEST_BACKOFF = 5.0
KEEPALIVE = 15
GLANCE = 0.2
"""Seconds between looks at the clock and at the interrupt."""
MISMATCH = "host key mismatch"
HOST_KEY_ALGORITHMS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


@dataclass(frozen=True)
class Host:
    """One end of a connection."""

    host: str
    port: int = 22
    user: str = "root"
    private_key: str | None = field(default=None, repr=False)
    private_key_password: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    host_key: str | None = None
    """An OpenSSH public key line; without one the host's key is not checked, as in the published provider."""
    dial_error_limit: int = 10
    """Failed attempts that are forgiven; -1: only the timeout ends them."""
    per_dial_timeout: float = 15.0
    """Seconds for one attempt; 0: only the timeout ends it."""

    @classmethod
    def of(cls, props: Mapping[str, Any]) -> "Host":
        """From a `connection` or its `proxy`."""
        names = {
            "host": "host",
            "port": "port",
            "user": "user",
            "privateKey": "private_key",
            "privateKeyPassword": "private_key_password",
            "password": "password",
            "hostKey": "host_key",
            "dialErrorLimit": "dial_error_limit",
            "perDialTimeout": "per_dial_timeout",
        }
        given: dict[str, Any] = {name: props[key] for key, name in names.items() if props.get(key) is not None}
        given |= {name: int(given[name]) for name in ("port", "dial_error_limit") if name in given}
        return cls(**given)

    @property
    def where(self) -> str:
        """For errors."""
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True)
class Outcome:
    """How a remote command ended."""

    status: int | None
    """Exit status; None when a signal ended it."""
    signal: str
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)


def run(
    target: Host, proxy: Host | None, command: str, clock: Clock, *, stdin: str = "", env: Mapping[str, str]
) -> Outcome:
    """Dial until it works or the limit is reached, then run.

    Raises:
        ProviderError: the host cannot be reached, its key is not the pinned one, or time is up.
    """
    return asyncio.run(_guarded(_session(target, proxy, command, clock, stdin=stdin, env=env), clock, target))


async def _guarded(work: Awaitable[T], clock: Clock, target: Host) -> T:
    """End the work when time is up or the run is interrupted."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=GLANCE)
            if not task.done():
                clock.check(f"working on {target.where}")
        return task.result()
    finally:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task


async def _session(
    target: Host, proxy: Host | None, command: str, clock: Clock, *, stdin: str, env: Mapping[str, str]
) -> Outcome:
    async with contextlib.AsyncExitStack() as stack:
        hop = await _dial(proxy, None, clock, "proxy ") if proxy else None
        if hop:
            stack.callback(hop.abort)
        connection = await _dial(target, hop, clock, "")
        stack.callback(connection.abort)
        try:
            ended = await connection.run(
                command,
                input=stdin.encode() if stdin else None,
                env=dict(env),
                encoding=None,
                check=False,
                **({} if stdin else {"stdin": asyncssh.DEVNULL}),
            )
        except (asyncssh.Error, OSError) as error:
            raise ProviderError(
                f"{clock.label}: the connection to {target.where} broke while the command ran "
                f"({type(error).__name__}); whether it finished is not known. Run again"
            ) from None
        return Outcome(
            ended.exit_status if ended.exit_signal is None else None,
            str(ended.exit_signal[0]) if ended.exit_signal else "",
            _text(ended.stdout),
            _text(ended.stderr),
        )


def _text(raw: Any) -> str:
    return bytes(raw or b"").decode("utf-8", "replace")


async def _dial(
    host: Host, hop: asyncssh.SSHClientConnection | None, clock: Clock, role: str
) -> asyncssh.SSHClientConnection:
    options = _options(host, clock, role)
    failures, backoff, reason = 0, FIRST_BACKOFF, ""
    while True:
        clock.check(f"dialling {role}{host.where}" + (f" ({reason})" if reason else ""))
        limit = min(host.per_dial_timeout or clock.left, clock.left)
        try:
            return await asyncio.wait_for(_connect(host, hop, options), max(limit, GLANCE))
        except (asyncssh.Error, OSError, TimeoutError) as error:
            failures += 1
            reason = explain(error, limit)
            if hop is not None and hop.is_closed():
                raise ProviderError(f"{clock.label}: the proxy closed the connection to {host.where}") from None
            if -1 < host.dial_error_limit < failures:
                raise ProviderError(
                    f"{clock.label}: cannot connect to {role}{host.where}: {reason} (after {failures} attempts); "
                    + _remedy(reason)
                ) from None
        await asyncio.sleep(min(backoff, clock.left))
        backoff = min(backoff * BACKOFF_FACTOR, LONGEST_BACKOFF)


async def _connect(
    host: Host, hop: asyncssh.SSHClientConnection | None, options: Callable[[], dict[str, Any]]
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(host.host, host.port, tunnel=hop or (), **options())


def explain(error: BaseException, limit: float) -> str:
    """The cause in a few words, never with key material."""
    text = str(error)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return MISMATCH
    if isinstance(error, asyncssh.PermissionDenied):
        return "the host refused the login"
    if isinstance(error, TimeoutError):
        return f"no answer within {limit:.0f} s"
    if isinstance(error, asyncssh.ChannelOpenError):
        return "the proxy could not reach it"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _remedy(reason: str) -> str:
    if reason.startswith(MISMATCH):
        return "nothing was run there. If the machine was rebuilt outside this stack, replace it with the stack"
    if "login" in reason:
        return "check the user and the private key of the connection"
    return "check that the machine is up and that the security group lets this computer in"


def _options(host: Host, clock: Clock, role: str) -> Callable[[], dict[str, Any]]:
    """What asyncssh gets; keys are read once, and a bad one is an error before the first dial."""
    # asyncssh makes a pattern of a key's first line.
    try:
        keys = [asyncssh.import_private_key(host.private_key, host.private_key_password)] if host.private_key else None
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, re.error):
        raise ProviderError(f"{clock.label}: the private key for {role}{host.where} cannot be read") from None
    try:
        pinned = [asyncssh.import_public_key(host.host_key)] if host.host_key else None
    except (asyncssh.KeyImportError, re.error):
        raise ProviderError(f"{clock.label}: the pinned host key of {role}{host.where} cannot be read") from None
    return lambda: {
        "username": host.user,
        "client_keys": keys,
        "password": host.password,
        "known_hosts": None if pinned is None else (pinned, [], []),
        "server_host_key_algs": _preferred(pinned[0] if pinned else None),
        "agent_path": None,
        "config": None,
        "login_timeout": 0,
        "keepalive_interval": KEEPALIVE,
        "x509_trusted_certs": None,
    }


def _preferred(pinned: asyncssh.SSHKey | None) -> list[str]:
    """The pinned key's type first, but all: a host without that type then shows another key, and is told apart."""
    kind = pinned.get_algorithm() if pinned else ""
    first = [name for name in HOST_KEY_ALGORITHMS if name == kind or (kind == "ssh-rsa" and name.startswith("rsa-"))]
    return [*first, *(name for name in HOST_KEY_ALGORITHMS if name not in first)]
