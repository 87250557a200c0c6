"""SSH host keys: every machine its own, all from one generated secret of the stack. Pure arithmetic.

A key belongs to a place, site and address, and not to a name: a renamed node keeps it.
"""

import base64
import struct
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEED_BYTES = 32
KIND = b"ssh-ed25519"
BLOCK, LINE = 8, 70


class HostKey(NamedTuple):
    """A key pair as sshd and its clients write it."""

    private: str
    """OpenSSH private key text."""
    public: str
    """One line: type and base64 text."""


def host_key(secret: str, site: str, address: str) -> HostKey:
    """Derive the ED25519 key of a place (HKDF, RFC 5869): one key tells nothing about the others or the secret."""
    derivation = HKDF(SHA256(), SEED_BYTES, salt=b"leasehold ssh host key", info=f"{site} {address}".encode())
    seed = derivation.derive(secret.encode())
    point = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    public = _string(KIND) + _string(point)
    return HostKey(_openssh(seed, point, public), f"{KIND.decode()} {base64.b64encode(public).decode()}")


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _openssh(seed: bytes, point: bytes, public: bytes) -> str:
    """Write the private half (OpenSSH, PROTOCOL.key).

    The library writes random check bytes: user data would differ in every run, and replace every server.
    """
    check = struct.pack(">II", 0, 0)
    private = check + public + _string(seed + point) + _string(b"")
    private += bytes(range(1, -len(private) % BLOCK + 1))
    key = b"openssh-key-v1\0" + _string(b"none") * 2 + _string(b"") + struct.pack(">I", 1)
    text = base64.b64encode(key + _string(public) + _string(private)).decode()
    lines = [text[i : i + LINE] for i in range(0, len(text), LINE)]
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])
