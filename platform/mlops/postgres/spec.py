"""What PostgreSQL is asked to be: values of two charts and specs of CloudNativePG's objects, as pure functions."""

import hashlib
from collections.abc import Mapping
from typing import Any

import config
from config import Images
from mlops.backups import Place
from versions import BARMAN_PLUGIN, BARMAN_SIDECAR, CNPG_OPERATOR, POSTGRES

NAME = "postgres"
"""Of the namespace and of the Cluster."""
SYSTEM = "cnpg-system"
HOST = f"{NAME}-rw.{NAME}.svc"
"""The Service that follows the primary."""
PLUGIN = "barman-cloud.cloudnative-pg.io"
KEYS, ARCHIVE = "postgres-archive-keys", "archive"
ARCHIVE_SECONDS = 30
"""A change is in the archive after this time at the latest: twice that is what a restore may lose."""
RESTORED = "restored"
"""Name of the place that a new Cluster is recovered from."""


def operator(images: Images) -> dict[str, Any]:
    """Values of cloudnative-pg: it watches one namespace."""
    return {
        "image": {"repository": CNPG_OPERATOR.name, "tag": images.tag(CNPG_OPERATOR)},
        "config": {"data": {"WATCH_NAMESPACE": NAME}},
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
    }


def plugin(images: Images) -> dict[str, Any]:
    """Values of plugin-barman-cloud, whose sidecar archives from every instance."""

    def image(of: Any) -> dict[str, str]:
        return {"registry": of.registry, "repository": of.repository, "tag": images.tag(of)}

    return {
        "image": image(BARMAN_PLUGIN),
        "sidecarImage": image(BARMAN_SIDECAR),
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}},
    }


def memory(*, small: bool) -> tuple[str, str]:
    """What an instance requests, and its limit."""
    return ("192Mi", "512Mi") if small else ("512Mi", "1Gi")


def parameters(*, small: bool) -> dict[str, str]:
    """Settings of the server, for its memory."""
    return {
        "archive_timeout": f"{ARCHIVE_SECONDS}s",
        "max_connections": "60" if small else "120",
        "shared_buffers": "64MB" if small else "192MB",
        "log_min_duration_statement": "5s",
    }


HBA = [
    # An application reaches the database of its own name only, and only by TLS; CloudNativePG's own rules come first.
    "hostssl sameuser all all scram-sha-256",
    "host all all all reject",
]


def cluster(platform: config.Platform, images: Images, archive: str, restored: str | None) -> dict[str, Any]:
    """The Cluster; `archive` and `restored` name ObjectStores. How it begins is read once, when it is made."""
    small, wanted = platform.profile == "small", platform.postgres
    request, limit = memory(small=small)
    spec: dict[str, Any] = {
        "instances": wanted.instances,
        "imageName": images.reference(POSTGRES),
        "enableSuperuserAccess": False,
        "storage": {"size": f"{wanted.storage_gb}Gi"},
        "resources": {
            "requests": {"cpu": "50m" if small else "200m", "memory": request},
            "limits": {"memory": limit},
        },
        "postgresql": {"parameters": parameters(small=small), "pg_hba": HBA},
        "affinity": {"enablePodAntiAffinity": True, "topologyKey": "kubernetes.io/hostname"},
        "seccompProfile": {"type": "RuntimeDefault"},
        # A single instance has no other to hand over to, and a disruption budget would block every drain.
        "enablePDB": wanted.instances > 1,
        "primaryUpdateMethod": "switchover" if wanted.instances > 1 else "restart",
        # Applications hold connections for ever: waiting for them would only make a restart longer.
        "smartShutdownTimeout": 5,
        "plugins": [{"name": PLUGIN, "isWALArchiver": True, "parameters": {"barmanObjectName": archive}}],
        "bootstrap": {"initdb": {"dataChecksums": True, "encoding": "UTF8"}},
    }
    if platform.storage_class:
        spec["storage"]["storageClass"] = platform.storage_class
    if wanted.instances > 1:
        # A commit is acknowledged when another instance has it; who takes over has all that was acknowledged.
        spec["postgresql"]["synchronous"] = {
            "method": "any",
            "number": 1,
            "dataDurability": "required",
            "failoverQuorum": True,
        }
    if restored:
        spec["bootstrap"] = {"recovery": {"source": RESTORED}}
        known = {"barmanObjectName": restored, "serverName": NAME}
        spec["externalClusters"] = [{"name": RESTORED, "plugin": {"name": PLUGIN, "parameters": known}}]
    return spec


def object_store(url: str, endpoint: str, days: int, keys: str) -> dict[str, Any]:
    """The ObjectStore: where base backups and the write-ahead log go; `keys` names the Secret with its login."""

    def key(name: str) -> dict[str, str]:
        return {"name": keys, "key": name}

    return {
        "configuration": {
            "destinationPath": url,
            "endpointURL": endpoint,
            "s3Credentials": {
                "accessKeyId": key("access_key"),
                "secretAccessKey": key("secret_key"),
                "region": key("region"),
            },
            "data": {"compression": "gzip"},
            "wal": {"compression": "gzip"},
        },
        "retentionPolicy": f"{days}d",
        "instanceSidecarConfiguration": {
            # Newer SDKs add checksums that not every S3 store understands.
            "env": [
                {"name": name, "value": "when_required"}
                for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")
            ],
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "384Mi"}},
        },
    }


def of_place(name: str, archive: Place) -> str:
    """A name that another archive, or the same in another store, does not have.

    A ScheduledBackup of a new name begins a place with a base backup. A store and its keys are new objects, too: the
    plugin's sidecar keeps what it has read of one for ten seconds (its internal/cnpgi/instance/internal/client), and
    the first backup of a place would go to the place before, unseen.
    """
    place = hashlib.sha256(f"{archive.endpoint} {archive.url}".encode()).hexdigest()
    return f"{name}-{place[:8]}"


def scheduled(schedule: str) -> dict[str, Any]:
    """The ScheduledBackup; its cron has seconds too, and the first backup is made at once."""
    return {
        "cluster": {"name": NAME},
        "schedule": f"0 {schedule}",
        "immediate": True,
        "method": "plugin",
        "pluginConfiguration": {"name": PLUGIN},
        "backupOwnerReference": "self",
    }


def identifier(app: str) -> str:
    """Name of an application's database and of its user: pg_hba's `sameuser` wants one name for both."""
    return app.replace("-", "_")


def role(app: str, secret: str) -> dict[str, Any]:
    """The DatabaseRole of an application; the operator follows its password's Secret."""
    return {
        "cluster": {"name": NAME},
        "name": identifier(app),
        "login": True,
        "passwordSecret": {"name": secret},
        "clientCertificate": {"enabled": False},
        # What a mistake in the program removes is not removed from the data.
        "databaseRoleReclaimPolicy": "retain",
    }


def database(app: str) -> dict[str, Any]:
    """The Database of an application."""
    return {
        "cluster": {"name": NAME},
        "name": identifier(app),
        "owner": identifier(app),
        "databaseReclaimPolicy": "retain",
    }


def waited(*expressions: str) -> Mapping[str, str]:
    """The annotation that makes a custom resource count as made when all of these hold."""
    inner = ", ".join(f'"{expression}"' for expression in expressions)
    return {"pulumi.com/waitFor": f"[{inner}]" if len(expressions) > 1 else expressions[0]}
