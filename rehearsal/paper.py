"""Providers on paper: they say that everything was made, and make nothing. The state has what a program asks for.

Passwords, keys and certificates are real ones, made by the providers of every rehearsal; everything else is invented.
"""

import json
from collections.abc import Callable, Mapping

from rehearsal.engine.model import name_of, type_of
from rehearsal.engine.references import TYPE as REFERENCE
from rehearsal.protocol import Call, Diff, Props, Provider, Result

LEASE = "pulumi-python:dynamic/infra:Lease"
LOCAL = ("random:", "tls:")
"""Packages whose resources need nothing but this process."""
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: Y2E=}}]
users: [{name: default, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}]
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
"""
"""As k3s writes it for its own server."""


def printed(name: str) -> str:
    """What a command on a machine prints: k3s and Kubespray, how the cluster is reached; preparation, an address."""
    if name.endswith("-k3s") or name == "kubespray":
        return json.dumps({"kubeconfig": KUBECONFIG, "token": "K10ca::server:x", "agent_token": "K10ca::node:y"})
    return "100.64.0.9\n" if name.endswith("-prepare") else ""


INVENTED: Mapping[str, Callable[[str], Props]] = {
    LEASE: lambda name: {
        "status": "ACTIVE",
        "start_date": "2026-01-01 00:00",
        "end_date": "2026-01-02 00:00",
        "reservation_id": f"reservation-{name}",
        "flavor_id": f"flavor-{name}",
    },
    "openstack:networking/floatingIp:FloatingIp": lambda _: {"address": "192.0.2.1"},
    "openstack:compute/volumeAttach:VolumeAttach": lambda _: {"device": "/dev/vdb"},
    "command:remote:Command": lambda name: {"stdout": printed(name), "stderr": ""},
    REFERENCE: lambda _: {"outputs": {"kubeconfig": KUBECONFIG}, "secretOutputNames": ["kubeconfig"]},
}
"""What the program reads of what it asked for, beside its inputs and its id."""


class Paper:
    """A provider of any type."""

    def check(self, call: Call, news: Props) -> Props:  # noqa: ARG002  the protocol's signature
        """Inputs are as they are asked for."""
        return news

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:  # noqa: ARG002
        """Nothing was there before."""
        return Diff()

    def create(self, call: Call, news: Props) -> Result:
        """Say that it was made."""
        name, invented = name_of(call.urn), INVENTED.get(type_of(call.urn))
        return Result(f"id-of-{name}", {**news, **(invented(name) if invented else {})})

    def read(self, call: Call, olds: Result) -> Result:  # noqa: ARG002
        """It is as it was made."""
        return olds

    def update(self, call: Call, olds: Result, news: Props) -> Result:  # noqa: ARG002
        """Say that it was changed."""
        return Result(olds.id, {**olds.outputs, **news})

    def delete(self, call: Call, olds: Result) -> None:
        """There is nothing to remove."""

    def find(self, call: Call, news: Props) -> str | None:  # noqa: ARG002
        """Nothing was left behind."""
        return None


def providers(real: Mapping[str, Provider]) -> dict[str, Provider]:
    """The same types, on paper where they need anything outside this process."""
    return {token: found if token.startswith(LOCAL) else Paper() for token, found in real.items()}


def get_network(_call: Call, args: Props) -> Props:
    """A network of a site, which nobody asked."""
    return {**args, "id": f"id-of-{args.get('name')}"}


INVOKES: Mapping[str, Callable[[Call, Props], Props]] = {"openstack:networking/getNetwork:getNetwork": get_network}
