"""Faults of an object store and of a registry at every distinct call of our programs: real servers behind the proxy."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from apps.builds import spec
from mlops.objectstore.scripts import mirror, provision, s3
from rehearsal.kubernetes import build, programs
from tests.rehearsal.cluster import until
from tests.rehearsal.fault_proxy import RootProxy, common
from tests.rehearsal.faulty import each_alone, in_company
from tests.rehearsal.stores import Server, minio, port, running

CLIENT_SECONDS, STALL, DRIP = 3.0, 5.0, 1.0
"""Instead of 120 s, 60 s and 10 s: a client gives up before the answer of a stalled call comes, and it was done."""
FAULTS = common(STALL, DRIP)
PART = 5 << 20
"""Bytes of a part, instead of 16 MiB: the least that a store takes."""
HEALED = 0.995
LOOPBACK, SECONDS = "127.0.0.1", 120
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
INDEX = "application/vnd.oci.image.index.v1+json"
"""What a build with attestations is."""
SETTINGS = """
root = "{root}"
[worker.oci]
enabled = true
snapshotter = "native"
[worker.containerd]
enabled = false
[registry."{registry}"]
http = true
"""


@dataclass(frozen=True)
class Store:
    """Two buckets of a MinIO, reached through the proxy."""

    proxy: RootProxy
    server: Server
    behind: Server

    def work(self) -> None:
        """Copy objects from one bucket to the other, lose one of them, and bring it back, as the Jobs do."""
        contents = {"small": b"x", "large": os.urandom(2 * PART + 5)}
        inside, outside = (s3.Bucket(self.server.store(), name) for name in ("inside", "outside"))
        provision.wait(inside.store)
        for bucket in (inside, outside):
            bucket.make()
        for key, body in contents.items():
            inside.put(key, body)
        both = mirror.Copied(inside, outside, "folder", "purpose")
        both.copy(keep_days=1)
        inside.delete("large")
        assert both.restore() == 1
        found = {item.key: hashlib.sha256(inside.get(item.key) or b"").digest() for item in inside.list()}
        assert found == {key: hashlib.sha256(body).digest() for key, body in contents.items()}
        self._emptied()

    def _emptied(self) -> None:
        for bucket in (s3.Bucket(self.behind.store(), name) for name in ("inside", "outside")):
            for item in list(bucket.list()):
                bucket.delete(item.key)
            bucket.store.call("DELETE", f"/{bucket.name}")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(s3, "TIMEOUT", CLIENT_SECONDS)
    monkeypatch.setattr(s3, "PAUSE", 0.05)
    monkeypatch.setattr(s3, "PART", PART)
    with minio(tmp_path) as behind, RootProxy("s3", behind.port).serving() as proxy:
        yield Store(proxy, replace(behind, endpoint=proxy.url), behind)


def test_a_bad_minute_of_an_object_store_heals_inside_one_job(store: Store) -> None:
    """Above all lost answers: the bucket or the whole object is there, and a second request for it is refused."""
    wanted = {
        "PUT s3 /inside": "reset after",
        "PUT s3 /outside": "409",
        "POST s3 /outside/folder/purpose/large?uploads": "503",
        "PUT s3 /outside/folder/purpose/large?partNumber,uploadId": "reset before",
        "POST s3 /outside/folder/purpose/large?uploadId": "reset after",
        "GET s3 /outside?list-type,prefix": "slow body",
        "DELETE s3 /inside/large": "408",
        "POST s3 /inside/large?uploadId": "429",
    }
    in_company(store.proxy, store.work, FAULTS, wanted)


@pytest.mark.long
def test_every_fault_at_every_distinct_call_of_the_object_store_s_jobs(store: Store) -> None:
    """Inside one Job, which would be repeated besides."""
    matrix = each_alone(store.proxy, store.work, FAULTS.values())
    assert matrix.share >= HEALED, matrix.table()


@dataclass(frozen=True)
class Builder:
    """A registry through the proxy, and BuildKit before it."""

    proxy: RootProxy
    folder: Path
    socket: str
    buildctl: Path
    again: list[str] = field(default_factory=list)
    """Last words of the steps that were begun twice."""

    @property
    def name(self) -> str:
        """HOST:PORT of the registry, as BuildKit has it."""
        return self.proxy.url.removeprefix("http://")

    def call(self, *words: str) -> int:
        """BuildKit's client; its exit code."""
        command: list[str | Path] = [self.buildctl, f"--addr={self.socket}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        (self.folder / "said").write_text(done.stderr)
        return done.returncode

    def base(self) -> None:
        """Push what builds begin with."""
        local = (f"--local={name}={self.folder}" for name in ("context", "dockerfile"))
        output = f"--output=type=image,name={self.name}/base,push=true"
        assert self.call("build", "--frontend=dockerfile.v0", *local, output) == 0

    def step(self) -> int:
        """The pipeline's step: build what is in the folder, and push it."""
        whole = spec.build_command(f"{self.name}/model", "run", f"{self.name}/base", "")
        words = [word.replace(spec.SOURCE, str(self.folder)) for word in whole[whole.index("build") :]]
        words = [word.replace(spec.METADATA, str(self.folder / "metadata.json")) for word in words]
        # What lists an image's content is an image itself.
        return self.call(*(word for word in words if not word.startswith("--opt=attest:sbom")))

    def work(self) -> None:
        """Something new, with nothing kept of the last time; as often as Argo begins the step."""
        assert self.call("prune", "--all") == 0
        (self.folder / "file").write_bytes(os.urandom(1 << 16))
        codes = [self.step()]
        if codes != [0]:
            self.again.append((self.folder / "said").read_text().splitlines()[-1])
            codes.append(self.step())
        assert codes[-1] == 0, (self.folder / "said").read_text()[-2000:]
        digest = json.loads((self.folder / "metadata.json").read_text())["containerimage.digest"]
        connection = self.proxy.connect("registry")
        connection.request("GET", f"/v2/model/manifests/{digest}", headers={"Accept": INDEX})
        assert f"sha256:{hashlib.sha256(connection.getresponse().read()).hexdigest()}" == digest


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    registry, daemon, client = (build.build(one) for one in (programs.REGISTRY, *programs.BUILDKIT))
    behind, socket = port(LOOPBACK), f"unix://{tmp_path}/buildkitd.sock"
    about = {"storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}}
    file = tmp_path / "registry.yml"
    file.write_text(yaml.safe_dump({"version": 0.1, **about, "http": {"addr": f"{LOOPBACK}:{behind}"}}))
    with RootProxy("registry", behind).serving() as proxy, running(registry, "serve", file, **SILENT):
        folder = tmp_path / "source"
        folder.mkdir()
        made = Builder(proxy, folder, socket, client)
        (tmp_path / "buildkitd.toml").write_text(SETTINGS.format(root=tmp_path / "buildkit", registry=made.name))
        with running(daemon, "--config", tmp_path / "buildkitd.toml", "--addr", socket, **SILENT):
            until("BuildKit", lambda: made.call("debug", "workers") == 0, 60)
            (folder / "file").write_text("base")
            (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /base\n")
            made.base()
            (folder / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM $BASE_IMAGE\nCOPY file /\n")
            yield made


def test_a_bad_minute_of_a_registry_heals_inside_one_step(builder: Builder) -> None:
    """What is pushed once more has the same digest."""
    wanted = {
        "HEAD registry /v2/base/manifests/latest": "503",
        "GET registry /v2/base/blobs/sha256:{id}": "reset before",
        "POST registry /v2/model/blobs/uploads/": "reset after",
        "PUT registry /v2/model/manifests/run": "502",
        "PUT registry /v2/model/manifests/buildcache": "reset after",
    }
    in_company(builder.proxy, builder.work, FAULTS, wanted)


@pytest.mark.long
def test_every_fault_at_every_distinct_call_of_a_build(builder: Builder) -> None:
    """Inside one step, which Argo begins twice."""
    matrix = each_alone(builder.proxy, builder.work, FAULTS.values())
    print(f"{len(builder.again)} of the steps were begun twice:", *builder.again, sep="\n  ")
    assert matrix.share >= HEALED, matrix.table()
