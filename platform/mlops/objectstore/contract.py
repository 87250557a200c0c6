"""What every kind of object store keeps: names, buckets, and who reaches which. Pure data."""

from collections.abc import Mapping

NAME = "object-store"
"""Of the namespace, and of the Service whose port is PORT."""
PORT = 9000
REGION = "us-east-1"
"""What S3 clients sign with; a store in the cluster has one region, whatever it is called."""
ENDPOINT = f"http://{NAME}.{NAME}.svc:{PORT}"
CLAIM = "object-store-data"
SELECTOR = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "leasehold"}

BUCKETS = ("mlflow", "workflows", "registry", "backups", "git-backups")
"""Purposes. Each is a bucket, and an application of that name which alone has keys for it."""
COPIED = ("mlflow", "workflows", "registry")
"""Buckets that a backup outside covers: backups of the databases and of repositories go there by themselves."""
ROOT = "leasehold-root"
"""Who administers a store in the cluster."""
METRICS_USER = "metrics"


def buckets(prefix: str = "") -> dict[str, str]:
    """Purpose to the bucket's name; names are shared with strangers in a store outside."""
    return {purpose: f"{prefix}-{purpose}" if prefix else purpose for purpose in BUCKETS}


def user(purpose: str, buckets: Mapping[str, str], secret: str) -> dict[str, object]:
    """What the provisioning script is told of an application's user."""
    return {"secret_key": secret, "buckets": [buckets[purpose]], "actions": []}
