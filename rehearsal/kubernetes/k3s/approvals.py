"""Certificates for agents: a server checks each request and the node's password, and approves or denies it.

kube-controller-manager signs what is approved. As in k3s, a new machine may not take the name of an old one until the
old Node is deleted; the server compares a password that the node made at its first start.
"""

import base64
import re

from . import log
from .api import CSRS, SYSTEM, Api, ApiError, Object, Worker
from .files import CommandError, digest, run
from .objects import AGENTS
from .processes import Group

NODE, PASSWORD = "k3s.io/node-name", "k3s.io/node-password-hash"  # names of annotations
LABEL = "k3s.io/node-password"
CLIENT_NAMES = ("system:kube-proxy", "system:k3s-controller")
REJECTED = (
    "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server "
    "node-passwd entry, try enabling a unique node name with the --with-node-id flag"
)


def secret_name(node: str) -> str:
    """The Secret with the hash of a node's password."""
    return f"{node}.node-password.k3s"


def subject_allowed(signer: str, subject: str, node: str) -> bool:
    """Whether an agent named `node` may have this subject, in openssl's `O = x, CN = y`, from this signer."""
    if signer in ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"):
        return subject == f"O = system:nodes, CN = system:node:{node}"
    return signer == "kubernetes.io/kube-apiserver-client" and subject in [f"CN = {name}" for name in CLIENT_NAMES]


def password_accepted(api: Api, node: str, password_hash: str) -> bool:
    """Compare a node's password with the one that the name is held by; the first holds it."""
    wanted = digest(password_hash)
    found = api.find(f"{SYSTEM}/secrets/{secret_name(node)}")
    if found is None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret_name(node), "labels": {LABEL: "true"}},
            "immutable": True,
            "stringData": {"hash": wanted},
        }
        try:
            found = api.call("POST", f"{SYSTEM}/secrets", body)
        except ApiError as failure:
            if failure.status != 409:
                raise
            found = api.get(f"{SYSTEM}/secrets/{secret_name(node)}")
    return base64.b64decode(found["data"]["hash"]).decode() == wanted


class Approvals(Worker):
    """Decides over the requests of agents."""

    def __init__(self, group: Group, api: Api) -> None:
        """`api` has all rights."""
        super().__init__(group, "agent-certificates", api, CSRS)

    def work(self) -> None:
        """Decide over all requests that wait."""
        for request in self.api.get(CSRS)["items"]:
            if request.get("status", {}).get("conditions") or AGENTS not in request["spec"].get("groups", []):
                continue
            reason = self._refusal(request)
            condition = {
                "type": "Denied" if reason else "Approved",
                "status": "True",
                "reason": "k3s",
                "message": reason or "node password verified",
            }
            request.setdefault("status", {})["conditions"] = [condition]
            try:
                self.api.call("PUT", f"{CSRS}/{request['metadata']['name']}/approval", request)
            except ApiError as failure:
                if failure.status not in (404, 409):  # another server was faster
                    raise

    def _refusal(self, request: Object) -> str:
        notes = request["metadata"].get("annotations", {})
        node, password = notes.get(NODE, ""), notes.get(PASSWORD, "")
        text = base64.b64decode(request["spec"]["request"]).decode(errors="replace")
        try:
            shown = run(["openssl", "req", "-noout", "-subject"], stdin=text)
        except CommandError:
            return "the request cannot be read"
        subject = re.sub(r"^subject\s*=\s*", "", shown.strip())
        if not node or not subject_allowed(request["spec"]["signerName"], subject, node):
            return f"an agent may not have {subject} from {request['spec']['signerName']}"
        if not password_accepted(self.api, node, password):
            log.error(f"unable to verify password for node {node}: hash does not match")
            return REJECTED
        return ""
