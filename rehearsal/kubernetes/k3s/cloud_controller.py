"""k3s's built-in cloud controller, and what else a server does when Nodes come and go.

Addresses, role labels and provider ids are set; with a Node go its etcd member and its password.
"""

import calendar
import time

from . import log
from .api import NODES, SYSTEM, Api, ApiError, Object, Worker
from .approvals import LABEL
from .etcd import Etcd
from .files import CommandError
from .node import EXTERNAL_IP, HOSTNAME, INTERNAL_IP, MEMBER, SERVER
from .processes import Group

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
FINALIZER = "wrangler.cattle.io/managed-etcd-controller"  # a Node stays until its etcd member is gone
ORPHAN = 300  # seconds after which the password of a node that never came may go


def addresses(notes: dict[str, str]) -> list[dict[str, str]]:
    """A Node's addresses, from its annotations."""
    found = [("InternalIP", notes[INTERNAL_IP])]
    found += [("ExternalIP", one) for one in notes.get(EXTERNAL_IP, "").split(",") if one]
    found.append(("Hostname", notes.get(HOSTNAME, "")))
    return [{"type": kind, "address": address} for kind, address in found]


class CloudController(Worker):
    """Keeps Nodes as k3s's controllers do; every server runs one, and all do the same."""

    def __init__(self, group: Group, api: Api, etcd: Etcd, with_cloud: bool) -> None:
        """`with_cloud` is off where an outer cloud controller sets addresses."""
        super().__init__(group, "node-controller", api, NODES)
        self.etcd, self.with_cloud = etcd, with_cloud
        self.seen: set[str] = set()

    def work(self) -> None:
        """Bring all Nodes, members and passwords into order."""
        nodes = self.api.get(NODES)["items"]
        for node in nodes:
            try:
                self._keep(node)
            except ApiError as failure:
                if failure.status not in (404, 409):  # it changed under us, and that wakes us again
                    raise
        self._forget_passwords({node["metadata"]["name"] for node in nodes})

    def _keep(self, node: Object) -> None:
        metadata = node["metadata"]
        if metadata.get("deletionTimestamp"):
            self._remove_member(metadata)
            return
        notes = metadata.get("annotations", {})
        if INTERNAL_IP not in notes:
            return
        if self.with_cloud:
            self._initialize(node, notes)
        labels = {}
        if notes.get(SERVER) == "true":
            labels = {"node-role.kubernetes.io/control-plane": "true", "node-role.kubernetes.io/etcd": "true"}
        change: Object = {}
        if not labels.items() <= metadata.get("labels", {}).items():
            change["labels"] = labels
        if notes.get(MEMBER) and FINALIZER not in metadata.get("finalizers", []):
            change["finalizers"] = [*metadata.get("finalizers", []), FINALIZER]
        if change:
            self.api.merge(f"{NODES}/{metadata['name']}", {"metadata": change})

    def _initialize(self, node: Object, notes: dict[str, str]) -> None:
        path = f"{NODES}/{node['metadata']['name']}"
        if node["status"].get("addresses") != addresses(notes):
            # the strategic merge of Node addresses keeps old ones; a merge patch replaces the list
            node = self.api.merge(f"{path}/status", {"status": {"addresses": addresses(notes)}})
        taints = node["spec"].get("taints", [])
        kept = [taint for taint in taints if taint["key"] != UNINITIALIZED]
        change: Object = {}
        if kept != taints:
            change["taints"] = kept
        if not node["spec"].get("providerID"):
            change["providerID"] = f"k3s://{node['metadata']['name']}"
        if change:
            # with the version it fails, and is tried again, if somebody added a taint meanwhile
            self.api.merge(path, {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": change})

    def _remove_member(self, metadata: Object) -> None:
        if FINALIZER not in metadata.get("finalizers", []):
            return
        name = metadata.get("annotations", {}).get(MEMBER, "")
        for member in self.etcd.members():
            if member.name == name:
                log.info(f"Removing name={metadata['name']} id={member.id} from etcd")
                try:
                    self.etcd.ctl("member", "remove", member.id)
                except CommandError as failure:
                    if "not found" not in str(failure):  # another server was faster
                        raise
        rest = [one for one in metadata["finalizers"] if one != FINALIZER]
        version = metadata["resourceVersion"]
        self.api.merge(f"{NODES}/{metadata['name']}", {"metadata": {"finalizers": rest, "resourceVersion": version}})

    def _forget_passwords(self, present: set[str]) -> None:
        """A deleted Node's name is free again."""
        for secret in self.api.get(f"{SYSTEM}/secrets?labelSelector={LABEL.replace('/', '%2F')}")["items"]:
            node = secret["metadata"]["name"].removesuffix(".node-password.k3s")
            if node in present:
                self.seen.add(node)
                continue
            made = calendar.timegm(time.strptime(secret["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))
            if node in self.seen or time.time() - made > ORPHAN:
                self.api.delete(f"{SYSTEM}/secrets/{secret['metadata']['name']}")
                self.seen.discard(node)
