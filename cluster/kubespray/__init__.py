"""The other distribution: Kubernetes by Kubespray, run from the bastion.

One command runs all of it, so unlike with k3s a new node makes that command run again: Kubespray's inventory names
every node. What it then does to the nodes is decided there, from what the cluster says of itself (plan.py): a new
agent is added alone, one that is not wanted any more is drained and removed, a newer version is an upgrade.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi
import pulumi_command as command
import pulumi_random as random
import pulumi_tls as tls

import versions
from cluster import commands
from cluster.kubespray import render, script
from cluster.machines import Machines
from cluster.registries import Registries
from config import Artifacts, KubesprayCluster
from infra.hosts import Host, connection

ADMIT_MINUTES = 10
"""Bound of a login and one line, dialling included: the machine was prepared before."""


@dataclass(frozen=True)
class KubesprayArgs:
    """What the cluster is made from."""

    name: str
    """Of the cluster in kubeconfigs."""
    config: KubesprayCluster
    machines: Machines
    artifacts: Artifacts
    registries: Registries = Registries()


class Kubespray(pulumi.ComponentResource):
    """A Kubernetes cluster by Kubespray."""

    kubeconfig: pulumi.Output[str]
    """Administrator's; a secret."""
    endpoint: pulumi.Output[str]
    """URL of the API."""
    version: str
    """Of Kubernetes."""
    joined: Mapping[str, command.remote.Command]
    """Node name to the command that made it a node: the same one for all."""

    def __init__(self, name: str, args: KubesprayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Run Kubespray on the machine through which the others are reached; done when every node is Ready."""
        super().__init__("leasehold:cluster:Kubespray", name, None, opts)
        self._args = args
        machines = args.machines
        key = tls.PrivateKey(f"{name}-key", algorithm="ED25519", opts=self._under())
        secret = random.RandomPassword(f"{name}-secret", length=64, special=False, opts=self._under())
        admitted = [self._admit(host, key.public_key_openssh) for host in machines.hosts]
        run = commands.run(
            name,
            machines.entry,
            private_key=machines.private_key,
            parent=self,
            script=self._script(),
            stdin=pulumi.Output.secret(
                pulumi.Output.all(secret.result, key.private_key_openssh).apply(lambda k: script.secrets(k[0], k[1]))
            ),
            minutes=script.MINUTES,
            # Being prepared and letting the bastion in hand no value on.
            depends_on=[*machines.prepared.values(), *admitted],
        )
        self.joined = {host.name: run for host in machines.hosts}
        self.endpoint, self.version = machines.api, args.config.version
        told = run.stdout.apply(script.parse)
        self.kubeconfig = machines.kubeconfig(args.name, told)
        self.register_outputs({})

    def _under(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _admit(self, host: Host, public_key: pulumi.Output[str]) -> command.remote.Command:
        """Let the bastion's key in. Nothing takes it back: it goes with the machine."""
        bound = f"{ADMIT_MINUTES}m"
        return command.remote.Command(
            f"{host.name}-admit",
            connection=connection(host, self._args.machines.private_key),
            create=public_key.apply(script.admit),
            triggers=[host.identity],
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                # A machine that is not prepared may still be booting.
                depends_on=[self._args.machines.prepared[host.name]],
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(create=bound, update=bound),
            ),
        )

    def _script(self) -> pulumi.Output[str]:
        machines = self._args.machines
        return pulumi.Output.all(
            pulumi.Output.all(*(machines.addresses[host.name] for host in machines.hosts)),
            pulumi.Output.all(*(host.reach.host_key for host in machines.hosts)),
            pulumi.Output.all(*(host.identity for host in machines.hosts)),
            pulumi.Output.all(*machines.names),
        ).apply(partial(_render, self._args))


def _render(args: KubesprayArgs, known: Sequence[Sequence[Any]]) -> str:
    addresses, host_keys, identities, names = known
    config = args.config
    return script.script(
        script.Run(
            bastion=args.machines.entry.name,
            machines=tuple(
                render.Machine(
                    name=host.name,
                    role="server" if host.role == "server" else "agent",
                    address=address,
                    user=host.reach.user,
                    port=host.reach.port,
                    labels=host.labels,
                    gpu=host.gpu,
                )
                for host, address in zip(args.machines.hosts, addresses, strict=True)
            ),
            host_keys=tuple(host_keys),
            identities=tuple(identities),
            options=render.Options(
                version=config.version,
                network_plugin=config.network_plugin,
                pod_cidr=config.pod_cidr,
                service_cidr=config.service_cidr,
                mirrors=args.registries.mirrors,
                api_addresses=sorted(set(names)),
            ),
            release=args.artifacts.download(versions.kubespray()),
        )
    )
