"""What must outlive a mistake: volumes, claims, databases, buckets and their backups."""

from collections.abc import Iterator, Sequence

from .model import Finding, Resource, each, whole
from .values import UNKNOWN, absent, items

PROTECT = "set protect=True"
BUCKETS = ("openstack:objectstorage/container:Container", "aws:s3/bucket:Bucket", "minio:index/s3Bucket:S3Bucket")


def database(resource: Resource) -> bool:
    """Whether it is a cluster of databases."""
    return resource.named("Cluster") and resource.type.startswith("kubernetes:postgresql.cnpg.io/")


@each(PROTECT)
def volume_is_protected(resource: Resource) -> Iterator[str]:
    """A volume is not deleted by a change of the program."""
    if resource.named("openstack:blockstorage/volume:Volume") and not resource.protect:
        yield "it is not protected"


@each(PROTECT)
def address_is_protected(resource: Resource) -> Iterator[str]:
    """The floating IP, which DNS records name, is not given back by a change of the program."""
    if resource.named("openstack:networking/floatingIp:FloatingIp") and not resource.protect:
        yield "it is not protected"


@each(PROTECT)
def claim_is_protected(resource: Resource) -> Iterator[str]:
    """A claim is not deleted by a change of the program: its volume goes with it."""
    if resource.named("PersistentVolumeClaim") and not resource.protect:
        yield "it is not protected"


@each(PROTECT)
def database_is_protected(resource: Resource) -> Iterator[str]:
    """A database cluster is not deleted by a change of the program."""
    if database(resource) and not resource.protect:
        yield "it is not protected"


@each(PROTECT)
def bucket_is_protected(resource: Resource) -> Iterator[str]:
    """A bucket is not deleted by a change of the program, nor with what is in it."""
    if resource.named(*BUCKETS):
        if not resource.protect:
            yield "it is not protected"
        if resource.at("forceDestroy") is True:
            yield "forceDestroy is true"


@each("set the reclaim policy to retain")
def database_is_kept(resource: Resource) -> Iterator[str]:
    """A database and its role stay when their object goes."""
    for kind in ("Database", "DatabaseRole"):
        key = f"{kind[0].lower()}{kind[1:]}ReclaimPolicy"
        if resource.named(kind) and resource.at("spec", key) not in ("retain", UNKNOWN):
            yield f"spec.{key} is not retain"


@whole("make a ScheduledBackup that names it")
def database_has_backups(resources: Sequence[Resource]) -> Iterator[Finding]:
    """Every database cluster has a scheduled backup."""
    saved = [r.at("spec", "cluster", "name") for r in resources if r.named("ScheduledBackup")]
    for cluster in resources:
        name = cluster.at("metadata", "name")
        if database(cluster) and UNKNOWN not in (name, *saved) and name not in saved:
            yield Finding(cluster, "no ScheduledBackup names it")


@each("set spec.retentionPolicy, such as 14d")
def archive_has_an_end(resource: Resource) -> Iterator[str]:
    """An archive of a database deletes what is older than its retention."""
    archive = resource.named("ObjectStore") and resource.type.startswith("kubernetes:barmancloud.cnpg.io/")
    if archive and absent(resource.at("spec", "retentionPolicy")):
        yield "spec.retentionPolicy is missing"


@each("set enableSuperuserAccess to false")
def database_without_superuser(resource: Resource) -> Iterator[str]:
    """Nobody logs in to a database as its superuser."""
    if database(resource) and resource.at("spec", "enableSuperuserAccess") is True:
        yield "spec.enableSuperuserAccess is true"


@each("let pg_hba accept `hostssl` with scram-sha-256 only")
def database_asks_for_tls(resource: Resource) -> Iterator[str]:
    """A database accepts passwords over TLS only, and nobody without one."""
    if database(resource):
        for place, line in enumerate(items(resource.at("spec", "postgresql", "pg_hba"))):
            words = line.split() if isinstance(line, str) else []
            if words and words[-1] != "reject" and (words[0] != "hostssl" or words[-1] in ("trust", "password", "md5")):
                yield f"spec.postgresql.pg_hba[{place}] accepts more"


@each("set whenDeleted to Retain")
def claims_outlive_their_set(resource: Resource) -> Iterator[str]:
    """The claims of a StatefulSet outlive it."""
    kept = resource.at("spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted")
    if resource.named("StatefulSet") and kept == "Delete":
        yield "spec.persistentVolumeClaimRetentionPolicy.whenDeleted is Delete"
