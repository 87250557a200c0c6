"""What this layer hands to the next one: machines, and how to reach them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_command as command

DIAL_ERRORS = 250
"""Refused dials before giving up: pulumi-command waits up to 5 s between them, so some 20 minutes of boot."""
DIAL_SECONDS = 15


@dataclass(frozen=True)
class Reach:
    """An SSH endpoint with its pinned host key."""

    host: pulumi.Input[str]
    user: str
    host_key: pulumi.Input[str]
    port: int = 22


@dataclass(frozen=True)
class AttachedVolume:
    """A data volume at its device."""

    name: str
    device: pulumi.Input[str]


@dataclass(frozen=True)
class Host:
    """A machine that answers on SSH."""

    name: str
    role: str
    site: str
    address: str
    """Address for the other nodes of its site."""
    reach: Reach
    bastion: Reach | None
    """Where to connect from; none: directly."""
    labels: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False
    volumes: tuple[AttachedVolume, ...] = ()
    lease: str | None = None
    """Name of the lease that it sits on."""
    lease_end: pulumi.Input[str] = ""
    """When that ends, and the machine with it: UTC, "YYYY-MM-DD HH:MM"; "" without a lease."""
    identity: pulumi.Input[str] = ""
    """Changes when the machine is another one: its server id, or its host key."""


def connection(
    host: Host, private_key: pulumi.Input[str], dial_errors: int = DIAL_ERRORS
) -> command.remote.ConnectionArgs:
    """Dial settings for remote commands: pinned keys on both hops, and patience for a machine that boots."""
    proxy = None
    if host.bastion is not None:
        proxy = command.remote.ProxyConnectionArgs(
            host=host.bastion.host,
            user=host.bastion.user,
            port=host.bastion.port,
            private_key=private_key,
            host_key=host.bastion.host_key,
            dial_error_limit=dial_errors,
            per_dial_timeout=DIAL_SECONDS,
        )
    return command.remote.ConnectionArgs(
        host=host.reach.host,
        user=host.reach.user,
        port=host.reach.port,
        private_key=private_key,
        host_key=host.reach.host_key,
        dial_error_limit=dial_errors,
        per_dial_timeout=DIAL_SECONDS,
        proxy=proxy,
    )


def known_hosts(hosts: Sequence[Mapping[str, Any]]) -> str:
    """Render the pinned host keys, one line a machine, under the machine's name."""
    return "".join(f"{host['name']} {host['host_key'].strip()}\n" for host in hosts)


def ssh_config(stack: str, hosts: Sequence[Mapping[str, Any]]) -> str:
    """Render an OpenSSH client configuration: `ssh -F FILE node2`, through the bastion, keys pinned.

    Expects the stack outputs `known_hosts` and `ssh_private_key` in the files that it names.
    """
    lines = []
    for host in hosts:
        lines += [
            f"Host {host['name']}",
            f"  HostName {host['ssh_host']}",
            f"  Port {host['ssh_port']}",
            f"  User {host['user']}",
            f"  HostKeyAlias {host['name']}",
            *([f"  ProxyJump {host['bastion']}"] if host["bastion"] else []),
            "",
        ]
    lines += [
        "Host *",
        f"  IdentityFile ~/.ssh/leasehold-{stack}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile ~/.ssh/leasehold-{stack}.known_hosts",
        "  StrictHostKeyChecking yes",
    ]
    return "\n".join(lines) + "\n"
