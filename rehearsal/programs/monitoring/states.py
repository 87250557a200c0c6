"""Stands in for kube-state-metrics: those of its metrics that the platform's rules and dashboards read.

It lists the objects every few seconds, instead of watching them.
"""

import argparse
import json
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERVER = "https://kubernetes.default.svc"
PAUSE = 10.0
"""Seconds between two listings."""
GROUPS = {
    **dict.fromkeys(("deployments", "statefulsets", "daemonsets"), "apis/apps/v1"),
    **dict.fromkeys(("cronjobs", "jobs"), "apis/batch/v1"),
}
PHASES = ("Pending", "Succeeded", "Failed", "Unknown", "Running")
UNITS = {"cpu": "core", "memory": "byte", "ephemeral_storage": "byte"}
SCALES = {
    **{f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", 1)},
    **{letter: 1000**power for power, letter in enumerate("kMGTPE", 1)},
    "m": Decimal("0.001"),
    "": 1,
}
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One value of a metric."""

    name: str
    labels: Mapping[str, str]
    value: float

    def line(self) -> str:
        """As Prometheus reads it."""
        text = ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.labels.items())
        return f"{self.name}{{{text}}} {self.value!r}"


def quantity(text: str) -> float:
    """A Kubernetes quantity, such as 250m or 1Gi, in its base unit."""
    found = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)([KMGTPE]i|[kMGTPEm]?)", str(text))
    try:
        return float(Decimal(found[1]) * SCALES[found[2]]) if found else 0.0
    except ArithmeticError:
        return 0.0


def seconds(text: str) -> float:
    """A time of the API, since 1970."""
    return datetime.fromisoformat(text).timestamp()


def _amounts(prefix: str, labels: Mapping[str, str], amounts: Mapping[str, str]) -> Iterator[Sample]:
    for resource, amount in amounts.items():
        name = re.sub(r"[^A-Za-z0-9_]", "_", resource)
        yield Sample(prefix, {**labels, "resource": name, "unit": UNITS.get(name, "integer")}, quantity(amount))


def _container(labels: Mapping[str, str], status: Object) -> Iterator[Sample]:
    prefix = "kube_pod_container_status"
    yield Sample(f"{prefix}_restarts_total", labels, status.get("restartCount", 0))
    yield Sample(f"{prefix}_ready", labels, float(bool(status.get("ready"))))
    state, last = status.get("state", {}), status.get("lastState", {}).get("terminated")
    if reason := state.get("waiting", {}).get("reason"):
        yield Sample(f"{prefix}_waiting_reason", {**labels, "reason": reason}, 1.0)
    if ended := state.get("terminated"):
        yield Sample(f"{prefix}_terminated_reason", {**labels, "reason": ended.get("reason", "")}, 1.0)
    if last:
        yield Sample(f"{prefix}_last_terminated_reason", {**labels, "reason": last.get("reason", "")}, 1.0)
        if last.get("finishedAt"):
            yield Sample(f"{prefix}_last_terminated_timestamp", labels, seconds(last["finishedAt"]))


def pods(item: Object) -> Iterator[Sample]:
    """Phase, containers and what they ask for."""
    meta, spec, status = item["metadata"], item["spec"], item.get("status", {})
    labels = {"namespace": meta["namespace"], "pod": meta["name"], "uid": meta["uid"]}
    for phase in PHASES:
        yield Sample("kube_pod_status_phase", {**labels, "phase": phase}, float(status.get("phase") == phase))
    for container in spec["containers"]:
        of = {**labels, "container": container["name"], "node": spec.get("nodeName", "")}
        for kind in ("limits", "requests"):
            amounts = container.get("resources", {}).get(kind, {})
            yield from _amounts(f"kube_pod_container_resource_{kind}", of, amounts)
    for known in status.get("containerStatuses", []):
        yield from _container({**labels, "container": known["name"]}, known)


def namespaces(item: Object) -> Iterator[Sample]:
    """When it was made."""
    meta = item["metadata"]
    yield Sample("kube_namespace_created", {"namespace": meta["name"]}, seconds(meta["creationTimestamp"]))


def nodes(item: Object) -> Iterator[Sample]:
    """What can be asked for, and whether it is ready."""
    labels = {"node": item["metadata"]["name"]}
    status = item.get("status", {})
    yield from _amounts("kube_node_status_allocatable", labels, status.get("allocatable", {}))
    for condition in status.get("conditions", []):
        for value in ("true", "false", "unknown"):
            held = float(condition["status"].lower() == value)
            of = {**labels, "condition": condition["type"], "status": value}
            yield Sample("kube_node_status_condition", of, held)


def cronjobs(item: Object) -> Iterator[Sample]:
    """When it was made, and when it last succeeded."""
    meta, status = item["metadata"], item.get("status", {})
    labels = {"namespace": meta["namespace"], "cronjob": meta["name"]}
    yield Sample("kube_cronjob_created", labels, seconds(meta["creationTimestamp"]))
    if last := status.get("lastSuccessfulTime"):
        yield Sample("kube_cronjob_status_last_successful_time", labels, seconds(last))


def jobs(item: Object) -> Iterator[Sample]:
    """Pods of it that ended well, and badly."""
    meta, status = item["metadata"], item.get("status", {})
    labels = {"namespace": meta["namespace"], "job_name": meta["name"]}
    for end in ("failed", "succeeded"):
        yield Sample(f"kube_job_status_{end}", labels, status.get(end, 0))


def persistentvolumeclaims(item: Object) -> Iterator[Sample]:
    """Its phase."""
    meta, status = item["metadata"], item.get("status", {})
    labels = {"namespace": meta["namespace"], "persistentvolumeclaim": meta["name"]}
    for phase in ("Lost", "Bound", "Pending"):
        of = {**labels, "phase": phase}
        yield Sample("kube_persistentvolumeclaim_status_phase", of, float(status.get("phase") == phase))


def resourcequotas(item: Object) -> Iterator[Sample]:
    """What is permitted, and used."""
    meta, status = item["metadata"], item.get("status", {})
    labels = {"namespace": meta["namespace"], "resourcequota": meta["name"]}
    for kind in ("hard", "used"):
        for resource, amount in status.get(kind, {}).items():
            yield Sample("kube_resourcequota", {**labels, "resource": resource, "type": kind}, quantity(amount))


def _workload(kind: str, item: Object, **counts: tuple[str, str]) -> Iterator[Sample]:
    # Each by the name of its metric, and where it is: "spec" or "status", and its name there.
    labels = {"namespace": item["metadata"]["namespace"], kind: item["metadata"]["name"]}
    for name, (where, key) in counts.items():
        yield Sample(f"kube_{kind}_{name}", labels, item.get(where, {}).get(key, 0))


_REPLICAS = {"status_replicas": ("status", "replicas"), "status_replicas_ready": ("status", "readyReplicas")}


def deployments(item: Object) -> Iterator[Sample]:
    """Replicas that are wanted, that are there, and that are ready."""
    return _workload("deployment", item, spec_replicas=("spec", "replicas"), **_REPLICAS)


def statefulsets(item: Object) -> Iterator[Sample]:
    """Replicas that are wanted, that are there, and that are ready."""
    return _workload("statefulset", item, replicas=("spec", "replicas"), **_REPLICAS)


def daemonsets(item: Object) -> Iterator[Sample]:
    """Pods that are wanted, and those that are ready."""
    return _workload(
        "daemonset",
        item,
        status_desired_number_scheduled=("status", "desiredNumberScheduled"),
        status_number_ready=("status", "numberReady"),
    )


KINDS = {
    found.__name__: found
    for found in (
        *(pods, namespaces, nodes, cronjobs, jobs, persistentvolumeclaims),
        *(resourcequotas, deployments, statefulsets, daemonsets),
    )
}


def text(samples: Iterable[Sample]) -> str:
    """The exposition of metrics: those of one name together."""
    by_name: dict[str, list[str]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample.line())
    return "".join(f"# TYPE {name} gauge\n" + "\n".join(lines) + "\n" for name, lines in sorted(by_name.items()))


def listed(resource: str) -> list[Object]:
    """Every object of a kind. Raises OSError."""
    url = f"{SERVER}/{GROUPS.get(resource, 'api/v1')}/{resource}?limit=5000"
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the API
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310  the API
        found: list[Object] = json.load(answer)["items"]
        return found


class Known:
    """The last metrics, made anew in the background: who asks does not wait for the API."""

    def __init__(self, resources: Sequence[str]) -> None:
        """Know nothing yet."""
        self._resources = resources
        self.exposed = b""

    def refresh(self) -> None:
        """List everything; what was known stays where the API does not answer."""
        try:
            found = text(s for kind in self._resources for item in listed(kind) for s in KINDS[kind](item))
            self.exposed = found.encode()
        except OSError as error:
            print(f"not refreshed: {error}", flush=True)

    def keep(self) -> None:
        """Go on for ever."""
        while True:
            self.refresh()
            time.sleep(PAUSE)


class Handler(BaseHTTPRequestHandler):
    """Metrics and health."""

    known: Known

    def do_GET(self) -> None:
        """Answer one request."""
        metrics = self.known.exposed
        answers = {"/metrics": metrics, "/readyz": b"OK" if metrics else b"", "/livez": b"OK", "/healthz": b"OK"}
        body = answers.get(self.path)
        if not body:
            self.send_error(404 if body is None else 503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Be quiet: it is asked twice a minute."""


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--resources", required=True)
    given = parser.parse_args()
    resources = given.resources.split(",")
    unknown = set(resources) - set(KINDS)
    if unknown:
        raise SystemExit(f"this stand-in has no metrics of {', '.join(sorted(unknown))}")
    print(f"a stand-in of the rehearsal for kube-state-metrics: {given.resources}", flush=True)
    Handler.known = Known(resources)
    threading.Thread(target=Handler.known.keep, daemon=True).start()
    ThreadingHTTPServer(("", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
