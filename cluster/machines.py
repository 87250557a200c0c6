"""The machines of a cluster made here: who is what, how its API is reached, and their preparation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

import pulumi
import pulumi_command as command

import versions
from cluster import commands, kubeconfig, prepare
from config import Artifacts, ClusterBase, Secrets
from config.environment import API
from infra.hosts import Host

VPN_INTERFACE = "tailscale0"


@dataclass(frozen=True)
class MachinesArgs:
    """Machines, and what they are prepared for."""

    hosts: Sequence[Host]
    ready: Mapping[str, pulumi.Resource]
    """Host name to what waited for it."""
    private_key: pulumi.Output[str]
    config: ClusterBase
    artifacts: Artifacts
    secrets: Secrets


class Machines(pulumi.ComponentResource):
    """Machines on which a cluster can be installed."""

    hosts: tuple[Host, ...]
    servers: tuple[Host, ...]
    """In the environment's order: the first begins the cluster."""
    agents: tuple[Host, ...]
    private_key: pulumi.Output[str]
    prepared: Mapping[str, command.remote.Command]
    addresses: Mapping[str, pulumi.Input[str]]
    """Host name to its address for the other nodes: plain text, but for a VPN's."""
    vpn: bool
    entry: Host
    """Where the API is reached from outside: the first server's bastion, or the first server."""
    api: pulumi.Output[str]
    """URL of the API for those outside."""
    proxy: str | None
    """What they go through; None: directly."""
    names: tuple[pulumi.Input[str], ...]
    """Names and addresses of the API, for its certificate."""

    def __init__(self, name: str, args: MachinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Prepare every machine, all at once."""
        super().__init__("leasehold:cluster:Machines", name, None, opts)
        self._args = args
        self.hosts = tuple(args.hosts)
        self.servers = tuple(host for host in self.hosts if host.role == "server")
        self.agents = tuple(host for host in self.hosts if host.role != "server")
        self.private_key, self.vpn = args.private_key, args.config.vpn is not None
        self.entry = entry(self.hosts, self.servers[0])
        key = prepare.secrets(None) if not self.vpn else self._auth_key()
        self.prepared = {host.name: self._prepare(host, key) for host in self.hosts}
        self.addresses = {host.name: self._address(host) for host in self.hosts}
        public, inside = args.config.api == "public", self.addresses[self.entry.name]
        self.proxy = None if public else kubeconfig.TUNNEL
        self.api = pulumi.Output.concat("https://", self.entry.reach.host if public else inside, f":{API}")
        addresses = [self.addresses[server.name] for server in self.servers]
        self.names = (*(server.name for server in self.servers), *addresses, self.entry.reach.host, inside)
        self.register_outputs({})

    def _auth_key(self) -> pulumi.Output[str]:
        key = self._args.secrets.tailscale_auth_key
        assert key is not None  # noqa: S101  config.load refuses a VPN without one
        return key.apply(prepare.secrets)

    def _prepare(self, host: Host, key: pulumi.Input[str]) -> command.remote.Command:
        return commands.run(
            f"{host.name}-prepare",
            host,
            private_key=self.private_key,
            parent=self,
            script=self._script(host),
            stdin=key,
            minutes=prepare.MINUTES,
            # Waiting for a machine hands no value on.
            depends_on=[self._args.ready[host.name]],
        )

    def _script(self, host: Host) -> pulumi.Input[str]:
        """The script, rendered at once unless a volume's device is known to the site only."""
        names = [volume.name for volume in host.volumes]
        if not names:
            return self._render(host, [])
        devices = pulumi.Output.all(*(volume.device for volume in host.volumes))
        return devices.apply(lambda known: self._render(host, list(zip(names, known, strict=True))))

    def _render(self, host: Host, volumes: Sequence[tuple[str, str]]) -> str:
        config, artifacts = self._args.config, self._args.artifacts
        toolkit = versions.nvidia_toolkit() if host.gpu else ()
        return prepare.script(
            prepare.Preparation(
                host=host.name,
                address=host.address,
                volumes=tuple(volumes),
                gpu=host.gpu,
                toolkit=tuple(artifacts.download(package) for package in toolkit),
                tailscale=artifacts.download(versions.tailscale()) if config.vpn else None,
                tailscale_tag=config.vpn.tag if config.vpn else None,
                # On a server the API itself listens there.
                api_forward=host is self.entry and host.role != "server",
            )
        )

    def _address(self, host: Host) -> pulumi.Input[str]:
        if not self.vpn:
            return host.address
        # What a command prints is a secret; an address is none.
        printed: pulumi.Output[str] = pulumi.Output.unsecret(self.prepared[host.name].stdout)
        return printed.apply(vpn_address)

    def kubeconfig(self, name: str, admin: pulumi.Output[str]) -> pulumi.Output[str]:
        """Rewrite a server's own kubeconfig for those outside, under the cluster's name; a secret."""

        def render(known: Sequence[str]) -> str:
            return kubeconfig.render(known[0], name=name, server=known[1], proxy=self.proxy)

        rewritten = pulumi.Output.all(admin, self.api).apply(render)
        return pulumi.Output.secret(rewritten)


def entry(hosts: Sequence[Host], server: Host) -> Host:
    """The machine through which a server is reached: its bastion, or itself."""
    return next((host for host in hosts if host.bastion is None and host.reach is server.bastion), server)


def vpn_address(stdout: str) -> str:
    """Read a machine's address in the VPN from what its preparation printed; raises ValueError if it is not there."""
    lines = stdout.strip().splitlines()
    return str(IPv4Address(lines[-1].strip() if lines else ""))
