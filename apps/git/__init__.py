"""The stack's own Git server: what runs where, and the source of a model that has no repository elsewhere.

Owns its pod, its volume, its accounts and its host name. Does not own what is in the repositories: that is the
pipeline's (`apps/delivery`), and people's.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.core.v1 import ConfigMap, PersistentVolumeClaim, Service

import versions
from apps import ports
from apps.git import spec
from apps.git.spec import ARGO_CD, NAME, PEOPLE, RELEASES, STEPS
from apps.inventory import DELIVERY
from mlops import credentials, quantities, services
from mlops.base import Base
from mlops.ingress import Ingress
from mlops.services import Login

CLAIM = "git-data"


@dataclass(frozen=True)
class GitServerArgs:
    """What the Git server needs."""

    base: Base
    ingress: Ingress
    storage_gb: int


class GitServer(pulumi.ComponentResource):
    """Bare repositories behind accounts."""

    service: services.Service
    releases: pulumi.Output[str]
    """URL of the releases repository inside the cluster, known when the server answers."""

    def __init__(self, name: str, args: GitServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Start it; `opts` gives the provider."""
        super().__init__("leasehold:apps:GitServer", name, None, opts)
        self._base, base = args.base, args.base
        self.passwords: Mapping[str, pulumi.Output[str]] = {
            user: credentials.password(base, f"{NAME}-{user}", self) for user in (PEOPLE, STEPS, ARGO_CD)
        }
        accounts = credentials.secret(base, f"{NAME}-accounts", DELIVERY, self.passwords, self)
        image = base.images.reference(versions.PYTHON_GIT)
        wanted = spec.server(image, self._program(), accounts, self._claim(args), str(base.config.rotation))
        server = StatefulSet(NAME, metadata=self._metadata(NAME), spec=wanted, opts=base.under(self))
        front = Service(
            f"{NAME}-service",
            # A Service is there before its pod is: nobody waits for it here.
            metadata=self._metadata(NAME, {"pulumi.com/skipAwait": "true"}),
            spec=spec.service(),
            opts=base.under(self),
        )
        ready = pulumi.Output.all(server.id, front.id)
        self.releases = ready.apply(lambda _: spec.url(RELEASES))
        address = args.ingress.route(NAME, DELIVERY, front.id.apply(lambda _: NAME), ports.GIT, self, base=base)
        login = Login(address, PEOPLE, f"{DELIVERY}/{NAME}-accounts", PEOPLE)
        self.service = services.Service(NAME, address, login, health="/healthz")
        self.register_outputs({})

    def _metadata(self, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        marked = {"annotations": dict(annotations)} if annotations else {}
        return {"name": name, "namespace": self._base.spaces[DELIVERY], **marked}

    def _program(self) -> pulumi.Output[str]:
        """The ConfigMap of what runs; another text is another one, so that the pod starts again."""
        texts = {"serve.py": spec.program(), "rights.json": json.dumps(spec.rights(), indent=1)}
        name = f"{NAME}-program-{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:10]}"
        made = ConfigMap(
            f"{NAME}-program", metadata=self._metadata(name), immutable=True, data=texts, opts=self._base.under(self)
        )
        known: pulumi.Output[str] = made.id.apply(lambda _: name)
        return known

    def _claim(self, args: GitServerArgs) -> pulumi.Output[str]:
        base = args.base
        size = {"requests": {"storage": quantities.gigabytes(args.storage_gb)}}
        wanted: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": size}
        if base.config.storage_class:
            wanted["storageClassName"] = base.config.storage_class
        made = PersistentVolumeClaim(
            CLAIM,
            # Some classes make a volume only when a pod wants it: nobody waits for it here.
            metadata=self._metadata(CLAIM, {"pulumi.com/skipAwait": "true"}),
            spec=wanted,
            opts=pulumi.ResourceOptions.merge(base.under(self), pulumi.ResourceOptions(protect=True)),
        )
        known: pulumi.Output[str] = made.id.apply(lambda _: CLAIM)
        return known
