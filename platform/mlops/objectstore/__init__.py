"""The object store: one S3 contract, kept by MinIO or SeaweedFS in the cluster, or by a store that exists.

Owns the store, its buckets, and the keys of each application; the buckets' copies outside, and their return.
Does not own what is in them. That keys reach one bucket only keeps mistakes apart; it is no wall against an
application that was taken over, since all of them talk to the store itself.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.batch.v1 import CronJob, Job
from pulumi_kubernetes.core.v1 import ConfigMap, PersistentVolumeClaim, Service

import versions
from config import ExternalStore, Minio, Platform, Seaweedfs
from mlops import backups, quantities
from mlops.backups import Place
from mlops.base import Base
from mlops.credentials import password, secret
from mlops.flows import Flow
from mlops.ingress import Ingress
from mlops.objectstore import jobs, minio, seaweedfs
from mlops.objectstore.contract import (
    BUCKETS,
    CLAIM,
    COPIED,
    ENDPOINT,
    METRICS_USER,
    NAME,
    PORT,
    REGION,
    ROOT,
    SELECTOR,
)
from mlops.objectstore.contract import buckets as names
from mlops.objectstore.contract import user as user_of
from mlops.scrapes import Scrape
from mlops.services import S3, Keys, Login
from mlops.services import Service as Offered
from mlops.spaces import Space
from versions import Chart

ROOT_LENGTH = 40
"""The longest secret key that MinIO takes."""
SWFS_METRICS = 9324
FLOWS = (
    Flow("ingress", NAME, (PORT, minio.CONSOLE), "S3 and MinIO's console from outside"),
    Flow("monitoring", NAME, (PORT, SWFS_METRICS), "metrics"),
)


def spaces(config: Platform) -> tuple[Space, ...]:
    """Its namespace; for a store that exists too: the Jobs that make and copy its buckets run there."""
    store = config.object_store
    size = 0 if isinstance(store, ExternalStore) else store.storage_gb
    return (Space(NAME, cpu="1", memory="3Gi", pods=10, storage=f"{size}Gi"),)


def scrapes(config: Platform) -> tuple[Scrape, ...]:
    """Where the metrics of its kind are; a store outside is watched by whoever runs it."""
    if isinstance(config.object_store, Minio):
        token = ("object-store-metrics", "token")
        return (Scrape(NAME, NAME, {"leasehold/store": "minio"}, "s3", "/minio/v2/metrics/cluster", token=token),)
    if isinstance(config.object_store, Seaweedfs):
        return (Scrape(NAME, NAME, {"leasehold/store": "seaweedfs"}, "metrics"),)
    return ()


def example_values(config: Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """Charts with the values that they get, for tests of their keys."""
    small = config.profile == "small"
    return [(versions.SEAWEEDFS_CHART, seaweedfs.values(versions.SEAWEEDFS.tagged, 1, small=small))]


@dataclass(frozen=True)
class ObjectStoreArgs:
    """The ground it stands on."""

    base: Base
    ingress: Ingress


class ObjectStore(pulumi.ComponentResource):
    """An object store with its buckets."""

    s3: S3
    services: Sequence[Offered] = ()
    """What is reached from outside: nothing of a store that is outside itself."""

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install or adopt it; `opts` gives the provider."""
        super().__init__("leasehold:platform:ObjectStore", name, None, opts)
        self._base, self._store = args.base, args.base.config.object_store
        prefix = self._store.prefix if isinstance(self._store, ExternalStore) else ""
        self._buckets = names(prefix)
        if not isinstance(self._store, ExternalStore):
            self.services = self._routes(args.ingress)
        public = next((service.url for service in self.services), None)
        self.s3 = S3(self._endpoint, self._region, path_style=True, buckets=self._buckets, public=public)
        self._scripts()
        if isinstance(self._store, ExternalStore):
            self._keys = {purpose: self._given() for purpose in BUCKETS}
            made: Sequence[pulumi.CustomResource] = ()
            root, users = self._given(), {}
        else:
            secrets = {user: self._password(user) for user in (*BUCKETS, METRICS_USER)}
            root = Keys(pulumi.Output.from_input(ROOT), self._password("root"))
            self._keys = {purpose: Keys(pulumi.Output.from_input(purpose), secrets[purpose]) for purpose in BUCKETS}
            users = secrets if isinstance(self._store, Minio) else {}
            made = self._server(root, secrets)
        self._ready = self._content(self._provision(root, users, made), root)
        self._copies(root)
        self.register_outputs({})

    def keys(self, app: str) -> Keys:
        """Access to the bucket of an application; known when the bucket is there, and what was lost is back in it."""
        found = self._keys[app]
        gates = [job.id for job in self._ready]
        gated = pulumi.Output.all(found.secret_key, *gates).apply(lambda known: str(known[0]))
        return Keys(found.access_key, pulumi.Output.secret(gated))

    @property
    def _endpoint(self) -> str:
        return self._store.endpoint if isinstance(self._store, ExternalStore) else ENDPOINT

    @property
    def _region(self) -> str:
        return self._store.region if isinstance(self._store, ExternalStore) else REGION

    def _password(self, user: str) -> pulumi.Output[str]:
        return password(self._base, f"object-store-{user}", self, length=ROOT_LENGTH)

    def _given(self) -> Keys:
        access, key = self._base.secrets.object_store_access_key, self._base.secrets.object_store_secret_key
        if access is None or key is None:
            raise ValueError("object_store of kind external has no keys: config.load makes sure of them")
        return Keys(pulumi.Output.secret(access), pulumi.Output.secret(key))

    def _scripts(self) -> None:
        self._texts = jobs.scripts()
        self._script_map = ConfigMap(
            "object-store-scripts",
            metadata=self._metadata("object-store-scripts"),
            data=self._texts,
            opts=self._base.under(self),
        )

    def _metadata(self, name: str, **labels: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._base.spaces[NAME], "labels": {**jobs.LABELS, **labels}}

    def _routes(self, ingress: Ingress) -> Sequence[Offered]:
        url = ingress.route("s3", NAME, NAME, PORT, self)
        if not isinstance(self._store, Minio):
            return [Offered("s3", url, health="/healthz")]
        console = ingress.route("minio", NAME, NAME, minio.CONSOLE, self)
        login = Login(console, ROOT, f"{NAME}/{minio.ROOT_SECRET}", "password")
        return [
            Offered("s3", url, health="/minio/health/live"),
            Offered("minio", console, login),
        ]

    def _server(self, root: Keys, secrets: Mapping[str, pulumi.Output[str]]) -> Sequence[pulumi.CustomResource]:
        base, store = self._base, self._store
        claim = PersistentVolumeClaim(
            CLAIM,
            metadata=self._metadata(CLAIM),
            spec={
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": quantities.gigabytes(getattr(store, "storage_gb", 0))}},
                **({"storageClassName": base.config.storage_class} if base.config.storage_class else {}),
            },
            opts=pulumi.ResourceOptions.merge(base.under(self), pulumi.ResourceOptions(protect=True)),
        )
        if isinstance(store, Seaweedfs):
            return [self._seaweedfs(root, secrets, claim), self._service(seaweedfs.SELECTOR, "seaweedfs")]
        given = {"user": root.access_key, "password": root.secret_key}
        secret(base, minio.ROOT_SECRET, NAME, given, self)
        token: pulumi.Output[str] = pulumi.Output.secret(secrets[METRICS_USER].apply(minio.metrics_token))
        secret(base, "object-store-metrics", NAME, {"token": token}, self)
        image = base.images.reference(versions.MINIO)
        pods = StatefulSet(
            NAME,
            metadata=self._metadata(NAME),
            spec=minio.stateful_set(image, self.services[-1].url, base.config.rotation, small=base.small),
            # The claim's name is no value of it, and a pod without its volume waits for ever.
            opts=base.under(self, [claim]),
        )
        return [pods, self._service(SELECTOR, "minio")]

    def _seaweedfs(
        self, root: Keys, secrets: Mapping[str, pulumi.Output[str]], claim: pulumi.CustomResource
    ) -> pulumi.CustomResource:
        users = {purpose: secrets[purpose] for purpose in BUCKETS}
        text: pulumi.Output[str] = pulumi.Output.all(root=root.secret_key, users=users).apply(
            lambda known: seaweedfs.identities(known["root"], known["users"], self._buckets)
        )
        secret(self._base, seaweedfs.CONFIG_SECRET, NAME, {seaweedfs.CONFIG_KEY: text}, self)
        image, small = self._base.images.reference(versions.SEAWEEDFS), self._base.small
        values = seaweedfs.values(image, self._base.config.rotation, small=small)
        # The claim's name is no value of it.
        made: pulumi.CustomResource = self._base.release(
            "seaweedfs", versions.SEAWEEDFS_CHART, NAME, values, self, after=[claim]
        )
        return made

    def _service(self, selector: Mapping[str, str], kind: str) -> pulumi.CustomResource:
        ports = [{"name": "s3", "port": PORT, "targetPort": PORT}]
        extra = ("console", minio.CONSOLE) if kind == "minio" else ("metrics", SWFS_METRICS)
        ports.append({"name": extra[0], "port": extra[1], "targetPort": extra[1]})
        made: pulumi.CustomResource = Service(
            f"{NAME}-service",
            metadata=self._metadata(NAME, **{"leasehold/store": kind}),
            spec={"selector": dict(selector), "ports": ports},
            opts=self._base.under(self),
        )
        return made

    def _plan(self, name: str, content: Mapping[str, Any]) -> pulumi.Output[str]:
        text: pulumi.Output[str] = pulumi.Output.secret(pulumi.Output.json_dumps(content))
        return secret(self._base, name, NAME, {jobs.KEY: text}, self)

    def _login(self, keys: Keys, endpoint: str, region: str) -> dict[str, Any]:
        return {
            "endpoint": endpoint,
            "region": region,
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
        }

    def _made_for(self, *more: str) -> str:
        facts = {"rotation": str(self._base.config.rotation), "buckets": json.dumps(self._buckets)}
        return jobs.digest({**self._texts, **facts, "endpoint": self._endpoint, "more": "\0".join(more)})

    def _job(self, name: str, spec: pulumi.Input[Any], after: Sequence[pulumi.CustomResource]) -> Job:
        metadata = self._metadata(name)
        # A failed Job stays failed: without this, every later run would wait for it in vain.
        metadata["annotations"] = {"pulumi.com/replaceUnready": "true"}
        return Job(name, metadata=metadata, spec=spec, opts=self._base.under(self, after))

    def _provision(
        self, root: Keys, users: Mapping[str, pulumi.Output[str]], made: Sequence[pulumi.CustomResource]
    ) -> Job:
        wanted: dict[str, Any] = {}
        for user, key in users.items():
            scraper = {"secret_key": key, "buckets": [], "actions": ["admin:Prometheus"]}
            known = {**user_of(user, self._buckets, ""), "secret_key": key} if user in BUCKETS else scraper
            wanted[user] = known
        plan = {
            "store": self._login(root, self._endpoint, self._region),
            "buckets": list(self._buckets.values()),
            "users": wanted,
        }
        name = self._plan("object-store-plan", plan)
        image = self._base.images.reference(versions.PYTHON)
        spec = name.apply(lambda known: jobs.provision(image, known, self._made_for()))
        # The store hands no value on that is not known before; nor do the scripts.
        return self._job("object-store-buckets", spec, [*made, self._script_map])

    def _content(self, provision: Job, root: Keys) -> Sequence[pulumi.CustomResource]:
        """What must have run before anybody uses a bucket."""
        archive = self._base.config.backups.restore
        place = backups.outside(self._base, archive) if archive else None
        if place is None:
            return [provision]
        plan = self._plan("object-store-restore", self._copy(root, place))
        image, made_for = self._base.images.reference(versions.PYTHON), self._made_for(place.url)
        spec = plan.apply(lambda known: jobs.restore(image, known, made_for))
        # The buckets hand no value on.
        return [provision, self._job("object-store-restore", spec, [provision])]

    def _copies(self, root: Keys) -> None:
        place = backups.outside(self._base, self._base.config.backups.archive)
        if place is None:
            return
        plan = self._plan("object-store-backup", self._copy(root, place))
        image, made_for = self._base.images.reference(versions.PYTHON), self._made_for(place.url)
        schedule = self._base.config.backups.schedule
        CronJob(
            "object-store-backup",
            metadata=self._metadata("object-store-backup"),
            spec=plan.apply(lambda known: jobs.mirror(image, known, made_for, schedule)),
            # What was lost comes back first: a copy of empty buckets would say that all of it was deleted.
            opts=self._base.under(self, [*self._ready, self._script_map]),
        )

    def _copy(self, root: Keys, place: Place) -> dict[str, Any]:
        return {
            "inside": self._login(root, self._endpoint, self._region),
            "outside": self._login(place.keys, place.endpoint, place.region),
            "bucket": place.bucket,
            "folder": f"{place.folder}/buckets",
            "buckets": {purpose: self._buckets[purpose] for purpose in COPIED},
            "keep_days": self._base.config.backups.retention_days,
        }
