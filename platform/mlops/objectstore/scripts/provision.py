"""Makes the buckets and, in MinIO, one user for each application that reaches its own buckets only.

Run as a module, with PLAN; it may run any number of times. PLAN is a file of JSON: `store` (endpoint, region,
access_key, secret_key), `buckets`, and `users`: name to `secret_key`, `buckets`, and `actions` of MinIO's
administration. There are no users where a store has them from elsewhere.
"""

import io
import json
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops.objectstore.scripts.s3 import Bucket, S3Error, Store

PATIENCE = 180.0
"""Seconds that a store may take to answer at all."""
OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload")
BUCKETS = ("s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads")
IMPORT = "/minio/admin/v3/import-iam-v2"
"""MinIO's only way to make users that takes plain text: all others want the root password's own encryption."""


def policy(buckets: Sequence[str], actions: Sequence[str]) -> dict[str, Any]:
    """What a user of MinIO may do: read and write these buckets, and these actions of the administration."""
    statements = []
    if buckets:
        names = [f"arn:aws:s3:::{bucket}" for bucket in buckets]
        statements.append({"Effect": "Allow", "Action": list(BUCKETS), "Resource": names})
        inside = [f"{name}/*" for name in names]
        statements.append({"Effect": "Allow", "Action": list(OBJECTS), "Resource": inside})
    if actions:
        statements.append({"Effect": "Allow", "Action": list(actions)})
    return {"Version": "2012-10-17", "Statement": statements}


def archive(users: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Users, policies and who has which, as MinIO imports them; each policy has the name of its user."""
    parts = {
        "policies": {name: policy(user["buckets"], user["actions"]) for name, user in users.items()},
        "users": {name: {"secretKey": user["secret_key"], "status": "enabled"} for name, user in users.items()},
        "user_mappings": {name: {"version": 1, "policy": name} for name in users},
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, content in parts.items():
            opened.writestr(f"iam-assets/{name}.json", json.dumps(content))
    return packed.getvalue()


def wait(store: Store, seconds: float = PATIENCE) -> None:
    """Until the store takes our keys. Raises S3Error with its last words."""
    until = time.monotonic() + seconds
    while True:
        try:
            store.call("GET", "/")
        except S3Error:
            if time.monotonic() > until:
                raise
            time.sleep(2.0)
        else:
            return


def main(file: str) -> None:
    """Bring the store to the plan."""
    plan = json.loads(Path(file).read_text())
    store = Store(**plan["store"])
    wait(store)
    for bucket in plan["buckets"]:
        print(f"done: made bucket {bucket}" if Bucket(store, bucket).make() else f"bucket {bucket} is there")
    users = plan["users"]
    if users:
        answer = json.loads(store.call("PUT", IMPORT, None, archive(users)).body or b"{}")
        failed = {kind: entries for kind, entries in (answer.get("failed") or {}).items() if entries}
        if failed:
            sys.exit(f"users were not made: {json.dumps(failed)[:500]}")
        print(f"done: users {', '.join(sorted(users))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
