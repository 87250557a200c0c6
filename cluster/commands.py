"""Commands on machines: pinned, bounded, silent; run again only when their text, secrets or machine change."""

from collections.abc import Sequence

import pulumi
import pulumi_command as command

from infra.hosts import Host, connection

DIAL_MINUTES = 25
"""What reaching a machine may take that is just rebooting, beside the work on it."""


def run(
    name: str,
    host: Host,
    *,
    private_key: pulumi.Input[str],
    parent: pulumi.Resource,
    script: pulumi.Input[str],
    minutes: int,
    stdin: pulumi.Input[str] | None = None,
    depends_on: Sequence[pulumi.Resource] = (),
) -> command.remote.Command:
    """Run a script that may run any number of times, for `minutes` at most; what it prints is a secret.

    Another machine (the host's identity) makes another resource; a changed script or stdin runs on the same one.
    """
    bound = f"{minutes + DIAL_MINUTES}m"
    return command.remote.Command(
        name,
        connection=connection(host, private_key),
        create=script,
        stdin=stdin,
        triggers=[host.identity],
        logging=command.remote.Logging.NONE,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=depends_on,
            delete_before_replace=True,
            additional_secret_outputs=["stdout"],
            custom_timeouts=pulumi.CustomTimeouts(create=bound, update=bound),
        ),
    )
