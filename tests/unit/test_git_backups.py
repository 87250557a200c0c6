"""Copies of the Git server's repositories: real git, the real server, and an object store in this process."""

import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from apps.git import jobs, spec
from apps.git.scripts import bundles, serve
from mlops import backups
from mlops.objectstore.scripts.s3 import PART
from tests import s3_server
from tests.unit import graph, platforms

CORE, CRON = "kubernetes:core/v1:", "kubernetes:batch/v1:CronJob"
SECRET, SET = f"{CORE}Secret", "kubernetes:apps/v1:StatefulSet"
WHO = ("-c", "user.name=a", "-c", "user.email=a@example.org")
DAY = 86400


@dataclass(frozen=True)
class Server:
    """The Git server on a volume, and the store that its repositories are copied to."""

    folder: Path
    url: str
    plan: dict[str, Any]
    objects: s3_server.Objects

    def git(self, *words: str | Path) -> str:
        return subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def push(self, repository: str, text: str) -> None:
        """One more commit in a repository, and a tag with a text."""
        work = self.folder / f"work-{repository}"
        if not work.exists():
            self.git("clone", "-q", self.folder / "data" / f"{repository}.git", work)
        (work / "file").write_text(text)
        self.git("-C", work, *WHO, "add", ".")
        self.git("-C", work, *WHO, "commit", "-qm", text)
        self.git("-C", work, *WHO, "tag", "-m", "said", f"v{len(text)}")
        self.git("-C", work, "push", "-q", "--tags", "origin", "HEAD:main")

    def copy(self) -> list[str]:
        """Copy now; the names of all copies, the oldest first."""
        work = self.folder / "scratch"
        work.mkdir(exist_ok=True)
        bundles.copy(self.plan, work)
        assert list(work.iterdir()) == []
        return sorted(self.objects)

    def restore(self, volume: str, **more: Any) -> Path:
        """Fill a volume as the server's first container does."""
        data, work = self.folder / volume, self.folder / "scratch"
        for folder in (data, work):
            folder.mkdir(exist_ok=True)
        bundles.restore({**self.plan, "data": str(data), **more}, work)
        assert list(work.iterdir()) == []
        return data

    def commits(self, volume: str, repository: str) -> str:
        return self.git("-C", self.folder / volume / f"{repository}.git", "log", "--all", "--format=%H %s")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """It has a release and no model."""
    rights = {name: {**entry, "rights": {"backup": "read"}} for name, entry in spec.rights().items()}
    (tmp_path / "rights.json").write_text(json.dumps(rights))
    for name in ("accounts", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "accounts" / "backup").write_text("a-password")
    with (
        s3_server.served() as (objects, store),
        serve.server(tmp_path / "rights.json", tmp_path / "accounts", tmp_path / "data", 0) as made,
    ):
        threading.Thread(target=made.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{made.server_address[1]}"
        plan: dict[str, Any] = {"store": store, "bucket": "kept", "folder": "dev/1/git", "repositories": list(rights)}
        plan |= {"server": url, "user": "backup", "password": "a-password", "keep_days": 14}
        found = Server(tmp_path, url, plan, objects)
        found.push("releases", "one")
        yield found
        made.shutdown()


def test_a_lost_volume_comes_back_with_every_commit_and_tag(server: Server) -> None:
    """It is what runs where, and the evidence; an empty repository is no fault of either way."""
    [key] = server.copy()
    assert key.startswith("kept/dev/1/git/releases/")
    server.restore("new")
    assert server.commits("new", "releases") == server.commits("data", "releases")
    new, old = (bundles.state_of(server.folder / volume / "releases.git") for volume in ("new", "data"))
    assert new == old
    serve.prepare(server.folder / "new", serve.repositories((server.folder / "rights.json").read_text()))
    assert server.git("-C", server.folder / "new" / "releases.git", "rev-parse", "--abbrev-ref", "HEAD") == "main\n"
    assert not (server.folder / "new" / "model.git" / "refs" / "heads" / "main").exists()


def test_only_what_has_changed_is_copied_again(server: Server) -> None:
    """A look every quarter of an hour must not fill the bucket."""
    first = server.copy()
    assert server.copy() == first
    server.push("releases", "more")
    server.push("model", "other")
    assert len(server.copy()) == 3


def test_the_newest_copy_is_the_one_that_comes_back(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds all that there was at its time."""
    server.copy()
    server.push("releases", "second")
    later = time.gmtime(time.time() + 60)
    monkeypatch.setattr(time, "gmtime", lambda *_: later)
    server.copy()
    server.restore("new")
    assert server.commits("new", "releases") == server.commits("data", "releases")
    assert "second" in server.commits("new", "releases")


def test_a_repository_with_commits_is_never_overwritten(server: Server) -> None:
    """`restore` may stay in an environment, and a wrong archive may be named in it."""
    server.copy()
    server.push("releases", "only here")
    before = server.commits("data", "releases")
    server.restore("data")
    assert server.commits("data", "releases") == before


def test_an_empty_repository_is_filled(server: Server) -> None:
    """A server that was started before anybody said `restore` has made it."""
    server.copy()
    (server.folder / "new").mkdir()
    serve.prepare(server.folder / "new", serve.repositories((server.folder / "rights.json").read_text()))
    server.restore("new")
    assert server.commits("new", "releases") == server.commits("data", "releases")


def test_a_volume_begins_with_an_archive_once(server: Server) -> None:
    """What people emptied on purpose does not come back with the next pod, which needs no object store to start."""
    server.copy()
    data = server.restore("new")
    server.git("-C", data / "releases.git", "update-ref", "-d", "refs/heads/main")
    server.git("-C", data / "releases.git", "tag", "-d", "v3")
    nowhere = {**server.plan["store"], "endpoint": "http://127.0.0.1:9"}
    server.restore("new", store=nowhere)
    assert bundles.state_of(data / "releases.git") == ""


def test_what_was_half_restored_is_begun_anew(server: Server) -> None:
    """A pod may be killed at any moment; a half repository is never served."""
    server.copy()
    half = server.folder / "new" / "releases.restoring"
    half.mkdir(parents=True)
    (half / "HEAD").write_text("ref: refs/heads/other\n")
    data = server.restore("new")
    assert server.commits("new", "releases") == server.commits("data", "releases")
    assert not list(data.glob("*.restoring"))


def test_a_copy_that_is_not_what_its_name_says_is_refused(server: Server) -> None:
    """The server does not start then: an older copy, or an empty repository, would be taken for the truth."""
    [key] = server.copy()
    server.objects[key.replace(key[-23:-7], "0" * 16)] = server.objects.pop(key)
    with pytest.raises(bundles.BundleError, match="does not hold what its name says"):
        server.restore("new")
    server.objects[next(iter(server.objects))] = b"no bundle"
    with pytest.raises(bundles.BundleError, match="git -C"):
        server.restore("new")
    assert not (server.folder / "new" / "releases.git").exists()


def test_a_large_repository_goes_in_parts(server: Server) -> None:
    """Memory holds a part of it, not all."""
    work = server.folder / "work-releases"
    (work / "large").write_bytes(random.Random(1).randbytes(PART + 9))  # noqa: S311  no secret: what no packing makes smaller
    server.push("releases", "large")
    [key] = server.copy()
    assert len(server.objects[key]) > PART
    server.restore("new")
    assert server.commits("new", "releases") == server.commits("data", "releases")


def test_a_wrong_password_is_an_error_that_does_not_say_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fails is what the alert counts; its log is read by many."""
    monkeypatch.setattr(bundles, "TRIES", 1)
    wrong = replace(server, plan={**server.plan, "password": "not-this-one"})
    with pytest.raises(bundles.BundleError) as refused:
        wrong.copy()
    assert "not-this-one" not in str(refused.value)
    assert server.objects == {}


def test_the_number_of_copies_is_bounded_and_days_keep_their_last() -> None:
    """What was forced over an hour ago, and what was forced over last week, both come back."""
    now = 1_800_000_000

    def name(seconds: int) -> str:
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now - seconds)) + "-0.bundle"

    names = [name(900 * number) for number in range(96 * 40)]
    kept = set(names) - set(bundles.ended(names, now, 14))
    assert set(names[: bundles.NEWEST]) <= kept
    days = {found[:8] for found in kept}
    assert days == {time.strftime("%Y%m%d", time.gmtime(now - DAY * day)) for day in range(15)}
    assert len(kept) <= bundles.NEWEST + 15
    old = [name(DAY * 100 + number) for number in range(3)]
    assert bundles.ended(old, now, 14) == []


