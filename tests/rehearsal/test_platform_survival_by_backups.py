"""The platform is lost but for its backups, and comes back as it was. After it, no other test has its platform."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from apps.git.scripts import bundles
from mlops.objectstore.scripts.s3 import Bucket
from rehearsal.cloud import Cloud
from rehearsal.outside.names import names_lead_to
from tests.environments import changed, dev
from tests.rehearsal.cluster import until
from tests.rehearsal.kept import Kept
from tests.rehearsal.services import Platform
from tests.rehearsal.stores import Server, minio

pytestmark = pytest.mark.long
BUCKET, LOSS = "offsite", 60
"""Seconds of acknowledged rows that a restore may lose."""


@pytest.fixture(scope="module")
def outside(cloud: Cloud, platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store that is not the cluster's, with a bucket, at an address that machines reach."""
    assert platform.outputs
    with minio(tmp_path_factory.mktemp("offsite"), cloud.host_address()) as server:
        Bucket(server.store(), BUCKET).make()
        yield server


def up(platform: Platform, outside: Server, **numbers: int) -> None:
    """Deploy with backups to that store."""
    store = {"endpoint": outside.endpoint, "bucket": BUCKET}
    changes = {f"platform.backups.{key}": value for key, value in {"store": store, **numbers}.items()}
    keys = {"backup_access_key": outside.access_key, "backup_secret_key": outside.secret_key}
    platform.stack.write(changed(dev(), changes), **keys)
    platform.stack.run("up")


def based(platform: Platform) -> bool:
    """Whether the newest store has a base backup: one was begun when it was named."""

    def of(kind: str) -> list[dict[str, Any]]:
        by_age = "--sort-by=.metadata.creationTimestamp"
        found: list[dict[str, Any]] = platform.kubectl.get(f"{kind}.postgresql.cnpg.io", "-n", "postgres", by_age)[
            "items"
        ]
        return found

    newest = of("scheduledbackups")[-1]["metadata"]["uid"]
    made = [one for one in of("backups") if one["metadata"]["ownerReferences"][0]["uid"] == newest]
    return bool(made and made[-1].get("status", {}).get("phase") == "completed")


def backed_up(platform: Platform) -> None:
    """Copy everything now, as docs/platform.md says."""
    kubectl = platform.kubectl
    until("a base backup", lambda: based(platform), 120)
    for space, cron in (("object-store", "object-store-backup"), ("delivery", "git-backup")):
        kubectl.run("create", "job", "now", "-n", space, f"--from=cronjob/{cron}")
        kubectl.run("wait", "--for=condition=Complete", "job/now", "-n", space, "--timeout=180s", timeout=200)


def releases(platform: Platform, folder: Path, *, more: bool = False) -> list[str]:
    """Commits of the releases repository, as a person clones it; with one more that changes nothing."""
    with names_lead_to(platform.address) as proxy:
        trusted = {"http.sslCAInfo": str(platform.authority), "http.proxy": proxy}
        account = {**bundles.login(*platform.password("git")), **trusted}
        where = folder / f"releases-{time.time_ns()}"
        bundles.git("clone", "--quiet", f"{platform.url('git')}/releases.git", where, settings=account)
        if more:
            who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
            bundles.git("-C", where, *who, "commit", "--quiet", "--allow-empty", "--message=kept")
            bundles.git("-C", where, "push", "--quiet", "origin", "HEAD:main", settings=account)
    return bundles.git("-C", where, "log", "--format=%H", "HEAD").split()


def rows(client: MlflowClient, run: str) -> dict[int, float]:
    """A minute of steps of a metric, to when each was acknowledged."""
    found = {}
    for step in range(60):
        client.log_metric(run, "rows", float(step), step=step)
        found[step] = time.time()
        time.sleep(1)
    return found


def test_a_lost_platform_comes_back_from_its_backups(
    platform: Platform, outside: Server, cloud: Cloud, tmp_path: Path
) -> None:
    """Statement 5: rows, artifacts, images and releases by hash; of the databases a minute at most is lost."""
    up(platform, outside)
    with platform.mlflow() as client:
        kept = Kept.written(client, platform, tmp_path)
        commits = releases(platform, tmp_path, more=True)
        backed_up(platform)
        written = rows(client, kept.run)  # after the last copy
    lost = time.time()
    platform.stack.run("destroy")
    up(platform, outside, archive=2, restore=1)
    with Platform.of(platform.stack, cloud) as again, again.mlflow() as client:
        kept.check(client, again, tmp_path)
        found = {metric.step for metric in client.get_metric_history(kept.run, "rows")}
        missing = {step: at for step, at in written.items() if step not in found}
        print(f"measured: {len(missing)} of {len(written)} rows lost, of the last {LOSS} s")
        assert all(lost - at <= LOSS for at in missing.values())
        assert releases(again, tmp_path) == commits
