"""Where the nodes get images from: mirrors of the environment, and the platform's own registry on every node."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import versions
from config import Environment

Mirrors = Mapping[str, tuple[str, ...]]
"""Registry to its mirrors' URLs, in the order in which they are asked; the registry itself is asked last."""


@dataclass(frozen=True)
class Registries:
    """What a node must know of registries."""

    mirrors: Mirrors = field(default_factory=dict)
    own: str | None = None
    """host:port of the platform's registry as a node reaches it; its certificate is the stack's authority's."""

    @classmethod
    def of(cls, environment: Environment) -> "Registries":
        """Gather them: the environment's own mirrors are asked before the mirror of all images."""
        base, platform = environment.cluster, environment.platform
        here = platform.host("registry") if platform else ""
        given = dict(getattr(base, "mirrors", {}))
        if environment.images.mirror:
            catalogue = {image.registry for image in versions.IMAGES} | {versions.SMOKE.registry}
            catalogue |= {versions.Image.of(name).registry for name in environment.named_images.values()}
            for registry in sorted(catalogue - {here}):
                given[registry] = (*given.get(registry, ()), environment.images.mirror)
        if platform is None or not platform.registry.enabled:
            return cls(given)
        # Through the node itself: no name outside the cluster has to lead to it, and no node depends on another.
        own = f"127.0.0.1:{platform.registry.node_port}"
        given[here] = (f"https://{own}",)
        return cls(given, own)
