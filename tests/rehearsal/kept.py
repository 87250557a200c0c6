"""Something of each kind that a platform keeps: a run with a metric and a file, and an image."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from tests.rehearsal.cluster import until
from tests.rehearsal.images import Image
from tests.rehearsal.services import Platform
from tests.rehearsal.test_platform_registry import SECRET, registry

PLACE = "tests/kept"


@dataclass(frozen=True)
class Kept:
    """What has to come back."""

    run: str
    artifact: str
    """Hash of a file of the run."""
    image: Image

    @classmethod
    def written(cls, client: MlflowClient, platform: Platform, folder: Path) -> "Kept":
        """Into the databases, the object store and the registry, each acknowledged."""
        run = client.create_run(client.create_experiment(f"kept-{time.time_ns()}")).info.run_id
        file = folder / "weights.bin"
        file.write_bytes(os.urandom(5 * 1024 * 1024))
        client.log_artifact(run, str(file))
        image = Image.of(f"kept {time.time_ns()}")
        assert registry(platform, SECRET).push(PLACE, "1", image)[-1] == 201
        return cls(run, hashlib.sha256(file.read_bytes()).hexdigest(), image)

    def check(self, client: MlflowClient, platform: Platform, folder: Path) -> None:
        """By hash, all of it."""
        until("the run", lambda: client.get_run(self.run), 60)
        back = Path(client.download_artifacts(self.run, "weights.bin", str(folder)))
        assert hashlib.sha256(back.read_bytes()).hexdigest() == self.artifact
        assert registry(platform, SECRET).pull(PLACE, self.image.digest) == self.image