def test_the_state_of_a_repository_is_the_same_from_near_and_far(server: Server) -> None:
    """Else every look would copy."""
    far = server.git("ls-remote", server.folder / "data" / "releases.git")
    assert "^{}" in far
    assert bundles.state(far.splitlines()) == bundles.state_of(server.folder / "data" / "releases.git")


def plan_of(found: graph.Graph, name: str) -> dict[str, Any]:
    [secret] = [item for key, item in graph.of_space(found, SECRET, "delivery").items() if key == name]
    told: dict[str, Any] = json.loads(secret["stringData"][jobs.KEY])
    return told


def test_copies_have_a_key_and_an_account_of_their_own() -> None:
    """Whoever gets hold of them reads repositories, and reaches no database's archive."""
    told = plan_of(platforms.recorded("apps"), backups.REPOSITORIES)
    assert (told["bucket"], told["store"]["access_key"]) == (jobs.BUCKET, jobs.BUCKET)
    assert told["folder"] == "test/1/git"
    assert told["user"] == spec.BACKUP
    rights = spec.rights()
    assert told["repositories"] == list(rights)
    assert {entry["rights"][spec.BACKUP] for entry in rights.values()} == {spec.READ}


def test_pods_that_copy_are_restricted_and_are_not_the_servers() -> None:
    """Its Service would send people to them; and they fit the namespace's quota beside it."""
    [cron] = graph.of_space(platforms.recorded("apps"), CRON, "delivery").values()
    template = cron["spec"]["jobTemplate"]["spec"]["template"]
    assert not spec.labels().items() <= template["metadata"]["labels"].items()
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    assert template["spec"]["securityContext"]["runAsNonRoot"]
    [container] = template["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def restored() -> graph.Graph:
    tree = platforms.tree("apps")
    tree["platform"]["backups"] |= {"archive": 2, "restore": 1, "store": platforms.STORE}
    return graph.record(tree, preview=False, **platforms.TEXTS)


def test_a_new_server_begins_with_the_archive_that_is_named_and_writes_another() -> None:
    """What went wrong can never overwrite what it is restored from; and another number starts the pod again."""
    found = restored()
    assert plan_of(found, "git-restore")["folder"] == "test/1/git"
    assert plan_of(found, backups.REPOSITORIES)["folder"] == "test/2/git"
    assert plan_of(found, "git-restore")["bucket"] == platforms.STORE["bucket"]
    [server] = graph.of_space(found, SET, "delivery").values()
    template = server["spec"]["template"]
    [first] = template["spec"]["initContainers"]
    assert {"name": "data", "mountPath": spec.DATA} in first["volumeMounts"]
    assert template["metadata"]["annotations"]["leasehold/begun-with"].endswith("/test/1")
    mounted = {entry["name"] for entry in first["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in template["spec"]["volumes"]}
    [usual] = graph.of_space(platforms.recorded("apps"), SET, "delivery").values()
    assert "initContainers" not in usual["spec"]["template"]["spec"]


def test_the_pod_finds_its_modules_where_they_import_each_other(tmp_path: Path) -> None:
    """It has Python alone, and files that a ConfigMap laid out."""
    for key, text in jobs.scripts().items():
        place = tmp_path / jobs.PLACES[key]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    done = subprocess.run(
        [
            "python3",
            "-I",
            "-c",
            f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['x']; "
            f"runpy.run_module({jobs.MODULE!r}, run_name='__main__')",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "copy|restore" in done.stderr, done.stderr
