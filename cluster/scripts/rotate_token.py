"""Give the cluster a new server token: rotate_token.py SERVER_FOLDER FILE_OF_THE_NEW_TOKEN.

`k3s token rotate` takes the new token as an argument, which everybody on the machine may read. So this makes the one
call that it makes (k3s: pkg/cli/token), with the token in the body.
"""

import base64
import json
import pathlib
import ssl
import sys
import urllib.error
import urllib.request

FOLDER, FILE = (pathlib.Path(word) for word in sys.argv[1:])
URL = "https://127.0.0.1:6443/v1-k3s/token"


def password(text: str) -> str:
    """Return the secret part of a token, K10...::user:PASSWORD or bare."""
    return text.strip().rpartition(":")[2]


def ask(old: str, new: str) -> int:
    """Return the HTTP status of k3s's answer."""
    credentials = base64.b64encode(f"server:{old}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    body = json.dumps({"newToken": new}).encode()
    request = urllib.request.Request(URL, data=body, headers=headers, method="PUT")
    context = ssl.create_default_context(cafile=str(FOLDER / "tls" / "server-ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:  # noqa: S310  the URL is a constant
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def main() -> int:
    """Rotate; 0 when k3s took it."""
    old, new = password((FOLDER / "token").read_text()), password(FILE.read_text())
    status = ask(old, new)
    print(f"k3s answered {status}", flush=True)
    return 0 if status == 200 else 1


sys.exit(main())
