"""The object store's contract on real servers, and what its end and its return leave of what was acknowledged."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from mlops.objectstore import contract
from mlops.objectstore.minio import metrics_token
from mlops.objectstore.scripts import mirror, provision
from mlops.objectstore.scripts.s3 import PART, Bucket, S3Error
from tests.rehearsal.services import Platform
from tests.rehearsal.stores import Server, minio

REGION = contract.REGION


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two: one as in the cluster, one as a store outside."""
    with minio(tmp_path_factory.mktemp("inside")) as inside, minio(tmp_path_factory.mktemp("outside")) as outside:
        yield [inside, outside]


def provisioned(server: Server, users: Mapping[str, str], folder: Path, prefix: str = "") -> dict[str, str]:
    """Run the Job's script; returns the names of the buckets."""
    names = contract.buckets(prefix)
    wanted: dict[str, Any] = {user: contract.user(user, names, secret) for user, secret in users.items()}
    plan = {"store": server.login(), "buckets": list(names.values()), "users": wanted}
    file = folder / "plan.json"
    file.write_text(json.dumps(plan))
    provision.main(str(file))
    return names


@pytest.mark.parametrize("kind", ["minio", "external"])
def test_the_contract_holds_for_every_kind(servers: list[Server], kind: str, tmp_path: Path) -> None:
    """Applications cannot tell the kinds apart: buckets are there, objects of any size come back as they went."""
    inside, outside = servers
    server = inside if kind == "minio" else outside
    users = dict.fromkeys(contract.BUCKETS, "s" * 40) if kind == "minio" else {}
    for _ in range(2):  # a Job may run again at any time
        names = provisioned(server, users, tmp_path, "" if kind == "minio" else "dev")
    login = replace(server, access_key="mlflow", secret_key="s" * 40) if users else server
    bucket = Bucket(login.store(), names["mlflow"])
    content = os.urandom(2 * PART + 5)
    for key, body in (("a/b c+d=é.bin", b"x"), ("large", content), ("empty", b"")):
        bucket.put(key, body)
        assert hashlib.sha256(bucket.get(key) or b"").digest() == hashlib.sha256(body).digest()
    assert {item.key: item.size for item in bucket.list()} == {"a/b c+d=é.bin": 1, "large": len(content), "empty": 0}
    assert [item.key for item in bucket.list("a/")] == ["a/b c+d=é.bin"]
    for item in list(bucket.list()):
        bucket.delete(item.key)
    assert not list(bucket.list())


def test_keys_reach_one_bucket_only_and_end_with_a_rotation(servers: list[Server], tmp_path: Path) -> None:
    """The old secret is refused as soon as the Job has run with a new one."""
    server = servers[0]
    names = provisioned(server, dict.fromkeys(contract.BUCKETS, "s" * 40), tmp_path)
    user = replace(server, access_key="mlflow", secret_key="s" * 40)
    Bucket(user.store(), names["mlflow"]).put("mine", b"x")
    with pytest.raises(S3Error, match="403"):
        Bucket(user.store(), names["registry"]).get("theirs")
    with pytest.raises(S3Error, match="403"):
        user.store().call("GET", "/minio/admin/v3/info")
    provisioned(server, dict.fromkeys(contract.BUCKETS, "t" * 40), tmp_path)
    with pytest.raises(S3Error, match="403"):
        Bucket(user.store(), names["mlflow"]).get("mine")
    assert Bucket(replace(user, secret_key="t" * 40).store(), names["mlflow"]).get("mine") == b"x"


def test_nobody_without_keys_reads_anything(servers: list[Server]) -> None:
    """But whether the server lives; metrics need their own token, and a browser is not sent elsewhere."""
    for path in ("/", "/mlflow/mine", "/minio/v2/metrics/cluster", "/minio/admin/v3/info"):
        headers = {"User-Agent": "Mozilla/5.0", "Accept": "text/html"}
        found = requests.get(f"{servers[0].endpoint}{path}", headers=headers, timeout=10, allow_redirects=False)
        assert found.status_code == 403, path


