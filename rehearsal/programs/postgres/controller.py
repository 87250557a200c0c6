"""Stand-in for CloudNativePG's operator: makes what Clusters ask for, and decides which instance is the primary."""

import base64
import json
import os
import secrets
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rehearsal.programs.kube import (
    BARMAN,
    CLUSTER,
    INSTANCE,
    ROLE,
    Api,
    Object,
    condition,
    core,
    custom,
    forever,
    now,
    say,
    with_condition,
)
from rehearsal.programs.postgres import known, objects, schedule, settings

SIDECAR = "barman-cloud-stand-in"
"""ConfigMap of the operator's namespace by which the plugin says its sidecar's image."""
FAILOVER_SECONDS = 5.0
INTERVAL = 1.0
HEALTHY = "Cluster in healthy state"


def ready(pod: Object) -> bool:
    """Whether a pod serves."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    serving = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return serving and "deletionTimestamp" not in pod["metadata"]


def successor(states: dict[str, dict[str, Any]], replicas: int, number: int) -> str | None:
    """Who takes over: the standby with the most log, if so many answer that one of them has every acknowledged commit.

    `replicas` are there in all, and `number` of them had a commit before it was acknowledged.
    """
    answering = {name: state["position"] for name, state in states.items() if state.get("standby")}
    if len(answering) <= replicas - max(number, 1):
        return None
    return max(sorted(answering), key=lambda name: answering[name], default=None)


class Controller:
    """The operator for one namespace."""

    def __init__(self, api: Api, space: str, own: str) -> None:
        """`own` is the operator's namespace."""
        self._api, self._space, self._own = api, space, own
        self._failing: dict[str, float] = {}

    def reconcile(self) -> None:
        """Every Cluster once."""
        for cluster in self._api.list(custom(self._space, "clusters")):
            if "deletionTimestamp" not in cluster["metadata"]:
                self._cluster(cluster)
        for item in self._api.list(custom(self._space, "scheduledbackups")):
            self._scheduled(item)

    def _path(self, cluster: Object) -> str:
        return custom(self._space, "clusters", cluster["metadata"]["name"])

    def _refuse(self, cluster: Object, text: str) -> None:
        status = cluster.get("status") or {}
        if status.get("phaseReason") != text:
            say(f"Cluster {cluster['metadata']['name']}: {text}")
            broken = condition("Ready", holds=False, reason="Refused", message=text)
            change = {"phase": "Refused", "phaseReason": text, "conditions": with_condition(status, broken)}
            self._api.status(self._path(cluster), change)

    def _cluster(self, cluster: Object) -> None:
        spec = cluster["spec"]
        if refused := known.refusal(spec, known.CLUSTER):
            self._refuse(cluster, refused)
            return
        # A cluster that only begins with an archive needs the plugin too.
        archive, sidecar, store = settings.archiver(spec) or settings.source(spec), "", None
        if archive:
            described = self._api.get(core(self._own, "configmaps", SIDECAR))
            store = self._api.get(custom(self._space, "objectstores", archive[0], BARMAN))
            if described is None or store is None:
                missing = "plugin barman-cloud.cloudnative-pg.io" if described is None else f"ObjectStore {archive[0]}"
                self._refuse(cluster, f"{missing} is not there")
                return
            sidecar = described["data"]["image"]
        self._ground(cluster)
        pods = self._instances(cluster, sidecar, store)
        self._decide(cluster, pods)
        self._report(cluster, pods)

    def _ground(self, cluster: Object) -> None:
        name = cluster["metadata"]["name"]
        wanted = [(core(self._space, "services"), service) for service in objects.services(cluster)]
        wanted += objects.account(cluster)
        if cluster["spec"].get("enablePDB", True):
            wanted.append((f"/apis/policy/v1/namespaces/{self._space}/poddisruptionbudgets", objects.budget(cluster)))
        for path, item in wanted:
            if self._api.get(f"{path}/{item['metadata']['name']}") is None:
                self._api.create(path, item)
        if self._api.get(core(self._space, "secrets", f"{name}-replication")) is None:
            made = objects.owned(cluster, "Secret", "v1", f"{name}-replication")
            made["data"] = {"password": base64.b64encode(secrets.token_urlsafe(32).encode()).decode()}
            self._api.create(core(self._space, "secrets"), made)

    def _names(self, cluster: Object) -> list[str]:
        name = cluster["metadata"]["name"]
        return [f"{name}-{number}" for number in range(1, cluster["spec"]["instances"] + 1)]

    def _primary(self, cluster: Object) -> str:
        status = cluster.get("status") or {}
        return str(status.get("targetPrimary") or self._names(cluster)[0])

    def _instances(self, cluster: Object, sidecar: str, store: Object | None) -> dict[str, Object]:
        selector = f"?labelSelector={CLUSTER}%3D{cluster['metadata']['name']}"
        found = self._api.list(core(self._space, "pods") + selector)
        pods = {pod["metadata"]["labels"][INSTANCE]: pod for pod in found if INSTANCE in pod["metadata"]["labels"]}
        primary = self._primary(cluster)
        replaced = False
        # The others first: the primary is made anew when somebody could take over.
        for name in sorted(self._names(cluster), key=lambda name: name == primary):
            role = "primary" if name == primary else "replica"
            wanted = objects.pod(cluster, name, role, sidecar, store)
            pod = pods.get(name)
            if pod is None:
                if role == "replica" and not ready(pods.get(primary) or {"metadata": {}}):
                    continue  # there is nothing yet that it could copy
                if self._api.get(core(self._space, "persistentvolumeclaims", name)) is None:
                    self._api.create(core(self._space, "persistentvolumeclaims"), objects.claim(cluster, name))
                if self._api.create(core(self._space, "pods"), wanted):
                    say(f"done: made pod {name}, {role}")
            elif (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
                self._api.delete(core(self._space, "pods", name), 0)
            elif pod["metadata"]["labels"].get(ROLE) != role:
                self._api.merge(core(self._space, "pods", name), {"metadata": {"labels": {ROLE: role, "role": role}}})
            elif pod["metadata"]["annotations"].get(objects.HASH) != wanted["metadata"]["annotations"][objects.HASH]:
                others = all(ready(pods[other]) for other in pods if other != name)
                if not replaced and others and "deletionTimestamp" not in pod["metadata"]:
                    say(f"pod {name} is made anew, since what it is made of has changed")
                    self._api.delete(core(self._space, "pods", name))
                    replaced = True
        for name, pod in pods.items():
            if name not in self._names(cluster) and name != primary and "deletionTimestamp" not in pod["metadata"]:
                self._api.delete(core(self._space, "pods", name))
                self._api.delete(core(self._space, "persistentvolumeclaims", name))
        return pods

    def _decide(self, cluster: Object, pods: dict[str, Object]) -> None:
        """Name the first primary; and another one, when it has been away for some seconds and others are there."""
        status, path, primary = cluster.get("status") or {}, self._path(cluster), self._primary(cluster)
        if not status.get("targetPrimary"):
            change = {
                "targetPrimary": primary,
                "targetPrimaryTimestamp": now(),
                "instances": cluster["spec"]["instances"],
            }
            self._api.status(path, {**change, "instanceNames": self._names(cluster), "phase": "Setting up primary"})
            return
        uid = cluster["metadata"]["uid"]
        if (
            cluster["spec"]["instances"] == 1
            or status.get("currentPrimary") != primary
            or ready(pods.get(primary) or {"metadata": {}})
        ):
            self._failing.pop(uid, None)
            return
        if time.monotonic() - self._failing.setdefault(uid, time.monotonic()) < FAILOVER_SECONDS:
            return
        states = {name: self._state(pod) for name, pod in pods.items() if name != primary}
        wanted = cluster["spec"]["postgresql"].get("synchronous") or {}
        chosen = successor(states, cluster["spec"]["instances"] - 1, int(wanted.get("number", 0)))
        if chosen is None:
            say(f"the primary {primary} is away, and too few standbys answer: {json.dumps(states)}")
            return
        say(f"done: {chosen} takes over from {primary}")
        self._api.status(path, {"targetPrimary": chosen, "targetPrimaryTimestamp": now(), "phase": "Failing over"})
        # The old one is not to take writes again, should it only have been slow.
        self._api.delete(core(self._space, "pods", primary), 0)
        self._failing.pop(uid, None)

    def _state(self, pod: Object) -> dict[str, Any]:
        address = (pod.get("status") or {}).get("podIP")
        try:
            with urllib.request.urlopen(f"http://{address}:8000/pg/status", timeout=2) as answer:
                found: dict[str, Any] = json.loads(answer.read())
                return found
        except (OSError, ValueError):
            return {}

    def _report(self, cluster: Object, pods: dict[str, Object]) -> None:
        names = self._names(cluster)
        count = sum(ready(pods[name]) for name in names if name in pods)
        status = (self._api.get(self._path(cluster)) or {}).get("status") or {}
        settled = status.get("currentPrimary") == status.get("targetPrimary")
        whole = count == len(names) and settled
        short = f"{count} of {len(names)} instances are ready"
        text = HEALTHY if whole else f"{short}, the primary is {status.get('currentPrimary')}"
        entry = condition("Ready", holds=whole, reason="ClusterIsReady" if whole else "ClusterIsNotReady", message=text)
        found = {
            "phase": HEALTHY if whole else "Waiting for the instances to become active",
            "phaseReason": "" if whole else text,
            "instances": len(names),
            "instanceNames": names,
            "readyInstances": count,
            "image": cluster["spec"]["imageName"],
            "writeService": f"{cluster['metadata']['name']}-rw",
            "readService": f"{cluster['metadata']['name']}-r",
        }
        held: Object = next((c for c in status.get("conditions") or [] if c["type"] == "Ready"), {})
        if any(status.get(key) != value for key, value in found.items()) or held.get("status") != entry["status"]:
            self._api.status(self._path(cluster), {**found, "conditions": with_condition(status, entry)})

    def _scheduled(self, item: Object) -> None:
        spec, status = item["spec"], item.get("status") or {}
        path = custom(self._space, "scheduledbackups", item["metadata"]["name"])
        if refused := known.refusal(spec, known.SCHEDULED):
            if status.get("error") != refused:
                self._api.status(path, {"error": refused})
            return
        if spec.get("suspend"):
            return
        last = status.get("lastCheckTime")
        moment = datetime.now(UTC)
        made = item["metadata"]["creationTimestamp"]
        since = datetime.fromisoformat((last or made).replace("Z", "+00:00"))
        if (last is None and spec.get("immediate")) or schedule.due(spec["schedule"], since, moment):
            name = f"{item['metadata']['name']}-{moment.strftime('%Y%m%d%H%M%S')}"
            owner = {"apiVersion": item["apiVersion"], "kind": "ScheduledBackup", "name": item["metadata"]["name"]}
            backup = {
                "apiVersion": item["apiVersion"],
                "kind": "Backup",
                "metadata": {"name": name, "ownerReferences": [{**owner, "uid": item["metadata"]["uid"]}]},
                "spec": {key: spec[key] for key in ("cluster", "method", "pluginConfiguration") if key in spec},
            }
            self._api.create(custom(self._space, "backups"), backup)
            self._api.status(path, {"lastCheckTime": now(), "lastScheduleTime": now()})
            say(f"done: asked for backup {name}")
        elif last is None or (moment - since).total_seconds() > 30:
            self._api.status(path, {"lastCheckTime": now()})


def main() -> None:
    """Reconcile until ended."""
    say("a stand-in of the rehearsal for CloudNativePG's operator")
    own = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text()
    controller = Controller(Api(), os.environ["WATCH_NAMESPACE"], own)
    forever("operator", INTERVAL, controller.reconcile)


if __name__ == "__main__":
    main()
