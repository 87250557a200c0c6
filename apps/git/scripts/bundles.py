"""Copies the Git server's repositories to an object store, or back. Run as a module, with `copy|restore PLAN WORK`.

PLAN is JSON: `store` (endpoint, region, access_key, secret_key), `bucket`, `folder`, `repositories`; for a copy also
`server` (its URL), `user`, `password` and `keep_days`, for a restore also `data`, the server's folder. WORK is a folder
for what is thrown away. A copy of a repository is a bundle of all that it is, FOLDER/REPOSITORY/TIME-STATE.bundle,
where STATE is a sum over its references: one that has not changed since is not copied again, an empty one never.
A restore fills repositories without commits, before the server starts; which archive it was, the volume remembers.
"""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.objectstore.scripts.s3 import Bucket, Item, Store, fetch, send

NEWEST = 8
"""Copies that are kept however old they are; of every day within the days to keep, its last."""
TRIES = 5
"""Of a request to the server: the network policy of a new pod is not in force in its first seconds."""
SECONDS = 1800
"""For one command of git."""
BEGUN = "restored-from"
"""File on the volume: the folder of the archive that it began with."""
DAY = 86400.0
SETTINGS = {
    "core.hooksPath": "/dev/null",
    # The volume's root may be another user's, whose group this process has.
    "safe.directory": "*",
    "transfer.fsckObjects": "true",
    "gc.auto": "0",
    # In little memory.
    "core.bigFileThreshold": "16m",
    "pack.threads": "1",
    "pack.windowMemory": "64m",
}


class BundleError(Exception):
    """A copy or its source is not as it must be."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What git gets of our environment: its settings, in variables because no command line may hold a password."""
    found = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_TERMINAL_PROMPT": "0"}
    found |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    pairs = {**SETTINGS, **settings}
    for number, (key, value) in enumerate(pairs.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**found, "GIT_CONFIG_COUNT": str(len(pairs))}


