"""What a rehearsal tells the program beside the unchanged environment file: where downloads, charts and images are."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.cloud import Cloud
from rehearsal.cloud.parts import Part
from rehearsal.images import catalogue
from rehearsal.images import mirror as images
from rehearsal.kubernetes import charts
from rehearsal.kubernetes import mirror as artifacts
from rehearsal.kubernetes.build import Progress


def expected(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration with which an environment can be checked before anything is made."""
    return {**artifacts.expected(tree), **charts.expected(tree), **images.expected(tree)}


@dataclass(frozen=True)
class Mirrors:
    """The mirrors of one environment; None for those that it does not need."""

    folder: Path
    artifacts: artifacts.Mirror | None
    images: images.Images | None
    charts: bool

    def config(self, cloud: Cloud) -> dict[str, Any]:
        """Wait until all is made, serve it; returns configuration without the namespace of its keys."""
        return {
            **({artifacts.KEY: self.artifacts.config(cloud)} if self.artifacts else {}),
            **({charts.KEY: charts.config(self.folder / "charts")} if self.charts else {}),
            **({images.KEY: self.images.config(cloud)} if self.images else {}),
        }


@contextmanager
def made(tree: Mapping[str, Any], given: Collection[str], folder: Path, progress: Progress) -> Iterator[Mirrors]:
    """Begin to make what an environment needs, below `folder`; not what was `given` by --config."""
    with ExitStack() as begun:

        def begin(module: Any, *arguments: Any) -> Any:
            needed = module.wanted(tree) and module.KEY not in given
            return begun.enter_context(module.made(*arguments, progress)) if needed else None

        downloads = begin(artifacts, tree, folder / "artifacts")
        pulled = begin(images, catalogue.recipes(tree), folder / "images" / "names.json")
        yield Mirrors(folder, downloads, pulled, charts.wanted(tree) and charts.KEY not in given)


def parts(tree: Mapping[str, Any]) -> list[Part]:
    """What of that is real."""
    return [*artifacts.parts(tree), *images.parts(tree)]
