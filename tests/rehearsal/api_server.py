"""A Kubernetes API server alone, on the loopback address: no node, everything else as in a cluster.

Pods stay as they were made: a test that needs one to run writes its status, as a kubelet would. Controllers run where a
test wants accounts to get their tokens, and namespaces to end.
"""

import base64
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from rehearsal.kubernetes import build
from rehearsal.programs import kube
from tests.rehearsal.cluster import Kubectl, until

SECONDS = 180
"""Bound of its start, which takes ten seconds on a computer that does nothing else."""
LOOPBACK = "127.0.0.1"


def _ports(count: int) -> list[int]:
    """Ports that are free now."""
    held = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def running(*, controllers: bool = False) -> Iterator[Kubectl]:
    """An empty one, for as long as it is used; the kubeconfig is an administrator's."""
    programs = {binary.name: binary for binary in build.kubernetes()}
    api, client, peer, health = _ports(4)
    with tempfile.TemporaryDirectory(prefix="leasehold-api-") as name:
        folder, token = Path(name), secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
        key = folder / "accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        store = f"http://{LOOPBACK}:{client}"
        etcd = {
            "data-dir": folder / "etcd",
            "listen-client-urls": store,
            "advertise-client-urls": store,
            "listen-peer-urls": f"http://{LOOPBACK}:{peer}",
            "initial-advertise-peer-urls": f"http://{LOOPBACK}:{peer}",
            "initial-cluster": f"default=http://{LOOPBACK}:{peer}",
        }
        options = {
            "etcd-servers": store,
            "secure-port": api,
            "bind-address": LOOPBACK,
            "cert-dir": folder / "tls",
            "token-auth-file": folder / "tokens.csv",
            "service-account-issuer": "https://leasehold.test",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.43.0.0/16",
            "authorization-mode": "RBAC",
            "allow-privileged": "true",
            # Nobody makes the accounts that pods would get.
            "disable-admission-plugins": "ServiceAccount",
        }
        manager = {
            "kubeconfig": folder / "kubeconfig",
            "service-account-private-key-file": key,
            "root-ca-file": folder / "tls" / "apiserver.crt",
            "secure-port": health,
            "bind-address": LOOPBACK,
            "cert-dir": folder / "tls-controllers",
            "leader-elect": "false",
        }
        processes = [
            _started(build.ETCD[0], etcd, folder / "log"),
            _started(programs["kube-apiserver"], options, folder / "log"),
        ]
        try:
            until("the certificate", (folder / "tls" / "apiserver.crt").exists, SECONDS)
            kubectl = Kubectl(_kubeconfig(folder, api, token))
            until("the API server", lambda: kubectl.run("get", "--raw", "/readyz") == "ok", SECONDS)
            if controllers:
                processes.append(_started(programs["kube-controller-manager"], manager, folder / "log"))
            yield kubectl
        finally:
            for process in reversed(processes):
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _started(program: build.Binary, options: Mapping[str, object], log: Path) -> "subprocess.Popen[bytes]":
    words = [str(build.build(program)), *(f"--{name}={value}" for name, value in options.items())]
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file)


def _kubeconfig(folder: Path, port: int, token: str) -> Path:
    authority = base64.b64encode((folder / "tls" / "apiserver.crt").read_bytes()).decode()
    cluster = {"server": f"https://{LOOPBACK}:{port}", "certificate-authority-data": authority}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    parts = {"clusters": [{"name": "x", "cluster": cluster}], "users": [{"name": "x", "user": {"token": token}}]}
    file = folder / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump({**parts, "contexts": [context], "current-context": "x"}))
    return file


def as_pod(kubectl: Kubectl, folder: Path, namespace: str, patch: pytest.MonkeyPatch) -> None:
    """Let stand-ins of this process reach the server as their pods would, with the rights of an administrator."""
    known = yaml.safe_load(kubectl.kubeconfig.read_text())
    cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
    (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    (folder / "token").write_text(user["token"])
    (folder / "namespace").write_text(namespace)
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    patch.setattr(kube, "ACCOUNT", folder)
    patch.setenv("KUBERNETES_SERVICE_HOST", host)
    patch.setenv("KUBERNETES_SERVICE_PORT", port)
