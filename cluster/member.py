"""A node's membership: made by joining, and ended from another server when the node goes or is replaced."""

from collections.abc import Sequence

import pulumi
import pulumi_command as command

from cluster import drain
from infra.hosts import Host, connection

DIAL_ERRORS = 20
"""The peer is up, or it is not: five minutes, where a booting machine gets twenty."""
MINUTES = 20
"""Bound of drain and deletion, the dialling included."""


def peer(host: Host, servers: Sequence[Host]) -> Host | None:
    """The server that drains a node: the first that is not the node itself; None for the only server.

    Always the first, and not the next one in turn: that one may be leaving in the same run.
    """
    return next((server for server in servers if server.name != host.name), None)


def member(
    host: Host,
    peer: Host,
    *,
    private_key: pulumi.Input[str],
    joined: command.remote.Command,
    anchor: pulumi.Resource,
    parent: pulumi.Resource,
) -> command.remote.Command:
    """Drain a node and delete its Node when `joined`, its k3s command, is deleted or replaced.

    It is deleted before that command, and made after it: a machine that is made anew finds its name free.
    """
    return command.remote.Command(
        f"{host.name}-member",
        connection=connection(peer, private_key, DIAL_ERRORS),
        delete=drain.script(host.name),
        triggers=[host.identity, joined.id],
        logging=command.remote.Logging.NONE,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent,
            delete_before_replace=True,
            # With the whole cluster goes every membership: nothing is drained, and no control plane is needed.
            deleted_with=anchor,
            custom_timeouts=pulumi.CustomTimeouts(create="1m", update="1m", delete=f"{MINUTES}m"),
        ),
    )
