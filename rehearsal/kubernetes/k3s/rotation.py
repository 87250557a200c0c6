"""A new server token for the whole cluster."""

import secrets

from . import bootstrap, control_plane, objects, server_files
from .config import Config
from .etcd import Etcd


def rotate(config: Config, old: str, new: str = "") -> None:
    """Replace the server token's secret in etcd, in the API and on this server's disk; "" makes one up.

    Other servers need the new one at their next start, and so do agents that have no token of their own.
    Raises Fatal if `old` is not the cluster's.
    """
    new = new or secrets.token_hex(16)
    bootstrap.rotate(Etcd(config).ctl, old, new)
    api = control_plane.admin(config)
    objects.apply_tokens(api, config, new)
    server_files.write_tokens(config, new)
