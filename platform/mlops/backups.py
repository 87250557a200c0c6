"""Where copies of what is not in Git go, and where they come back from.

A place is a folder STACK/ARCHIVE of a bucket. One archive is written to; a restore reads an earlier one, so that what
went wrong can never overwrite what it would be restored from.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

import config
from mlops.flows import WORLD, Flow, port_of
from mlops.services import Keys

if TYPE_CHECKING:
    from mlops.base import Base
    from mlops.objectstore import ObjectStore

REPOSITORIES = "git-backup"
"""The CronJob of the apps layer that copies the Git server's repositories, to `git` of the place."""
REPOSITORIES_SCHEDULE = "*/15 * * * *"
"""Its own: what runs where changes at any time, and a look at what has not changed costs nothing."""


@dataclass(frozen=True)
class Place:
    """A folder of a bucket."""

    endpoint: str
    region: str
    bucket: str
    folder: str
    keys: Keys

    @property
    def url(self) -> str:
        """As the databases' backups name it."""
        return f"s3://{self.bucket}/{self.folder}"


def folder(base: "Base", archive: int) -> str:
    """An archive of this stack: several stacks may share a bucket."""
    return f"{base.stack}/{archive}"


def outside(base: "Base", archive: int) -> Place | None:
    """The place of an archive in the store outside; None where there is none."""
    store, access, secret = base.config.backups.store, base.secrets.backup_access_key, base.secrets.backup_secret_key
    if store is None:
        return None
    if access is None or secret is None:
        raise ValueError("backups.store has no keys: config.load makes sure of them")
    keys = Keys(pulumi.Output.secret(access), pulumi.Output.secret(secret))
    return Place(store.endpoint, store.region, store.bucket, folder(base, archive), keys)


def place(base: "Base", archive: int, store: "ObjectStore | None", purpose: str) -> Place:
    """The place of an archive: outside, else in the purpose's bucket of the object store, which it does not outlive."""
    found = outside(base, archive)
    if found is not None:
        return found
    if store is None:
        raise ValueError(f"there is no place for the archive {purpose}: mlops.rules makes sure of one")
    s3 = store.s3
    return Place(s3.endpoint, s3.region, s3.buckets[purpose], folder(base, archive), store.keys(purpose))


def flows(platform: config.Platform) -> tuple[Flow, ...]:
    """Connections to stores outside the cluster: their ports are the environment's."""
    found: dict[tuple[str, int], str] = {}
    store, backup = platform.object_store, platform.backups.store
    if isinstance(store, config.ExternalStore):
        for space in ("object-store", "postgres", "mlflow", "registry", "argo-workflows", "workflows"):
            found[space, port_of(store.endpoint)] = "the object store outside"
    if backup:
        for space in ("object-store", "postgres"):
            found.setdefault((space, port_of(backup.endpoint)), "copies of buckets, and the databases' archive")
    return tuple(Flow(space, WORLD, (number,), why) for (space, number), why in found.items())
