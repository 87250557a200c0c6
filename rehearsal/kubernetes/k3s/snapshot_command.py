"""`k3s etcd-snapshot`: take, list, delete and prune snapshots by hand."""

from collections.abc import Sequence

from . import binaries, config
from .etcd import Etcd
from .log import Fatal
from .snapshots import Snapshots

# The command's own spellings of what the server's configuration calls etcd-snapshot-*.
SPELLINGS = {
    "--dir": "--etcd-snapshot-dir",
    "--snapshot-compress": "--etcd-snapshot-compress",
    "--snapshot-retention": "--etcd-snapshot-retention",
    "--compress": "--etcd-snapshot-compress",
}


def _respelled(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags in the server's spelling, and the names given without a flag."""
    options, names, rest = [], [], list(words)
    while rest:
        word, given, value = rest.pop(0).partition("=")
        if not word.startswith("-"):
            names.append(word)
            continue
        word = SPELLINGS.get(word, word)
        options.append(f"{word}={value}" if given else word)
        if not given and not word.endswith(("compress", "etcd-s3")) and rest:
            options.append(rest.pop(0))
    return options, names


def main(_name: str, words: Sequence[str]) -> int:
    """Run it. Raises Fatal, CommandError."""
    name, *rest = words if words and not words[0].startswith("-") else ["save", *words]
    options, names = _respelled(rest)
    settings = config.load("server", options)
    binaries.unpack(settings.paths.data)
    snapshots = Snapshots(Etcd(settings))
    given = settings.text("etcd-snapshot-name")
    if name == "save":
        if not (settings.paths.tls / "etcd" / "client.crt").exists():
            raise Fatal("etcd-snapshot save: this machine is not a server of a running cluster")
        snapshots.save(given or "on-demand")
    elif name in ("ls", "list", "l"):
        print("Name\tLocation\tSize\tCreated")
        for snapshot in snapshots.all():
            print(snapshot.path.name, f"file://{snapshot.path}", snapshot.size, snapshot.created, sep="\t")
    elif name == "prune":
        for gone in snapshots.prune(given or "on-demand", int(settings.text("etcd-snapshot-retention"))):
            print(f"Snapshot {gone} deleted.")
    elif name == "delete":
        if not names:
            raise Fatal("no snapshots given for removal")
        for one in names:
            snapshots.delete(one)
            print(f"Snapshot {one} deleted.")
    else:
        raise Fatal(f"No help topic for 'etcd-snapshot {name}': delete, ls, prune, save")
    return 0
