"""Locust: people let many clients ask an environment, and see how it holds.

Owns its pod, its page and who may see it. Does not own what is measured: no release depends on it, the gate has clients
of its own.
"""

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment

import config
import versions
from apps import extras, pages, ports
from apps.load_test import spec
from apps.load_test.spec import NAME, SPACE
from mlops import quantities, services, texts
from mlops.base import Base
from mlops.ingress import Ingress


@dataclass(frozen=True)
class LoadTestArgs:
    """What it needs."""

    base: Base
    apps: config.Apps
    wanted: config.LoadTest
    ingress: Ingress


class LoadTest(pulumi.ComponentResource):
    """A page that puts load on an environment."""

    service: services.Service

    def __init__(self, name: str, args: LoadTestArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Start it; `opts` gives the provider."""
        super().__init__("leasehold:apps:LoadTest", name, None, opts)
        base = args.base
        mounted = texts.kept(base, SPACE, f"{SPACE}-program", spec.files(args.wanted), self, called="program")
        image, asked = base.images.reference(versions.LOCUST), extras.asked(args.apps)
        memory = quantities.written(args.wanted.memory)
        Deployment(
            NAME,
            metadata=pages.metadata(base, SPACE, NAME),
            spec=spec.server(image, mounted, asked, memory, str(base.config.rotation)),
            opts=base.under(self),
        )
        front = pages.front(base, SPACE, NAME, pages.service(NAME, {"http": ports.LOAD_TEST}), self)
        # It sends what it is told wherever it may reach: not a page for everybody.
        guard = args.ingress.protect(NAME, SPACE, self, base=base)
        url = args.ingress.route(NAME, SPACE, front, ports.LOAD_TEST, self, base=base, guard=guard)
        self.service = services.Service(NAME, url, guard.login(url), health=spec.HEALTH)
        self.register_outputs({})
