"""Copies buckets to a store outside, or back. Run as a module, with `copy PLAN` or `restore PLAN`.

PLAN is JSON: `inside` and `outside` (endpoint, region, access_key, secret_key), `bucket` and `folder` outside,
`buckets` (purpose to the name inside), and `keep_days`. A copy keeps what was deleted inside for that many days:
`FOLDER/gone/PURPOSE.json` says since when an object is missing. Both may run again at any time: what is there stays.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops.objectstore.scripts.s3 import Bucket, Item, Store, copy

DAY = 86400.0


def same(one: Item, other: Item | None) -> bool:
    """Whether two objects have one content: by their sums where both are of the whole, else by their sizes."""
    if other is None or one.size != other.size:
        return False
    whole = "-" not in one.etag + other.etag
    return one.etag == other.etag if whole else True


def missing(gone: Mapping[str, float], there: set[str], copied: set[str], now: float) -> dict[str, float]:
    """Copied objects that are no longer inside, each with the time since when."""
    return {key: gone.get(key, now) for key in sorted(copied - there)}


@dataclass(frozen=True)
class Copied:
    """A bucket inside, and the folder outside that it is copied to."""

    inside: Bucket
    outside: Bucket
    folder: str
    purpose: str

    @property
    def base(self) -> str:
        """What the copies' names begin with."""
        return f"{self.folder}/{self.purpose}/"

    @property
    def record(self) -> str:
        """Name of the object that says since when objects are missing inside."""
        return f"{self.folder}/gone/{self.purpose}.json"

    def copies(self) -> dict[str, Item]:
        """Name inside to the copy."""
        return {item.key.removeprefix(self.base): item for item in self.outside.list(self.base)}

    def gone(self) -> dict[str, float]:
        """Name inside of what was deleted there to the time when that was noticed."""
        found: dict[str, float] = json.loads(self.outside.get(self.record) or b"{}")
        return found

    def restore(self) -> int:
        """Bring back what is not inside, or not as it was copied; returns how many objects that was."""
        here, gone = {item.key: item for item in self.inside.list()}, self.gone()
        late = {k: item for k, item in self.copies().items() if k not in gone and not same(item, here.get(k))}
        for key, item in late.items():
            copy(item, self.outside, self.inside, key)
        return len(late)

    def copy(self, keep_days: float) -> int:
        """Copy out what is new, and end what was deleted long ago; returns how many objects were copied."""
        here, there, now = {item.key: item for item in self.inside.list()}, self.copies(), time.time()
        late = [item for key, item in here.items() if not same(item, there.get(key))]
        for item in late:
            copy(item, self.inside, self.outside, f"{self.base}{item.key}")
        gone = missing(self.gone(), set(here), set(there), now)
        ended = {key for key, since in gone.items() if now - since > keep_days * DAY}
        for key in ended:
            self.outside.delete(f"{self.base}{key}")
        self.outside.put(self.record, json.dumps({k: t for k, t in gone.items() if k not in ended}).encode())
        return len(late)


def main(command: str, file: str) -> None:
    """Copy every bucket; the first that fails ends the run, and the next run goes on from there."""
    plan = json.loads(Path(file).read_text())
    inside, outside = Store(**plan["inside"]), Bucket(Store(**plan["outside"]), plan["bucket"])
    for purpose, bucket in sorted(plan["buckets"].items()):
        copied = Copied(Bucket(inside, bucket), outside, plan["folder"], purpose)
        count = copied.restore() if command == "restore" else copied.copy(plan["keep_days"])
        print(f"done: {command} {purpose}: {count} objects", flush=True)


if __name__ == "__main__":
    if sys.argv[1] not in ("copy", "restore"):
        sys.exit(__doc__)
    main(*sys.argv[1:])
