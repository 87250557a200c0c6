"""The images of one environment's platform, and the configuration that says which they are and where."""

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rehearsal.cloud import Cloud
from rehearsal.cloud.parts import IMAGES, Part
from rehearsal.images import recipe, server, store
from rehearsal.images.catalogue import recipes
from rehearsal.images.recipe import Recipe
from rehearsal.kubernetes.build import Progress
from rehearsal.paths import PROJECT

KEY = "images"
"""The program's configuration key."""
PLACEHOLDER = "http://rehearsal.invalid"


def wanted(tree: Mapping[str, Any]) -> bool:
    """Whether an environment's images come from here: there is a platform, and the file says nothing of images."""
    return isinstance(tree.get("platform"), dict) and KEY not in tree


def expected(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration with which an environment can be checked before anything is made."""
    if not wanted(tree):
        return {}
    return {KEY: {"mirror": PLACEHOLDER, "digests": dict.fromkeys(recipes(tree), f"sha256:{'0' * 64}")}}


@dataclass(frozen=True)
class Images:
    """The images of one environment: made while the cloud starts, then served beside it."""

    future: "Future[dict[str, str]]"
    names: Path
    """The registry's list of them."""

    def config(self, cloud: Cloud) -> dict[str, Any]:
        """Wait until all are made, serve them; returns the value of the configuration key."""
        digests = self.future.result()
        offer(digests, self.names)
        return {"mirror": serve(cloud, self.names), "digests": digests}


@contextmanager
def made(found: Mapping[str, Recipe], names: Path, progress: Progress) -> Iterator[Images]:
    """Begin to make images; `names` will be the file with the registry's list of them."""

    def make() -> dict[str, str]:
        return {name: recipe.make(wanted, progress) for name, wanted in sorted(found.items())}

    with ThreadPoolExecutor(1, thread_name_prefix="images") as pool:
        yield Images(pool.submit(make), names)


def offer(digests: Mapping[str, str], names: Path) -> None:
    """Let a registry that has this list offer these images; one that runs reads it anew."""
    names.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = names.with_suffix(".new")
    new.write_text(json.dumps(digests, indent=1, sort_keys=True))
    new.replace(names)


def serve(cloud: Cloud, names: Path) -> str:
    """Run the registry for the machines until the cloud goes down; returns its base URL, which stays the same."""
    port = cloud.port(IMAGES)
    command = [sys.executable, "-m", server.__name__, cloud.host_address(), str(port), str(store.folder()), str(names)]
    cloud.beside(IMAGES, command, {"PYTHONPATH": str(PROJECT)}, Path(server.__file__), port)
    return f"http://{cloud.host_address()}:{port}"


def parts(tree: Mapping[str, Any]) -> list[Part]:
    """What of the platform's images is real: a line for those of which the same is to be said."""
    if not wanted(tree):
        return []

    def said(item: tuple[str, Recipe]) -> tuple[str, str]:
        return item[1].kind, item[1].reason

    found = []
    for _, group in groupby(sorted(recipes(tree).items(), key=said), said):
        names, same = zip(*group, strict=True)
        shown = ", ".join(name.rpartition("/")[2] for name in sorted(names))
        found.append(Part(f"image {shown}", same[0].kind, same[0].reason))
    return found
