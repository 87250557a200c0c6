"""Passwords and keys: generated once, renewed by the rotation counter, kept in Kubernetes Secrets only."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pulumi
import pulumi_random as random
from pulumi_kubernetes.core.v1 import Secret

if TYPE_CHECKING:
    from mlops.base import Base

LENGTH = 32
"""Letters and digits: 190 bits, and no character that a URL, a shell or an INI file would take for its own."""


def _generated(base: "Base", name: str, parent: pulumi.Resource, length: int) -> random.RandomPassword:
    return random.RandomPassword(
        name,
        length=length,
        special=False,
        keepers={"generation": str(base.config.rotation)},
        opts=pulumi.ResourceOptions(parent=parent),
    )


def password(base: "Base", name: str, parent: pulumi.Resource, *, length: int = LENGTH) -> pulumi.Output[str]:
    """A generated text; a secret."""
    return pulumi.Output.secret(_generated(base, name, parent, length).result)


def hashed(base: "Base", name: str, parent: pulumi.Resource) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """A generated text and its bcrypt hash, which is made once with it, so that it stays the same; both are secret."""
    made = _generated(base, name, parent, LENGTH)
    return pulumi.Output.secret(made.result), pulumi.Output.secret(made.bcrypt_hash)


def secret(
    base: "Base",
    name: str,
    space: str,
    data: Mapping[str, pulumi.Input[str]],
    parent: pulumi.Resource,
    *,
    type_: str = "Opaque",
    labels: Mapping[str, str] | None = None,
) -> pulumi.Output[str]:
    """A Secret `name` in a namespace; returns its name, known when it is there."""
    # An empty mapping is not kept by the API server: it would be a difference at every refresh.
    marked = {"labels": dict(labels)} if labels else {}
    made = Secret(
        f"{space}-{name}",
        metadata={"name": name, "namespace": base.spaces[space], **marked},
        type=type_,
        string_data={key: pulumi.Output.secret(value) for key, value in data.items()},
        opts=base.under(parent),
    )
    return pulumi.Output.unsecret(made.metadata.apply(lambda metadata: metadata.name or name))
