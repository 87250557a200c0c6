"""The first command on every machine: wait until it has booted; tell it its name, its neighbours and its people."""

import shlex
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_command as command

from infra.hosts import Host, connection

READY_MINUTES = 40
"""Boot and cloud-init; bare metal takes 20 minutes at times."""

SCRIPT = r"""
set -eu
neighbours=$(cat)
if command -v cloud-init >/dev/null; then
  status=0
  timeout 1800 cloud-init status --wait >/dev/null || status=$?
  case $status in
    0 | 2) ;; # 2: a boot with warnings that cloud-init recovered from
    *)
      echo "$name: cloud-init ended with $status; see /var/log/cloud-init-output.log there" >&2
      exit 1
      ;;
  esac
fi
block='{ sed "/^# leasehold begin$/,/^# leasehold end$/d" "$1" 2>/dev/null || true
  echo "# leasehold begin"; cat; echo "# leasehold end"; } >"$1.leasehold"
  cat "$1.leasehold" >"$1"; rm "$1.leasehold"'
(umask 077; mkdir -p ~/.ssh; printf %s "$people" | sh -euc "$block" sh ~/.ssh/authorized_keys)
printf '%s\n' "$neighbours" | sudo sh -euc "$block" sh /etc/hosts
# After its line in /etc/hosts: sudo looks its own host up, and waits for name servers that may not answer.
sudo sh -euc 'echo "$1" >/etc/hostname; hostname "$1"' sh "$name"
echo "$name is ready"
"""


def ready_script(name: str, authorized_keys: Sequence[str]) -> str:
    """Render the script; neighbours come on stdin, as lines of /etc/hosts. Running it again changes nothing."""
    people = "".join(f"{key}\n" for key in authorized_keys)
    return f"name={shlex.quote(name)}\npeople={shlex.quote(people)}\n{SCRIPT.lstrip()}"


def hosts_lines(addresses: Mapping[str, str]) -> str:
    """Render name to address as lines of /etc/hosts, sorted by name."""
    return "".join(f"{address} {name}\n" for name, address in sorted(addresses.items()))


def ready(
    host: Host,
    *,
    private_key: pulumi.Output[str],
    authorized_keys: Sequence[str],
    neighbours: pulumi.Input[str],
    aliases: Sequence[str],
    parent: pulumi.Resource,
) -> command.remote.Command:
    """Wait for a machine and prepare it.

    Neighbours are those known at its birth: a later node must not run commands on the ones before it, and
    nothing in the stack depends on names.
    """
    minutes = f"{READY_MINUTES}m"
    return command.remote.Command(
        f"{host.name}-ready",
        connection=connection(host, private_key),
        create=ready_script(host.name, authorized_keys),
        stdin=neighbours,
        triggers=[host.identity],
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent,
            aliases=[pulumi.Alias(name=f"{old}-ready") for old in aliases] or None,
            ignore_changes=["stdin"],
            delete_before_replace=True,
            custom_timeouts=pulumi.CustomTimeouts(create=minutes, update=minutes),
        ),
    )
