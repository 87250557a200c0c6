"""Where k3s keeps its files."""

from dataclasses import dataclass
from pathlib import Path

ETC = Path("/etc/rancher/k3s")
NODE_PASSWORD = Path("/etc/rancher/node/password")
RUN = Path("/run/k3s")
SOCKET = RUN / "containerd" / "containerd.sock"
KUBELET_ROOT = Path("/var/lib/kubelet")


@dataclass(frozen=True)
class Paths:
    """The data directory and its parts."""

    data: Path = Path("/var/lib/rancher/k3s")

    @property
    def server(self) -> Path:
        """A server's own files."""
        return self.data / "server"

    @property
    def agent(self) -> Path:
        """Every node's files: kubelet, containerd, CNI."""
        return self.data / "agent"

    @property
    def tls(self) -> Path:
        """Certificates and keys of a server."""
        return self.server / "tls"

    @property
    def cred(self) -> Path:
        """Kubeconfigs and the encryption configuration of a server."""
        return self.server / "cred"

    @property
    def db(self) -> Path:
        """etcd's files: the data, the member's name, the default place of snapshots."""
        return self.server / "db"

    @property
    def etcd(self) -> Path:
        """etcd's data directory."""
        return self.db / "etcd"

    @property
    def token(self) -> Path:
        """The server token in its full form."""
        return self.server / "token"

    @property
    def encryption(self) -> Path:
        """The API server's encryption configuration; absent where secrets are stored in the clear."""
        return self.cred / "encryption-config.json"

    @property
    def manifests(self) -> Path:
        """Manifests that the server applies and keeps applied."""
        return self.server / "manifests"

    @property
    def images(self) -> Path:
        """Image archives that are imported before the kubelet starts."""
        return self.agent / "images"
