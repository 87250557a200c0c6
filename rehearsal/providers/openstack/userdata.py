"""User data on its way to Nova and into the state: never in clear in either an error or an output."""

import base64
import binascii
import hashlib


def encoded(text: str) -> str:
    """Base64, as Nova wants it; text that is base64 already is left as it is, like the published provider does."""
    compact = text.replace("\r", "").replace("\n", "")
    try:
        base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        return base64.b64encode(text.encode()).decode()
    return text


def digest(text: str) -> str:
    """What the published provider keeps in its state instead: SHA-1, hexadecimal. It is no secret-keeping hash."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
