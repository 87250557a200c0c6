"""Secrets at rest, in Pulumi's passphrase format, and kept out of everything that is shown."""

import base64
import os
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from rehearsal.engine.errors import BadInput

ITERATIONS = 1_000_000
_SALT_PARTS = 3
_VALUE_PARTS = 3
_SHORTEST = 8


@lru_cache(maxsize=8)
def _key(passphrase: str, salt: bytes) -> bytes:
    return PBKDF2HMAC(SHA256(), 32, salt, ITERATIONS).derive(passphrase.encode())


class Crypter:
    """AES-256-GCM under the key of one passphrase and one salt (`v1:SALT:v1:NONCE:PROOF`, as in `encryptionsalt`)."""

    def __init__(self, passphrase: str, salt: str, where: str) -> None:
        """Derive the key and prove it; BadInput names `where` when the passphrase is not the right one."""
        parts = salt.split(":", 2)
        if len(parts) != _SALT_PARTS or parts[0] != "v1":
            raise BadInput(f"{where}: the encryption salt is not of the form v1:SALT:v1:NONCE:PROOF")
        self.salt = salt
        try:
            self._aead = AESGCM(_key(passphrase, base64.b64decode(parts[1])))
            self.decrypt(parts[2])
        except ValueError:
            raise BadInput(f"{where}: the encryption salt is not of the form v1:SALT:v1:NONCE:PROOF") from None
        except InvalidTag:
            raise BadInput(
                f"{where}: wrong passphrase; set PULUMI_CONFIG_PASSPHRASE to the one it was made with"
            ) from None

    @classmethod
    def new(cls, passphrase: str) -> "Crypter":
        """Make a crypter with a fresh random salt."""
        salt = os.urandom(8)
        head = f"v1:{base64.b64encode(salt).decode()}"
        proof = _seal(AESGCM(_key(passphrase, salt)), "pulumi")
        return cls(passphrase, f"{head}:{proof}", "new state")

    def encrypt(self, text: str) -> str:
        """Encrypt under a fresh nonce: `v1:NONCE:CIPHERTEXT`."""
        return _seal(self._aead, text)

    def decrypt(self, text: str) -> str:
        """Decrypt what `encrypt` made."""
        parts = text.split(":")
        if len(parts) != _VALUE_PARTS:
            raise InvalidTag
        return self._aead.decrypt(base64.b64decode(parts[1]), base64.b64decode(parts[2]), None).decode()


def _seal(aead: AESGCM, text: str) -> str:
    nonce = os.urandom(12)
    sealed = aead.encrypt(nonce, text.encode(), None)
    return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"


_PUBLIC = frozenset({"host", "hostKey", "user"})
"""Parts of a connection, which is a secret as a whole for its key; errors must be able to say where they happened."""


class Redactor:
    """Takes every secret seen in a run, from 8 characters on, out of texts."""

    def __init__(self) -> None:
        """Start with no known secret."""
        self._known: set[str] = set()

    def learn(self, value: Any) -> None:
        """Remember the strings in a secret value; of keys and the like also each line, as errors quote lines."""
        if isinstance(value, dict):
            connection = "privateKey" in value
            for name, item in value.items():
                if not (connection and name in _PUBLIC):
                    self.learn(item)
        elif isinstance(value, list):
            for item in value:
                self.learn(item)
        elif isinstance(value, str):
            lines = [line for line in value.splitlines() if not line.startswith("-----")]
            self._known.update(text for text in (value, *lines) if len(text.strip()) >= _SHORTEST)

    def __call__(self, text: str) -> str:
        """Return the text without them, the longest first."""
        for secret in sorted((s for s in tuple(self._known) if s in text), key=len, reverse=True):
            text = text.replace(secret, "[secret]")
        return text
