"""What a server has on its disk before its first process: authorities, certificates, tokens, kubeconfigs."""

import base64
import json
import secrets
from pathlib import Path

from . import agent, control_plane, objects, tokens
from .api import Api, ApiError
from .bootstrap import decrypt, spread
from .certificates import Leaf, kubeconfig, make_leaves
from .config import Config
from .etcd import Etcd
from .files import write
from .log import Fatal
from .paths import ETC

LOOPBACK = "https://127.0.0.1:6443"
PREPARING = "Error: preparing server: failed to bootstrap cluster data"
CHECKING = f"{PREPARING}: failed to check if bootstrap data has been initialized: failed to validate token"


def _write_encryption(config: Config) -> None:
    """A new encryption key: at the foundation of a cluster only, later it comes with the bootstrap data."""
    key = {"name": "aescbckey", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}
    rule = {"resources": ["secrets"], "providers": [{"aescbc": {"keys": [key]}}, {"identity": {}}]}
    text = {"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1", "resources": [rule]}
    write(config.paths.encryption, json.dumps(text))


def _check_shared(config: Config, data: dict[str, str]) -> None:
    own = objects.shared(config)
    different = [key for key in own if data.get(key, own[key]) != own[key]]
    if different:
        raise Fatal(
            f"{PREPARING}: failed to validate server configuration: critical configuration value mismatch between "
            f"servers: {', '.join(different)}"
        )


def _fetch_bootstrap(config: Config) -> None:
    """Bootstrap data of the cluster that this server joins. Raises Fatal in k3s's words."""
    url, token = config.text("server"), tokens.parse(config.text("token"))
    try:
        data = agent.public_data(url, token)
    except Fatal as failure:
        raise Fatal(f"{CHECKING}: {failure}") from None
    except (OSError, ApiError, KeyError) as failure:
        raise Fatal(f"{CHECKING}: failed to get CA certs: {failure}") from None
    _check_shared(config, data)
    write(config.paths.tls / "server-ca.crt", data["server-ca.crt"])
    api = Api(url, config.paths.tls / "server-ca.crt", token=tokens.api_token(token.secret, "server"))
    try:
        stored = objects.read_bundle(api.get(objects.BUNDLE))
    except ApiError as failure:
        refused = "401 Unauthorized" if failure.status == 401 else str(failure)
        raise Fatal(f"{PREPARING}: {url}/v1-k3s/server-bootstrap: {refused}") from None
    except OSError as failure:
        raise Fatal(f"{PREPARING}: {failure}") from None
    spread(decrypt(stored, token.secret), config.paths)


def _server_secret(config: Config, etcd: Etcd) -> str:
    """The server token's secret: configured, or from an earlier start, or, for a new cluster, made up."""
    stored = config.paths.token.read_text().strip() if config.paths.token.exists() else ""
    given = config.text("token") or stored
    if given:
        return tokens.parse(given).secret
    if config.text("server") and not etcd.exists:
        raise Fatal("K3S_TOKEN is required to join a cluster")
    return secrets.token_hex(16)


def write_tokens(config: Config, secret: str) -> None:
    """The token files, in their full form."""
    ca = (config.paths.tls / "server-ca.crt").read_text()
    write(config.paths.token, tokens.full(secret, "server", ca) + "\n")
    node_token = config.paths.server / "node-token"
    node_token.unlink(missing_ok=True)
    node_token.symlink_to(config.paths.token)
    write(config.paths.server / "agent-token", tokens.full(objects.agent_secret(config, secret), "node", ca) + "\n")


def _node_credentials(config: Config) -> None:
    """A server has the authorities: it makes its own node's certificates."""
    tls, folder = config.paths.tls, config.paths.agent
    shared = {name: (tls / name).read_text() for name in ("server-ca.crt", "client-ca.crt")}
    agent.write_authorities(folder, shared)
    subject = (f"system:node:{config.node}", "system:nodes")
    sans = (config.node, *config.items("node-ip"), *config.items("node-external-ip"), "127.0.0.1")
    leaves = [
        Leaf("client-kubelet", "client-ca", *subject),
        Leaf("serving-kubelet", "server-ca", *subject, sans, "serverAuth"),
        Leaf("client-kube-proxy", "client-ca", "system:kube-proxy"),
        Leaf("client-k3s-controller", "client-ca", "system:k3s-controller"),
    ]
    make_leaves(folder, tls, leaves)
    agent.write_kubeconfigs(config, control_plane.local(config))


def _write_admin_kubeconfig(config: Config) -> None:
    tls = config.paths.tls
    path = Path(config.text("write-kubeconfig") or ETC / "k3s.yaml")
    mode = int(config.text("write-kubeconfig-mode"), 8)
    kubeconfig(path, LOOPBACK, tls / "server-ca.crt", tls / "client-admin.crt", mode=mode, inline=True)


def prepare(config: Config, etcd: Etcd) -> tuple[str, str]:
    """Everything on disk before the first process; returns the server secret and the server to join, or ""."""
    secret = _server_secret(config, etcd)
    join = "" if etcd.exists else config.text("server")
    if not etcd.exists and not join and not config.flag("cluster-init"):
        raise Fatal("set cluster-init or server: the stand-in for k3s has no SQLite, only embedded etcd")
    if join:
        _fetch_bootstrap(config)
    control_plane.make_authorities(config)
    if config.flag("secrets-encryption") and not config.paths.encryption.exists() and not etcd.exists and not join:
        _write_encryption(config)
    etcd.make_certificates()
    control_plane.make_certificates(config)
    _node_credentials(config)
    write_tokens(config, secret)
    _write_admin_kubeconfig(config)
    return secret, join