def git(*words: str | Path, settings: Mapping[str, str] | None = None, tries: int = 1) -> str:
    """What a command says, with settings beside ours. Raises BundleError with git's own words."""
    for attempt in range(1, tries + 1):
        # No command of ours leaves anything half made behind: clone removes what it began.
        done = subprocess.run(
            ["git", *words],
            env=environment(settings or {}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout
        if attempt < tries:
            time.sleep(2.0 * attempt)
    raise BundleError(f"git {' '.join(map(str, words))}: {done.stderr.strip()[-500:]}")


def login(user: str, password: str) -> dict[str, str]:
    """The setting that sends an account with every request."""
    return {"http.extraHeader": f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def state(lines: Iterable[str]) -> str:
    """A sum over references, given as lines of object and name; empty where there is none. HEAD points to one."""
    pairs = sorted(" ".join(line.split()) for line in lines if " refs/" in line.replace("\t", " "))
    # What a tag points to is said beside it by servers only.
    kept = [pair for pair in pairs if not pair.endswith("^{}")]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16] if kept else ""


def state_of(repository: Path) -> str:
    """The same of a repository in a folder; empty where there is none."""
    if not repository.exists():
        return ""
    return state(git("-C", repository, "for-each-ref", "--format=%(objectname) %(refname)").splitlines())


def unpack(bundle: Path, repository: Path) -> str:
    """Make a repository of a bundle; returns its state."""
    git("init", "--quiet", "--bare", "--initial-branch=main", repository)
    git("-C", repository, "fetch", "--quiet", "--no-write-fetch-head", bundle, "+refs/*:refs/*")
    return state_of(repository)


def ended(keys: Sequence[str], today: float, keep_days: int) -> list[str]:
    """Copies to remove: all but the newest, and the last of each day to keep. Names begin with their times."""
    names = sorted(keys)
    last = {name[:8]: name for name in names}
    first = time.strftime("%Y%m%d", time.gmtime(today - keep_days * DAY))
    kept = {*names[-NEWEST:], *(name for day, name in last.items() if day >= first)}
    return [name for name in names if name not in kept]


@dataclass(frozen=True)
class Copies:
    """The copies of one repository."""

    bucket: Bucket
    base: str
    """What their names begin with."""

    def all(self) -> dict[str, Item]:
        """Name to object, the oldest first."""
        found = {item.key.removeprefix(self.base): item for item in self.bucket.list(self.base)}
        return {name: found[name] for name in sorted(found) if name.endswith(".bundle")}

    def newest(self) -> tuple[Item, str] | None:
        """The last copy, and the state that it has."""
        found = self.all()
        return next(((found[name], _state(name)) for name in reversed(found)), None)

    def add(self, bundle: Path, content: str) -> str:
        """Write one more; returns its name."""
        name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{content}.bundle"
        send(bundle, self.bucket, self.base + name)
        return name


def _state(name: str) -> str:
    return name.removesuffix(".bundle").rpartition("-")[2]


def copies(plan: Mapping[str, Any]) -> Iterator[tuple[str, Copies]]:
    """Repository to its copies."""
    bucket = Bucket(Store(**plan["store"]), plan["bucket"])
    for name in plan["repositories"]:
        yield name, Copies(bucket, f"{plan['folder']}/{name}/")


def bundle_of(url: str, account: Mapping[str, str], work: Path) -> tuple[Path, str]:
    """A bundle of a repository at one moment, tried by unpacking it; and its state."""
    clone, bundle, tried = work / "clone", work / "bundle", work / "tried"
    git("clone", "--quiet", "--mirror", url, clone, settings=account, tries=TRIES)
    content = state_of(clone)
    git("-C", clone, "bundle", "create", "--quiet", bundle, "--all")
    shutil.rmtree(clone)
    back = unpack(bundle, tried)
    shutil.rmtree(tried)
    if back != content:
        raise BundleError(f"a bundle of {url} does not hold all of it")
    return bundle, content


def copy(plan: Mapping[str, Any], work: Path) -> None:
    """Copy what has changed."""
    account = login(plan["user"], plan["password"])
    for name, kept in copies(plan):
        url = f"{plan['server']}/{name}.git"
        present = state(git("ls-remote", url, settings=account, tries=TRIES).splitlines())
        newest = kept.newest()
        if not present:
            print(f"{name} is empty: nothing to copy", flush=True)
        elif newest and newest[1] == present:
            print(f"{name} is as in {newest[0].key}", flush=True)
        else:
            with tempfile.TemporaryDirectory(dir=work) as folder:
                print(f"done: copied {name} as {kept.add(*bundle_of(url, account, Path(folder)))}", flush=True)
        for old in ended(list(kept.all()), time.time(), plan["keep_days"]):
            kept.bucket.delete(kept.base + old)
            print(f"done: removed {name}/{old}", flush=True)


def restore(plan: Mapping[str, Any], work: Path) -> None:
    """Fill what has no commits, once for each archive. A repository appears whole or not at all."""
    data, begun = Path(plan["data"]), Path(plan["data"]) / BEGUN
    if begun.exists() and begun.read_text() == plan["folder"]:
        print(f"the volume began with {plan['folder']}", flush=True)
        return
    for name, kept in copies(plan):
        repository, fresh = data / f"{name}.git", data / f"{name}.restoring"
        if state_of(repository):
            print(f"{name} has commits: it stays as it is", flush=True)
        elif found := kept.newest():
            item, content = found
            shutil.rmtree(fresh, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=work) as folder:
                fetch(item, kept.bucket, Path(folder) / "bundle")
                if unpack(Path(folder) / "bundle", fresh) != content:
                    raise BundleError(f"{item.key} does not hold what its name says")
            shutil.rmtree(repository, ignore_errors=True)
            fresh.rename(repository)
            print(f"done: restored {name} from {item.key}", flush=True)
        else:
            print(f"there is no copy of {name} in {plan['folder']}", flush=True)
    begun.write_text(plan["folder"])


if __name__ == "__main__":
    commands = {"copy": copy, "restore": restore}
    if len(sys.argv) != 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        commands[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
    except BundleError as error:
        sys.exit(str(error))
