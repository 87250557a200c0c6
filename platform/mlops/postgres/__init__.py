"""PostgreSQL, by CloudNativePG: one cluster, and for each application a database and a user of its own.

Owns the operator, the cluster, its archive (base backups and the write-ahead log) and its recovery. Does not own
schemas: each application makes its own.
"""

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.helm.v3 import Release

import versions
from cluster.peers import API_PORTS
from config import Images, Platform
from mlops import backups
from mlops.backups import Place
from mlops.base import Base
from mlops.credentials import password, secret
from mlops.flows import API, Flow
from mlops.objectstore import ObjectStore
from mlops.postgres import spec
from mlops.postgres.spec import ARCHIVE, HOST, KEYS, NAME, RESTORED, SYSTEM
from mlops.scrapes import Scrape
from mlops.services import Database
from mlops.spaces import Space
from versions import Chart

CNPG, BARMAN = "postgresql.cnpg.io/v1", "barmancloud.cnpg.io/v1"
MINUTES = "15m"
"""Bound of the cluster: images are pulled, and a recovery reads a whole backup."""
FLOWS = (
    Flow(API, SYSTEM, (9443,), "webhooks of the operator"),
    Flow(SYSTEM, API, API_PORTS, "the operator and its plugin watch their objects"),
    Flow(SYSTEM, NAME, (8000,), "the operator asks instances for their state"),
    Flow(NAME, API, API_PORTS, "instances read what they are to be, and elect"),
    Flow(NAME, "object-store", (9000,), "archive: base backups and the write-ahead log"),
    Flow("monitoring", NAME, (9187,), "metrics"),
)
SCRAPES = (Scrape("postgres", NAME, {"cnpg.io/cluster": NAME}, "metrics", of="pods"),)


def spaces(config: Platform) -> tuple[Space, ...]:
    """The operator's namespace, and that of the instances."""
    wanted = config.postgres
    # A new instance is made beside those that run, by a Job of the same size and on a volume of its own.
    pods = wanted.instances + 1
    memory = "1Gi" if config.profile == "small" else "1536Mi"
    total = int(memory.removesuffix("Mi")) if memory.endswith("Mi") else 1024
    storage = f"{pods * wanted.storage_gb}Gi"
    return (
        Space(SYSTEM, cpu="500m", memory="1Gi", pods=6),
        Space(NAME, cpu=str(pods), memory=f"{pods * total}Mi", pods=10, storage=storage),
    )


def example_values(config: Platform) -> list[tuple[Chart, dict[str, Any]]]:  # noqa: ARG001  the same in every profile
    """Charts with the values that they get, for tests of their keys."""
    images = Images()
    return [(versions.CNPG_CHART, spec.operator(images)), (versions.BARMAN_CHART, spec.plugin(images))]


@dataclass(frozen=True)
class PostgresArgs:
    """The ground it stands on, and where its archive is."""

    base: Base
    archive: Place
    """Is written to."""
    restored: Place | None = None
    """What a new cluster begins with; None: empty."""
    certificates: pulumi.Resource | None = None
    """What brings the kinds Certificate and Issuer, which the plugin's chart uses."""

    @classmethod
    def of(cls, base: Base, store: ObjectStore | None, certificates: pulumi.Resource) -> "PostgresArgs":
        """With the archives that the environment names."""
        wanted = base.config.backups
        archive = backups.place(base, wanted.archive, store, "backups")
        restored = backups.place(base, wanted.restore, store, "backups") if wanted.restore else None
        return cls(base, archive, restored, certificates)


