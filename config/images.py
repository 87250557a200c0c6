"""Where container images come from, and what they must be."""

from pydantic import Field

from config.fields import Digest, ImageName, Model, Url
from versions import Image


class Images(Model):
    """Where container images come from. The nodes are told of the mirror, so images keep their names."""

    mirror: Url | None = Field(
        None, description="registry that has every image under its name without the registry; none: upstream"
    )
    digests: dict[ImageName, Digest] = Field(
        {}, description="image with its tag to its digest, before those of versions.py"
    )

    def digest(self, image: Image) -> str | None:
        """The digest of an image; None where nobody gave one, and the tag alone names it."""
        return self.digests.get(image.tagged, image.digest)

    def tag(self, image: Image) -> str:
        """Tag and digest, for charts that join repository and tag."""
        digest = self.digest(image)
        return f"{image.tag}@{digest}" if digest else image.tag

    def reference(self, image: Image) -> str:
        """The whole name, for a pod."""
        return f"{image.name}:{self.tag(image)}"
