"""Evict this node's pods with its kubelet's credential: evict.py K3S KUBECONFIG NODE; bound: EVICT_SECONDS.

`kubectl drain` asks for DaemonSets, which a kubelet may not read. Ends with 1 when pods are left.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

K3S, KUBECONFIG, NODE = sys.argv[1:]


def kubectl(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run k3s's kubectl as this node; raises TimeoutExpired after a minute."""
    command = [K3S, "kubectl", "--kubeconfig", KUBECONFIG, "--request-timeout=20s", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def own_pods() -> Iterator[dict[str, Any]]:
    """Pods that must leave: not a DaemonSet's, not static, not ended."""
    listed = kubectl("get", "--raw", f"/api/v1/pods?fieldSelector=spec.nodeName={NODE}")
    if listed.returncode:
        raise RuntimeError(listed.stderr.strip())
    for pod in json.loads(listed.stdout)["items"]:
        meta = pod["metadata"]
        owners = {owner["kind"] for owner in meta.get("ownerReferences", [])}
        static = "kubernetes.io/config.mirror" in meta.get("annotations", {})
        if "DaemonSet" not in owners and not static and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            yield meta


def evict(meta: dict[str, Any]) -> None:
    """Ask once; a disruption budget may refuse (429), then the next round asks again."""
    target = {"name": meta["name"], "namespace": meta["namespace"]}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": target})
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
    done = kubectl("create", "--raw", path, "-f", "-", stdin=body)
    if done.returncode and "NotFound" not in done.stderr:
        print(f"{meta['namespace']}/{meta['name']} stays for now: {done.stderr.strip().splitlines()[-1]}", flush=True)


def main() -> int:
    """Ask again every two seconds, until all are gone or the time is up."""
    deadline = time.monotonic() + float(os.environ["EVICT_SECONDS"])
    while time.monotonic() < deadline:
        try:
            left = list(own_pods())
            if not left:
                return 0
            for meta in left:
                if "deletionTimestamp" not in meta:
                    evict(meta)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"cannot evict: {error}", flush=True)
        time.sleep(2)
    return 1


sys.exit(main())
