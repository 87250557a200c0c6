"""Stands in for Argo CD: its server, with its one account; the other parts answer that they are there, and do nothing.

The login is the real one: the password is compared with the hash in the Secret, and a session is signed with the key
beside it.
"""

import base64
import ctypes
import hmac
import json
import sys
import threading
import time
from http import HTTPStatus
from typing import Any

from rehearsal.programs.argo import applications, web
from rehearsal.programs.argo.web import Answer, Request
from rehearsal.programs.kube import ARGO, Api, core, custom, own_space, say

SECRET = "argocd-secret"  # noqa: S105  the name of a Secret
ADMIN = "admin"
SECONDS = 24 * 3600
PAGE = "<!doctype html><title>Argo CD</title><p>The rehearsal's stand-in, which has no pages.</p>\n"
KINDS = {"applications": "applications", "projects": "appprojects"}
OPEN = {"/healthz": "ok\n", "/api/version": {"Version": "stand-in"}}
Object = dict[str, Any]


def settings() -> dict[str, str]:
    """The Secret's values, as they are now: another password counts at once."""
    found = Api().get(core(own_space(), "secrets", SECRET)) or {}
    return {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}


def right(password: str, digest: str) -> bool:
    """Whether a password has a bcrypt hash. The system's own library knows them; Python's has no module for it."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    made = library.crypt(password.encode(), digest.encode()) or b""
    return digest.startswith("$2") and hmac.compare_digest(made, digest.encode())


def _signed(text: str, key: str) -> str:
    return hmac.new(key.encode(), text.encode(), "sha256").hexdigest()


def session(key: str, until: float) -> str:
    """A token of the administrator."""
    text = f"{ADMIN}:{int(until)}"
    return base64.urlsafe_b64encode(f"{text}:{_signed(text, key)}".encode()).decode()


def valid(token: str, key: str, now: float) -> bool:
    """Whether a token was made with this key, and has not ended."""
    try:
        user, until, mark = base64.urlsafe_b64decode(token).decode().split(":")
    except ValueError:
        return False
    return bool(key) and hmac.compare_digest(mark, _signed(f"{user}:{until}", key)) and now < int(until)


def _refused(message: str) -> Answer:
    return Answer(HTTPStatus.UNAUTHORIZED, {"error": message, "code": 16, "message": message})


def handle(request: Request) -> Answer:
    """Answer what is open, log in, and list what there is to whoever is known."""
    if request.path in OPEN:
        return Answer(HTTPStatus.OK, OPEN[request.path])
    if not request.path.startswith("/api/"):
        return Answer(HTTPStatus.OK, PAGE)
    known = settings()
    if request.path == "/api/v1/session" and request.method == "POST":
        return login(request.body, known)
    return lists(request, known)


def login(body: bytes, known: dict[str, str]) -> Answer:
    """A session for the right password."""
    try:
        asked = json.loads(body)
    except ValueError:
        asked = {}
    if asked.get("username") == ADMIN and right(str(asked.get("password")), known.get("admin.password", "")):
        return Answer(HTTPStatus.OK, {"token": session(known["server.secretkey"], time.time() + SECONDS)})
    return _refused("Invalid username or password")


def lists(request: Request, known: dict[str, str]) -> Answer:
    """What there is, for a session."""
    cookies = dict(part.strip().partition("=")[::2] for part in str(request.headers.get("Cookie") or "").split(";"))
    if not valid(request.token or cookies.get("argocd.token", ""), known.get("server.secretkey", ""), time.time()):
        return _refused("no session information")
    kind = request.path.removeprefix("/api/v1/")
    if request.method != "GET" or kind not in KINDS:
        return Answer(HTTPStatus.NOT_IMPLEMENTED, {"error": "not part of the rehearsal's stand-in", "code": 12})
    return Answer(HTTPStatus.OK, {"items": Api().list(custom(own_space(), KINDS[kind], version=ARGO))})


def ports(arguments: list[str]) -> list[int]:
    """Those of the options, such as --metrics-port=8082 and --probe-addr=:8081."""
    values = [word.partition("=")[2].removeprefix(":") for word in arguments if "port=" in word or "addr=" in word]
    return [int(value) for value in values]


def main(part: str, arguments: list[str]) -> None:
    """Run one part of Argo CD."""
    say(f"this is the rehearsal's stand-in for {part}")
    page = web.status_page(lambda: f'argocd_info{{version="stand-in",part="{part}"}} 1\n')
    first, *others = ports(arguments)
    for port in others:
        web.serve(port, page, wait=False)
    if part == "argocd-application-controller":
        threading.Thread(target=applications.run, daemon=True).start()
    web.serve(first, handle if part == "argocd-server" else page)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
