"""etcd: its process, its members, and how a server joins them."""

import json
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from . import log
from .certificates import Leaf, make_ca, make_leaves
from .config import Config
from .files import run, write
from .log import Fatal
from .node import arguments
from .processes import Component, Group

LOCAL = "https://127.0.0.1:2379"
DUPLICATE = "etcd cluster join failed: duplicate node name found, please use a unique name for this node"
REMOVED = "the member has been permanently removed from the cluster"


@dataclass(frozen=True)
class Member:
    """A member of the etcd cluster; `name` is "" until it has started once."""

    id: str
    name: str
    peer: str
    learner: bool


def parse_members(listed: str) -> list[Member]:
    """Read etcdctl's JSON, whose ids are decimal numbers where etcdctl wants hexadecimal ones."""
    return [
        Member(format(one["ID"], "x"), one.get("name", ""), one["peerURLs"][0], bool(one.get("isLearner")))
        for one in json.loads(listed)["members"]
    ]


def takes_name(member: Member, node: str, own: str) -> bool:
    """Whether an earlier member holds this node's name: its own name is the node's with a random end."""
    return member.name != own and bool(re.fullmatch(re.escape(node) + "-[0-9a-f]{8}", member.name))


class Etcd:
    """This server's member."""

    def __init__(self, config: Config) -> None:
        """Nothing is started."""
        self.config, self.paths = config, config.paths
        self.tls = self.paths.tls / "etcd"
        self.peer = f"https://{config.ip}:2380"
        self.process: Component | None = None

    @property
    def exists(self) -> bool:
        """Whether there is etcd data on this machine."""
        return (self.paths.etcd / "member").exists()

    def name(self) -> str:
        """This member's name: the node's, with a random end, so that a new machine is never taken for an old one."""
        file = self.paths.db / "etcd-name"
        if not file.exists():
            write(file, f"{self.config.node}-{secrets.token_hex(4)}")
        return file.read_text()

    def ctl(self, *words: str, endpoints: str = LOCAL, stdin: str = "") -> str:
        """etcdctl's output. Raises CommandError."""
        certificates = [
            "--cacert",
            self.tls / "server-ca.crt",
            "--cert",
            self.tls / "client.crt",
            "--key",
            self.tls / "client.key",
        ]
        limits = ["--dial-timeout=5s", "--command-timeout=30s"]
        return run(["etcdctl", "--endpoints", endpoints, *limits, *certificates, *words], stdin=stdin)

    def members(self, endpoints: str = LOCAL) -> list[Member]:
        """All members, learners too."""
        return parse_members(self.ctl("member", "list", "-w", "json", endpoints=endpoints))

    def make_certificates(self) -> None:
        """etcd's two authorities and three certificates."""
        make_ca(self.tls, "server-ca", "etcd-server-ca")
        make_ca(self.tls, "peer-ca", "etcd-peer-ca")
        sans = ("localhost", "127.0.0.1", self.config.ip, self.config.node)
        both = "serverAuth,clientAuth"
        leaves = [
            Leaf("server-client", "server-ca", "etcd-server", sans=sans, usage=both),
            Leaf("peer-server-client", "peer-ca", "etcd-peer", sans=sans, usage=both),
            Leaf("client", "server-ca", "etcd-client"),
        ]
        make_leaves(self.tls, self.tls, leaves)

    def _join(self, group: Group, server: str) -> list[str]:
        """Ask the cluster behind `server` to take this member; returns the initial cluster's entries."""
        name = self.name()
        endpoint = re.sub(r"^https://(\[[^\]]+\]|[^:/]+).*", r"https://\1:2379", server)

        def add() -> list[Member]:
            members = self.members(endpoint)
            if any(takes_name(member, self.config.node, name) for member in members):
                shutil.rmtree(self.paths.db, ignore_errors=True)
                raise Fatal(DUPLICATE)
            if not any(member.peer == self.peer for member in members):
                # etcd takes one learner at a time and refuses the next: then this is tried again
                self.ctl("member", "add", name, "--learner", f"--peer-urls={self.peer}", endpoints=endpoint)
                members = self.members(endpoint)
            return members

        members = group.until("the etcd cluster to take this member", add, pause=2)
        voters = [member.peer.replace(":2380", ":2379") for member in members if not member.learner]
        write(self.paths.db / "learner", ",".join(voters))
        return [f"{member.name or name}={member.peer}" for member in members]

    def _promote(self, group: Group) -> None:
        """A learner answers no requests about members: the voters are asked, and refuse until it has caught up."""
        file = self.paths.db / "learner"
        voters = file.read_text()

        def promote() -> bool:
            mine = next(member for member in self.members(voters) if member.peer == self.peer)
            if mine.learner:
                self.ctl("member", "promote", mine.id, endpoints=voters)
            return True

        group.until("etcd to promote this member", promote, pause=0.5)
        file.unlink()

    def clear_removed(self) -> None:
        """Set data aside whose member the cluster has removed, so that this server can join again."""
        if (self.paths.etcd / "tombstone").exists():
            log.info("tombstone file has been detected, removing data dir to rejoin the cluster")
            self.paths.etcd.rename(self.paths.db / f"etcd-old-{int(time.time())}")
            (self.paths.db / "etcd-name").unlink(missing_ok=True)

    def start(self, group: Group, join: str) -> None:
        """Run etcd and wait until it answers; a new member joins the cluster behind `join`, or founds one."""
        initial: list[str] = []
        if not self.exists:
            initial = self._join(group, join) if join else [f"{self.name()}={self.peer}"]
        self.paths.etcd.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.process = group.start("etcd", ["etcd", *self._arguments(initial, "existing" if join else "new")])
        if (self.paths.db / "learner").exists():
            self._promote(group)
        group.until("etcd", healthy)

    def note_removal(self) -> None:
        """After the end: leave word for `clear_removed` if the cluster had removed this member."""
        if self.process and REMOVED in " ".join(self.process.last):
            write(self.paths.etcd / "tombstone", "")

    def _arguments(self, initial: list[str], state: str) -> list[str]:
        local, tls = "https://127.0.0.1", self.tls
        defaults = {
            "name": self.name(),
            "data-dir": str(self.paths.etcd),
            "log-level": "warn",
            "listen-client-urls": f"{local}:2379,https://{self.config.ip}:2379",
            "advertise-client-urls": f"https://{self.config.ip}:2379",
            "listen-peer-urls": f"{local}:2380,{self.peer}",
            "initial-advertise-peer-urls": self.peer,
            "listen-metrics-urls": "http://127.0.0.1:2381",
            "heartbeat-interval": "500",
            "election-timeout": "5000",
            "snapshot-count": "10000",
            "client-cert-auth": "true",
            "trusted-ca-file": str(tls / "server-ca.crt"),
            "cert-file": str(tls / "server-client.crt"),
            "key-file": str(tls / "server-client.key"),
            "peer-client-cert-auth": "true",
            "peer-trusted-ca-file": str(tls / "peer-ca.crt"),
            "peer-cert-file": str(tls / "peer-server-client.crt"),
            "peer-key-file": str(tls / "peer-server-client.key"),
        }
        if initial:
            defaults |= {"initial-cluster": ",".join(initial), "initial-cluster-state": state}
        return arguments(defaults, self.config.items("etcd-arg"))


def healthy(url: str = "http://127.0.0.1:2381/health") -> bool:
    """Whether this machine's etcd has a leader and can write."""
    with urlopen(url, timeout=5) as answer:  # noqa: S310  # a constant http URL on this machine
        return b'"true"' in answer.read()


def data_in(folder: Path) -> bool:
    """Whether `folder` is an etcd data directory."""
    return (folder / "member").is_dir()
