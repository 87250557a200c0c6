"""The stack's own Git server: what runs where, and the source of a model that has no repository elsewhere.

Owns its pod, its volume, its accounts, its host name, and the copies of its repositories. Does not own what is in
them: that is the pipeline's (`apps/delivery`), and people's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.batch.v1 import CronJob
from pulumi_kubernetes.core.v1 import PersistentVolumeClaim, Service

import config
import versions
from apps import ports
from apps.git import jobs, spec
from apps.git.spec import ARGO_CD, BACKUP, NAME, PEOPLE, RELEASES, STEPS
from apps.inventory import DELIVERY
from mlops import Platform, backups, credentials, quantities, services, texts
from mlops.backups import Place
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
    archive: Place
    """Where copies of the repositories go."""
    restored: Place | None = None
    """What repositories without commits begin with; None: they begin empty."""

    @classmethod
    def of(cls, base: Base, apps: config.Apps, platform: Platform) -> "GitServerArgs":
        """With the archives that the environment names."""
        store, wanted = platform.store, base.config.backups
        archive = backups.place(base, wanted.archive, store, jobs.BUCKET)
        restored = backups.place(base, wanted.restore, store, jobs.BUCKET) if wanted.restore else None
        return cls(base, platform.ingress, apps.git_storage_gb, archive, restored)


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
            user: credentials.password(base, f"{NAME}-{user}", self) for user in (PEOPLE, STEPS, ARGO_CD, BACKUP)
        }
        accounts = credentials.secret(base, f"{NAME}-accounts", DELIVERY, self.passwords, self)
        self._image = base.images.reference(versions.PYTHON_GIT)
        wanted = spec.server(self._image, self._program(), accounts, self._claim(args), str(base.config.rotation))
        copying = texts.kept(base, DELIVERY, jobs.COPIES, jobs.scripts(), self)
        if args.restored is not None:
            wanted = self._begun(wanted, args.restored, copying, args.storage_gb)
        server = StatefulSet(NAME, metadata=self._metadata(NAME), spec=wanted, opts=base.under(self))
        front = Service(
            f"{NAME}-service",
            # A Service is there before its pod is: nobody waits for it here.
            metadata=self._metadata(NAME, {"pulumi.com/skipAwait": "true"}),
            spec=spec.service(),
            opts=base.under(self),
        )
        ready = pulumi.Output.all(server.id, front.id)
        self._copies(args, copying, ready)
        self.releases = ready.apply(lambda _: spec.url(RELEASES))
        address = args.ingress.route(NAME, DELIVERY, front.id.apply(lambda _: NAME), ports.GIT, self, base=base)
        login = Login(address, PEOPLE, f"{DELIVERY}/{NAME}-accounts", PEOPLE)
        self.service = services.Service(NAME, address, login, health="/healthz")
        self.register_outputs({})

    def _metadata(self, name: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
        marked = {"annotations": dict(annotations)} if annotations else {}
        return {"name": name, "namespace": self._base.spaces[DELIVERY], **marked}

    def _program(self) -> pulumi.Output[str]:
        """The ConfigMap of what runs."""
        files = {"serve.py": spec.program(), "rights.json": json.dumps(spec.rights(), indent=1)}
        return texts.kept(self._base, DELIVERY, f"{NAME}-program", files, self)

    def _plan(self, name: str, place: Place, more: Mapping[str, pulumi.Input[Any]]) -> pulumi.Output[str]:
        """The Secret that says what a pod copies, and from where to where."""
        keys = {"access_key": place.keys.access_key, "secret_key": place.keys.secret_key}
        store = {"endpoint": place.endpoint, "region": place.region, **keys}
        where = {"bucket": place.bucket, "folder": f"{place.folder}/{NAME}", "repositories": list(spec.rights())}
        text: pulumi.Output[str] = pulumi.Output.secret(pulumi.Output.json_dumps({"store": store, **where, **more}))
        return credentials.secret(self._base, name, DELIVERY, {jobs.KEY: text}, self)

    def _begun(
        self, server: Mapping[str, Any], place: Place, copying: pulumi.Output[str], gigabytes: int
    ) -> dict[str, Any]:
        plan = self._plan(f"{NAME}-restore", place, {"data": spec.DATA})
        volumes = jobs.volumes(copying, plan, gigabytes)
        return jobs.begun_with(server, f"{place.endpoint} {place.url}", self._image, volumes)

    def _copies(self, args: GitServerArgs, copying: pulumi.Output[str], ready: pulumi.Output[Any]) -> None:
        days = self._base.config.backups.retention_days
        # Known when the server answers: the first copy would fail before.
        password = pulumi.Output.all(self.passwords[BACKUP], ready).apply(lambda known: str(known[0]))
        account = {"server": spec.SERVER, "user": BACKUP, "password": password, "keep_days": days}
        plan = self._plan(backups.REPOSITORIES, args.archive, account)
        CronJob(
            backups.REPOSITORIES,
            metadata=self._metadata(backups.REPOSITORIES),
            spec=jobs.copies(self._image, copying, plan, args.storage_gb),
            opts=self._base.under(self),
        )

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
