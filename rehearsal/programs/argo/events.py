"""Stands in for Argo Events: its controller, the pods of a source, and the pods of a sensor.

The controller makes a Deployment and a Service for each EventSource and each Sensor. A source posts an event to the
Services of the sensors that wait for it, and says so only when each has taken it: the bus is not used. See `hooks` for
sources and `sensors` for sensors. Fields that are not honoured are refused in the object's status.
"""

import base64
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rehearsal.programs.argo import hooks, sensors, triggers, web
from rehearsal.programs.argo.counters import metrics
from rehearsal.programs.argo.hooks import SECRETS, TAKING
from rehearsal.programs.kube import ARGO, Api, Object, core, custom, forever, say

SOURCES, SENSORS, BUSES = "eventsources", "sensors", "eventbus"
METRICS = 7777


def unknown(kind: str, spec: Mapping[str, Any]) -> list[str]:
    """Fields that this stand-in would not honour."""
    if kind == SOURCES:
        return hooks.unknown(spec)
    return triggers.unknown(spec) if kind == SENSORS else sorted(set(spec) - {"jetstreamExotic"})


def labels(kind: str, name: str) -> dict[str, str]:
    """Of an object's pods, as Argo Events has them."""
    noun = "eventsource" if kind == SOURCES else "sensor"
    return {"controller": f"{noun}-controller", f"{noun}-name": name, "owner-name": name}


def service_name(kind: str, name: str) -> str:
    """Name of an object's Service."""
    return f"{name}-eventsource-svc" if kind == SOURCES else f"{name}-sensor-svc"


def deployment(kind: str, item: Mapping[str, Any], image: str, listening: Sequence[Object] = ()) -> Object:
    """The pods of a webhook, which knows the sensors that wait for its events, or of a sensor."""
    name, space, spec = item["metadata"]["name"], item["metadata"]["namespace"], item["spec"]
    template = spec.get("template") or {}
    mine = labels(kind, name)
    found = hooks.hooks(spec)
    secrets = {hook.secret[0] for hook in found if hook.secret}
    port = next((hook.port for hook in found), TAKING)
    told = {"metadata": {"name": name, "namespace": space}, "spec": spec}
    targets = {
        hook.event: [service_name(SENSORS, one) for one in waiting(listening, name, hook.event)] for hook in found
    }
    container = {
        "name": "main",
        "image": image,
        "command": ["python3", "-m", "rehearsal.programs.argo.events", "source" if kind == SOURCES else "sensor"],
        "env": [
            {"name": "OBJECT", "value": base64.b64encode(json.dumps(told).encode()).decode()},
            {"name": "TARGETS", "value": json.dumps(targets)},
        ],
        "ports": [{"name": "metrics", "containerPort": METRICS}, {"name": "events", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "metrics"}, "periodSeconds": 2},
        "volumeMounts": [{"name": f"secret-{one}", "mountPath": str(SECRETS / one)} for one in sorted(secrets)],
        **(template.get("container") or {}),
    }
    pod = {
        "serviceAccountName": template.get("serviceAccountName", "default"),
        "securityContext": template.get("securityContext") or {},
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [{"name": f"secret-{one}", "secret": {"secretName": one}} for one in sorted(secrets)],
    }
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{name}-{'eventsource' if kind == SOURCES else 'sensor'}",
            "namespace": space,
            "labels": mine,
            "ownerReferences": [owner(kind, item)],
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": mine},
            "template": {"metadata": {"labels": {**(metadata.get("labels") or {}), **mine}}, "spec": pod},
        },
    }


def owner(kind: str, item: Mapping[str, Any]) -> Object:
    """What an object goes with."""
    nouns = {SOURCES: "EventSource", SENSORS: "Sensor"}
    meta = item["metadata"]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": nouns[kind],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def service(kind: str, item: Mapping[str, Any]) -> Object:
    """The Service before them."""
    name, space = item["metadata"]["name"], item["metadata"]["namespace"]
    ports = item["spec"].get("service", {}).get("ports") if kind == SOURCES else None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(kind, name),
            "namespace": space,
            "labels": labels(kind, name),
            "ownerReferences": [owner(kind, item)],
        },
        "spec": {
            "selector": labels(kind, name),
            "ports": ports or [{"name": "events", "port": TAKING, "targetPort": TAKING}],
        },
    }


def reconcile(api: Api, space: str, image: str, applied: dict[str, Object]) -> None:
    """Make what the objects of a namespace ask for, if it is not as it was `applied`; say whether it is there."""
    listening = api.list(custom(space, SENSORS, version=ARGO))
    for kind in (BUSES, SOURCES, SENSORS):
        for item in api.list(custom(space, kind, version=ARGO)):
            path = custom(space, kind, item["metadata"]["name"], ARGO)
            strange = unknown(kind, item["spec"])
            ready, message = (
                not strange,
                f"not honoured by the rehearsal's stand-in: {', '.join(strange)}" if strange else "",
            )
            if ready and kind != BUSES:
                made = deployment(kind, item, image, listening)
                where = custom(space, "deployments", made["metadata"]["name"], "apps/v1")
                found = api.get(where)
                if found is None or made != applied.get(where):
                    api.apply(
                        core(space, "services", service_name(kind, item["metadata"]["name"])), service(kind, item)
                    )
                    api.apply(where, made)
                    applied[where] = made
                ready = bool(((found or {}).get("status") or {}).get("readyReplicas"))
            condition = {"type": "Deployed", "status": "True" if ready else "False", "message": message}
            if (item.get("status") or {}).get("conditions") != [condition]:
                api.status(path, {"conditions": [condition]})


def waiting(listening: Sequence[Object], source: str, event: str) -> list[str]:
    """Names of the sensors that an event concerns."""
    return [
        item["metadata"]["name"]
        for item in listening
        for dependency in item["spec"].get("dependencies") or []
        if (dependency["eventSourceName"], dependency["eventName"]) == (source, event)
    ]


def main(role: str) -> None:
    """Run one of the three."""
    web.serve(METRICS, web.status_page(metrics), wait=False)
    say("this is the rehearsal's stand-in for Argo Events")
    if role == "controller":
        space, image = os.environ["NAMESPACE"], os.environ["ARGO_EVENTS_IMAGE"]
        api, applied = Api(), dict[str, Object]()
        forever("controller", 2, lambda: reconcile(api, space, image, applied))
    item = json.loads(base64.b64decode(os.environ["OBJECT"]))
    if role == "source":
        hooks.source(item, json.loads(os.environ["TARGETS"]))
    else:
        sensors.sensor(item)


if __name__ == "__main__":
    main(sys.argv[1])
