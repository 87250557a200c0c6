"""The stack outputs: one typed place that other teams build on (docs/outputs.md shows a StackReference)."""

from dataclasses import dataclass, field, fields
from typing import Any

import pulumi

from infra import Infra
from infra.hosts import known_hosts, ssh_config


def _output(description: str, *, secret: bool = False) -> Any:
    return field(metadata={"description": description, "secret": secret})


@dataclass(frozen=True)
class StackOutputs:
    """Every output, in the order in which it is shown."""

    hosts: pulumi.Output[list[dict[str, Any]]] = _output(
        "machines: name, role, site, address, ssh_host, ssh_port, user, host_key, bastion, gpu, labels, volumes"
    )
    leases: pulumi.Output[dict[str, dict[str, str]]] = _output(
        "leases: id, reservation_id, flavor_id, status, start, end, extendable_from, extendable_until (UTC)"
    )
    floating_ips: dict[str, pulumi.Output[str]] = _output("site name to the public address of its bastion")
    ssh_config: pulumi.Output[str] = _output("OpenSSH client configuration for every machine")
    known_hosts: pulumi.Output[str] = _output("pinned SSH host keys, one line a machine")
    ssh_private_key: pulumi.Output[str] = _output("login key of the stack, OpenSSH text", secret=True)

    @classmethod
    def of(cls, infra: Infra) -> "StackOutputs":
        """Gather the layers' results."""
        hosts, stack = infra.describe_hosts(), pulumi.get_stack()
        return cls(
            hosts=hosts,
            leases=infra.describe_leases(),
            floating_ips=dict(infra.floating_ips),
            ssh_config=hosts.apply(lambda found: ssh_config(stack, found)),
            known_hosts=hosts.apply(known_hosts),
            ssh_private_key=infra.private_key,
        )

    def export(self) -> None:
        """Hand every output to Pulumi; those marked secret as secrets."""
        for item in fields(self):
            value = getattr(self, item.name)
            pulumi.export(item.name, pulumi.Output.secret(value) if item.metadata["secret"] else value)
