"""Where Helm charts come from: upstream, or a mirror that has the same packages."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from config.fields import ChartMirror, Model, Sha256
from versions import Chart


class Charts(Model):
    """Where Helm charts come from."""

    mirror: ChartMirror | None = Field(
        None, description="folder, URL or oci:// address that has every chart as NAME-VERSION.tgz; none: upstream"
    )
    digests: dict[str, Sha256] = Field(
        {}, description="NAME-VERSION.tgz to its sha256, checked in a mirror that is a folder: helm checks none itself"
    )

    @property
    def folder(self) -> Path | None:
        """The mirror, where it is a folder of this computer."""
        return Path(self.mirror) if self.mirror and self.mirror.startswith("/") else None

    def changed(self) -> Iterator[tuple[str, str]]:
        """Packages of a folder that are not what their digest says, each with what is there instead."""
        if (folder := self.folder) is None:
            return
        for file, wanted in self.digests.items():
            try:
                found = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            except OSError as error:
                found = error.strerror or "not readable"
            if found != wanted:
                yield file, found

    def source(self, chart: Chart) -> tuple[str, dict[str, str] | None]:
        """The arguments `chart` and `repository_opts` of a Helm release."""
        if self.mirror is None:
            if chart.repository.startswith("oci://"):
                return f"{chart.repository}/{chart.name}", None
            return chart.name, {"repo": chart.repository}
        if self.mirror.startswith("oci://"):
            return f"{self.mirror}/{chart.name}", None
        return f"{self.mirror}/{chart.file}", None
