"""Restart the registry's pods, one after another, and wait until each is back.

The writer frees the space of deleted images before it serves: only then nothing is being pushed, of which a collection
would take away what no manifest names yet. And every pod reads its certificate at its start only.
"""

import json
import os
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SECONDS = 1800.0
"""Bound of one restart: a large registry is searched through first."""
PAUSE = 2.0


def ask(method: str, pod: str) -> dict[str, Any]:
    """A request about a pod of this namespace; empty where there is none."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    namespace, token = ((ACCOUNT / name).read_text() for name in ("namespace", "token"))
    url = f"https://{host}:{port}/api/v1/namespaces/{namespace}/pods/{pod}"
    request = Request(url, method=method, headers={"Authorization": f"Bearer {token}"})
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urlopen(request, timeout=30, context=trusted) as answer:  # noqa: S310  https, above
            found: dict[str, Any] = json.load(answer)
            return found
    except HTTPError as problem:
        if problem.code == 404:
            return {}
        raise


def ready(pod: dict[str, Any]) -> bool:
    """Whether a pod serves."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def restart(pod: str) -> bool:
    """Delete a pod; whether its successor serves in time."""
    before = ask("DELETE", pod).get("metadata", {}).get("uid")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = ask("GET", pod)
        if found and found["metadata"]["uid"] != before and ready(found):
            print(f"done: {pod} restarted", flush=True)
            return True
        time.sleep(PAUSE)
    print(f"{pod} is not back after {SECONDS:.0f} s: kubectl describe pod {pod}", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(0 if all(restart(pod) for pod in sys.argv[1:]) else 1)