class Postgres(pulumi.ComponentResource):
    """A PostgreSQL cluster with an archive."""

    def __init__(self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; done when it takes connections. `opts` gives the provider."""
        super().__init__("leasehold:platform:Postgres", name, None, opts)
        self._base = args.base
        releases = self._releases(args.certificates)
        self._cluster = self._make(args, releases)
        self._object(
            "ScheduledBackup",
            spec.of_place(NAME, args.archive),
            spec.scheduled(args.base.config.backups.schedule),
            # Its cluster is named, not handed on.
            after=[self._cluster],
        )
        self.register_outputs({})

    def database(self, app: str, space: str) -> Database:
        """A database for an application of a namespace; its password is known when user and database are there."""
        base, user = self._base, spec.identifier(app)
        generated = password(base, f"{NAME}-{app}", self)
        given: dict[str, pulumi.Input[str]] = {"username": user, "password": generated}
        # The label makes the operator follow the Secret: a rotated password reaches the role by itself.
        labels = {"cnpg.io/reload": "true", "leasehold/used-by": space}
        name = secret(base, f"{app}-login", NAME, given, self, type_="kubernetes.io/basic-auth", labels=labels)
        applied = spec.waited("jsonpath={.status.applied}=true")
        role = self._object(
            "DatabaseRole",
            app,
            name.apply(lambda known: spec.role(app, known)),
            # The cluster is named, not handed on.
            after=[self._cluster],
            annotations=applied,
        )
        # The owner is named, not handed on.
        made = self._object("Database", app, spec.database(app), after=[role], annotations=applied)
        known = pulumi.Output.all(generated, role.id, made.id).apply(lambda values: str(values[0]))
        return Database(user, user, HOST, pulumi.Output.secret(known))

    def _releases(self, certificates: pulumi.Resource | None) -> list[Release]:
        base = self._base
        operator = base.release("cloudnative-pg", versions.CNPG_CHART, SYSTEM, spec.operator(base.images), self)
        # Its chart makes Certificates: their kind must be there.
        first = [certificates] if certificates else []
        values = spec.plugin(base.images)
        plugin = base.release("plugin-barman-cloud", versions.BARMAN_CHART, SYSTEM, values, self, after=first)
        return [operator, plugin]

    def _make(self, args: PostgresArgs, releases: list[Release]) -> CustomResource:
        base, place = self._base, args.archive
        keys = {"access_key": place.keys.access_key, "secret_key": place.keys.secret_key}
        login = secret(base, spec.of_place(KEYS, place), NAME, {**keys, "region": place.region}, self)
        archive = self._store(spec.of_place(ARCHIVE, place), place, login, releases)
        restored = self._store(RESTORED, args.restored, login, releases) if args.restored else None
        wanted = pulumi.Output.all(archive, restored).apply(
            lambda names: spec.cluster(base.config, base.images, names[0], names[1])
        )
        return self._object(
            "Cluster",
            NAME,
            wanted,
            # Its kinds and webhooks are the releases': they hand no value on.
            after=releases,
            annotations=spec.waited("condition=Ready"),
            more=pulumi.ResourceOptions(
                protect=True,
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(create=MINUTES, update=MINUTES),
            ),
        )

    def _store(self, name: str, place: Place, login: pulumi.Output[str], releases: list[Release]) -> pulumi.Output[str]:
        days = self._base.config.backups.retention_days
        made = self._object(
            "ObjectStore",
            name,
            login.apply(lambda keys: spec.object_store(place.url, place.endpoint, days, keys)),
            # Its kind is a release's.
            after=releases,
            version=BARMAN,
        )
        # What uses the name comes after the object.
        found: pulumi.Output[str] = made.id.apply(lambda _: name)
        return found

    def _object(
        self,
        kind: str,
        name: str,
        wanted: pulumi.Input[Any],
        *,
        after: list[Any],
        annotations: Any = None,
        version: str = CNPG,
        more: pulumi.ResourceOptions | None = None,
    ) -> CustomResource:
        options = self._base.under(self, after)
        marked = {"annotations": dict(annotations)} if annotations else {}
        return CustomResource(
            f"{NAME}-{kind.lower()}-{name}",
            api_version=version,
            kind=kind,
            metadata={"name": name, "namespace": self._base.spaces[NAME], **marked},
            spec=wanted,
            opts=pulumi.ResourceOptions.merge(options, more) if more else options,
        )
