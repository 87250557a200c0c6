"""ConfigMaps of texts that never change: other texts are another one, so that what mounts them starts again."""

import hashlib
import json
from collections.abc import Mapping

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap

from mlops.base import Base


def kept(
    base: Base, space: str, name: str, texts: Mapping[str, str], parent: pulumi.Resource, *, called: str | None = None
) -> pulumi.Output[str]:
    """Keep them as a resource of that name; returns what the object is called, known when it is there.

    That is `called`, or else the resource's name, and a sum over the texts.
    """
    full = f"{called or name}-{hashlib.sha256(json.dumps(dict(texts)).encode()).hexdigest()[:10]}"
    made = ConfigMap(
        name,
        metadata={"name": full, "namespace": base.spaces[space]},
        immutable=True,
        data=dict(texts),
        opts=base.under(parent),
    )
    known: pulumi.Output[str] = made.id.apply(lambda _: full)
    return known
