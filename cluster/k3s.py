"""k3s on the machines: servers one after another, agents in one wave.

What runs on a machine is text from node.py, prepare.py, leave.py and drain.py; here is who waits for whom, and which
secret goes where.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi
import pulumi_command as command
import pulumi_random as random

import versions
from cluster import commands, leave, member, node
from cluster.machines import VPN_INTERFACE, Machines
from cluster.registries import Registries
from config import Artifacts, K3sCluster, Secrets
from infra.hosts import Host

TOKEN_LENGTH = 48


@dataclass(frozen=True)
class K3sArgs:
    """What k3s is made from."""

    name: str
    """Of the cluster in kubeconfigs."""
    config: K3sCluster
    machines: Machines
    artifacts: Artifacts
    secrets: Secrets
    registries: Registries
    authority: pulumi.Output[str]
    """Certificate of the stack's own authority, PEM."""
    anchor: pulumi.Resource
    """Lives as long as the cluster: what goes with it need not be undone by itself."""
    restore: str | None = None


class K3s(pulumi.ComponentResource):
    """A k3s cluster."""

    kubeconfig: pulumi.Output[str]
    """Administrator's; a secret."""
    joined: Mapping[str, command.remote.Command]
    """Node name to the command that made it a node."""

    def __init__(self, name: str, args: K3sArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install k3s on every machine; done when every node is Ready."""
        super().__init__("leasehold:cluster:K3s", name, None, opts)
        self._args = args
        machines = args.machines
        self._servers = pulumi.Output.all(*(machines.addresses[server.name] for server in machines.servers))
        self._names = pulumi.Output.all(*machines.names)
        first, *others = machines.servers
        tokens = [self._token(kind) for kind in ("server", "agent")]
        begun = self._node(first, self._stdin(*(token.result for token in tokens)))
        printed: pulumi.Output[str] = pulumi.Output.secret(begun.stdout)
        told = printed.apply(node.parse)
        self.joined = joined = {first.name: begun}
        to_servers = self._stdin(told.apply(lambda t: t.token), told.apply(lambda t: t.agent_token))
        last = begun
        for server in others:
            # One after another: etcd takes one learner at a time, and an upgrade must keep the majority.
            last = joined[server.name] = self._node(server, to_servers, after=[last])
        to_agents = told.apply(lambda t: node.secrets(token="", agent_token=t.agent_token))
        for agent in machines.agents:
            joined[agent.name] = self._node(agent, to_agents)
            if leave.leaves(agent, machines.servers):
                self._leave(agent)
        for host in machines.hosts:
            self._member(host)
        self.kubeconfig = machines.kubeconfig(args.name, told.apply(lambda t: t.kubeconfig))
        self.register_outputs({})

    def _token(self, kind: str) -> random.RandomPassword:
        return random.RandomPassword(
            f"{kind}-token",
            length=TOKEN_LENGTH,
            special=False,
            keepers={"generation": str(self._args.config.rotation.token)},
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _stdin(self, token: pulumi.Input[str], agent_token: pulumi.Input[str]) -> pulumi.Output[str]:
        """The secrets of a server, with the keys of the snapshots' bucket."""
        given = self._args.secrets
        known = pulumi.Output.all(token, agent_token, given.snapshot_access_key, given.snapshot_secret_key)
        return pulumi.Output.secret(
            known.apply(
                lambda k: node.secrets(token=k[0], agent_token=k[1], snapshot_access_key=k[2], snapshot_secret_key=k[3])
            )
        )

    def _node(
        self, host: Host, stdin: pulumi.Output[str], after: Sequence[pulumi.Resource] = ()
    ) -> command.remote.Command:
        machines = self._args.machines
        return commands.run(
            f"{host.name}-k3s",
            host,
            private_key=machines.private_key,
            parent=self,
            script=self._script(host),
            stdin=stdin,
            minutes=node.MINUTES,
            # Preparing a machine hands no value on; the volumes are mounted then, and the GPU's runtime is there.
            depends_on=[machines.prepared[host.name], *after],
        )

    def _script(self, host: Host) -> pulumi.Input[str]:
        """The script, rendered at once where everything in it is in the environment: there may be many agents."""
        machines = self._args.machines
        if host.role != "server" and not machines.vpn and not self._args.registries.own:
            return self._render(host, [host.address, [server.address for server in machines.servers], [], ""])
        authority = self._args.authority if self._args.registries.own else ""
        known = pulumi.Output.all(machines.addresses[host.name], self._servers, self._names, authority)
        return known.apply(partial(self._render, host))

    def _render(self, host: Host, known: Sequence[Any]) -> str:
        address, servers, names, authority = known
        args, server = self._args, host.role == "server"
        first = host is args.machines.servers[0]
        binary, images, install = (args.artifacts.download(a) for a in versions.k3s(args.config.version))
        return node.script(
            node.K3sNode(
                name=host.name,
                role="server" if server else "agent",
                first=first,
                address=address,
                interface=VPN_INTERFACE if args.machines.vpn else None,
                servers=tuple(servers),
                downloads=(binary, images, install),
                config=args.config,
                registries=args.registries,
                authority=authority,
                tls_sans=tuple(names) if server else (),
                labels=host.labels,
                gpu=host.gpu,
                restore=args.restore if first else None,
            )
        )

    def _leave(self, host: Host) -> None:
        """Set the timer that empties an agent before its lease ends."""
        commands.run(
            f"{host.name}-leave",
            host,
            private_key=self._args.machines.private_key,
            parent=self,
            script=pulumi.Output.from_input(host.lease_end).apply(partial(leave.script, host.name)),
            minutes=leave.MINUTES,
            # k3s, by which it leaves, hands no value on.
            depends_on=[self.joined[host.name]],
        )

    def _member(self, host: Host) -> None:
        machines = self._args.machines
        peer = member.peer(host, machines.servers)
        if peer is not None:
            member.member(
                host,
                peer,
                private_key=machines.private_key,
                joined=self.joined[host.name],
                anchor=self._args.anchor,
                parent=self,
            )
