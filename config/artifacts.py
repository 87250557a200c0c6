"""Where machines download from: upstream, or a mirror that has the same files."""

from dataclasses import dataclass
from urllib.parse import quote

from pydantic import Field

from config.fields import Model, Sha256, Url
from versions import Artifact


@dataclass(frozen=True)
class Download:
    """A file to fetch, and what it must be."""

    path: str
    url: str
    sha256: str


class Artifacts(Model):
    """Where machines download from. A digest is checked before anything is used."""

    source: Url | None = Field(None, description="base URL of a mirror that has every artifact; none: upstream")
    digests: dict[str, Sha256] = Field({}, description="path of an artifact to its sha256, before those of versions.py")

    def sha256(self, artifact: Artifact) -> str | None:
        """The digest of an artifact; None where nobody gave one."""
        return self.digests.get(artifact.path, artifact.sha256)

    def download(self, artifact: Artifact) -> Download:
        """Say where an artifact is and what it must be; raises LookupError without a digest (a rule refuses that)."""
        sha256 = self.sha256(artifact)
        if sha256 is None:
            raise LookupError(f"artifacts.digests has no {artifact.path}")
        url = artifact.url if self.source is None else f"{self.source}/{quote(artifact.path)}"
        return Download(artifact.path, url, sha256)
