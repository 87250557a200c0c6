"""What GitHub sends when a branch gets a commit, signed as GitHub signs."""

import hashlib
import hmac
import json


def signature(word: str, body: bytes) -> str:
    """Of a body, by the secret that both know."""
    return f"sha256={hmac.new(word.encode(), body, hashlib.sha256).hexdigest()}"


def push(
    word: str, repository: str, commit: str, branch: str = "main", *, signed: str | None = None, delivery: str = "1"
) -> tuple[bytes, dict[str, str]]:
    """Body and headers; `signed` is another signature than the right one."""
    said = {"ref": f"refs/heads/{branch}", "after": commit, "deleted": False, "repository": {"full_name": repository}}
    body = json.dumps(said).encode()
    return body, {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": signature(word, body) if signed is None else signed,
    }