def test_metrics_are_read_by_their_token(servers: list[Server], tmp_path: Path) -> None:
    """Prometheus has no S3 keys."""
    scraper = {"secret_key": "m" * 40, "buckets": [], "actions": ["admin:Prometheus"]}
    plan = {"store": servers[0].login(), "buckets": [], "users": {contract.METRICS_USER: scraper}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    provision.main(str(tmp_path / "plan.json"))
    headers = {"Authorization": f"Bearer {metrics_token('m' * 40)}"}
    found = requests.get(f"{servers[0].endpoint}/minio/v2/metrics/cluster", headers=headers, timeout=10)
    assert "minio_" in found.text


def test_buckets_come_back_from_their_copy_as_they_were(servers: list[Server], tmp_path: Path) -> None:
    """What is lost comes back by content; what was deleted on purpose before the last copy does not."""
    inside, outside = servers
    names = provisioned(inside, dict.fromkeys(contract.BUCKETS, "s" * 40), tmp_path)
    target = Bucket(outside.store(), "offsite")
    target.make()
    plan: dict[str, Any] = {
        "inside": inside.login(),
        "outside": outside.login(),
        "bucket": "offsite",
        "folder": "dev/1/buckets",
    }
    plan |= {"buckets": {purpose: names[purpose] for purpose in contract.COPIED}, "keep_days": 14}
    (tmp_path / "mirror.json").write_text(json.dumps(plan))
    bucket = Bucket(inside.store(), names["registry"])
    contents = {"small": b"x", "deep/er/large": os.urandom(PART + 7), "deleted": b"y"}
    for key, body in contents.items():
        bucket.put(key, body, {"content-type": "application/x-test"})
    mirror.main("copy", str(tmp_path / "mirror.json"))
    bucket.delete("deleted")
    mirror.main("copy", str(tmp_path / "mirror.json"))
    for key in ("small", "deep/er/large"):
        bucket.delete(key)
    mirror.main("restore", str(tmp_path / "mirror.json"))
    found = {item.key: hashlib.sha256(bucket.get(item.key) or b"").hexdigest() for item in bucket.list()}
    del contents["deleted"]
    assert found == {key: hashlib.sha256(body).hexdigest() for key, body in contents.items()}
    assert bucket.store.call("HEAD", f"/{bucket.name}/small").headers["content-type"] == "application/x-test"
    assert target.get("dev/1/buckets/registry/deleted") == b"y"


@pytest.fixture
def outside(platform: Platform) -> Iterator[Bucket]:
    """The bucket for pipelines' artifacts, as a client outside has it."""
    plan = json.loads(platform.secret("object-store/object-store-plan", "plan.json"))
    secret = plan["users"]["workflows"]["secret_key"]
    with platform.bucket("workflows", "workflows", secret) as bucket:
        yield bucket


def test_no_acknowledged_object_is_lost_when_the_store_is_killed(platform: Platform, outside: Bucket) -> None:
    """A client that tries again as S3 clients do sees a pause of a minute at most."""
    stop, acknowledged, longest = threading.Event(), [], 0.0

    def write() -> None:
        nonlocal longest
        number, last = 0, time.monotonic()
        while not stop.is_set():
            try:
                outside.put(f"kill-test/{number}", str(number).encode())
            except S3Error:
                continue
            longest = max(longest, time.monotonic() - last)
            last = time.monotonic()
            acknowledged.append(number)
            number += 1
            time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(3)
        platform.kubectl.run("delete", "pod", "-n", "object-store", "object-store-0", "--grace-period=0", "--force")
        before = len(acknowledged)
        deadline = time.monotonic() + 90
        while len(acknowledged) < before + 20 and time.monotonic() < deadline:
            time.sleep(0.5)
    finally:
        stop.set()
        writer.join(120)
    assert len(acknowledged) >= before + 20
    assert longest <= 60
    found = {item.key for item in outside.list("kill-test/")}
    assert {f"kill-test/{number}" for number in acknowledged} <= found
    for key in found:
        outside.delete(key)
