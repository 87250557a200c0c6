"""Stands in for Argo Events: its controller, the pods of a webhook, and the pods of a sensor.

The controller makes a Deployment and a Service for each EventSource and each Sensor. A webhook posts an event to the
Services of the sensors that wait for it, and says so only when each has taken it: the bus is not used. A sensor makes
the objects of its triggers with its own account. Fields that are not honoured are refused in the object's status.
"""

import base64
import copy
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rehearsal.programs.argo import web
from rehearsal.programs.argo.web import Answer, Request
from rehearsal.programs.kube import ARGO, Api, ApiError, Object, core, custom, forever, say

SOURCES, SENSORS, BUSES = "eventsources", "sensors", "eventbus"
METRICS, TAKING = 7777, 8099
SECRETS = Path("/secrets")
SOURCE_KEYS = {"eventBusName", "template", "service", "webhook", "replicas"}
HOOK_KEYS = {"endpoint", "method", "port", "maxPayloadSize", "authSecret"}
SENSOR_KEYS = {"eventBusName", "template", "dependencies", "triggers"}
TRIGGER_KEYS = {"template", "rateLimit", "retryStrategy"}
_counts: dict[str, int] = {}


def count(name: str, **labels: str) -> None:
    """One more."""
    text = ",".join(f'{key}="{value}"' for key, value in labels.items())
    key = f"{name}{{{text}}}"
    _counts[key] = _counts.get(key, 0) + 1


def metrics() -> str:
    """As Prometheus reads them."""
    return "".join(f"{key} {value}\n" for key, value in sorted(_counts.items()))


def unknown(kind: str, spec: Mapping[str, Any]) -> list[str]:
    """Fields that this stand-in would not honour."""
    if kind == SOURCES:
        inner = [key for hook in (spec.get("webhook") or {}).values() for key in set(hook) - HOOK_KEYS]
        return sorted({*(set(spec) - SOURCE_KEYS), *inner})
    if kind == SENSORS:
        inner = [key for trigger in spec.get("triggers") or [] for key in set(trigger) - TRIGGER_KEYS]
        other = [key for t in spec.get("triggers") or [] for key in set(t["template"]) - {"name", "k8s"}]
        return sorted({*(set(spec) - SENSOR_KEYS), *inner, *other})
    return sorted(set(spec) - {"jetstreamExotic"})


def labels(kind: str, name: str) -> dict[str, str]:
    """Of an object's pods, as Argo Events has them."""
    noun = "eventsource" if kind == SOURCES else "sensor"
    return {"controller": f"{noun}-controller", f"{noun}-name": name, "owner-name": name}


def service_name(kind: str, name: str) -> str:
    """Name of an object's Service."""
    return f"{name}-eventsource-svc" if kind == SOURCES else f"{name}-sensor-svc"


def secret_files(spec: Mapping[str, Any]) -> list[dict[str, str]]:
    """The keys of Secrets that a webhook compares with."""
    return [hook["authSecret"] for hook in (spec.get("webhook") or {}).values() if "authSecret" in hook]


def deployment(kind: str, item: Mapping[str, Any], image: str, sensors: Sequence[Object] = ()) -> Object:
    """The pods of a webhook, which knows the sensors that wait for its events, or of a sensor."""
    name, space, spec = item["metadata"]["name"], item["metadata"]["namespace"], item["spec"]
    template = spec.get("template") or {}
    mine = labels(kind, name)
    secrets = {entry["name"] for entry in secret_files(spec)}
    port = next((int(hook["port"]) for hook in (spec.get("webhook") or {}).values()), TAKING)
    told = {"metadata": {"name": name, "namespace": space}, "spec": spec}
    targets = {
        event: [service_name(SENSORS, one) for one in waiting(sensors, name, event)]
        for event in spec.get("webhook") or {}
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
    sensors = api.list(custom(space, SENSORS, version=ARGO))
    for kind in (BUSES, SOURCES, SENSORS):
        for item in api.list(custom(space, kind, version=ARGO)):
            path = custom(space, kind, item["metadata"]["name"], ARGO)
            strange = unknown(kind, item["spec"])
            ready, message = (
                not strange,
                f"not honoured by the rehearsal's stand-in: {', '.join(strange)}" if strange else "",
            )
            if ready and kind != BUSES:
                made = deployment(kind, item, image, sensors)
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


def waiting(sensors: Sequence[Object], source: str, event: str) -> list[str]:
    """Names of the sensors that an event concerns."""
    return [
        item["metadata"]["name"]
        for item in sensors
        for dependency in item["spec"].get("dependencies") or []
        if (dependency["eventSourceName"], dependency["eventName"]) == (source, event)
    ]


def admitted(request: Request, hook: Mapping[str, Any], secret: str) -> Answer | None:
    """What a request is refused with; None: it may post an event."""
    if request.method != hook["method"]:
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed\n")
    if not secret or not hmac.compare_digest(request.token.encode(), secret.encode()):
        return Answer(HTTPStatus.UNAUTHORIZED, "unauthorized\n")
    if len(request.body) > int(hook.get("maxPayloadSize", 1 << 20)):
        return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large\n")
    try:
        json.loads(request.body)
    except ValueError:
        return Answer(HTTPStatus.BAD_REQUEST, "the body is no JSON\n")
    return None


def source(item: Mapping[str, Any]) -> None:
    """Take events, and hand each to the sensors that are named for it."""
    name, space, spec = item["metadata"]["name"], item["metadata"]["namespace"], item["spec"]
    targets: dict[str, list[str]] = json.loads(os.environ["TARGETS"])
    hooks = {hook["endpoint"]: (event, hook) for event, hook in spec["webhook"].items()}

    def handle(request: Request) -> Answer:
        if request.path not in hooks:
            return Answer(HTTPStatus.NOT_FOUND, "not found\n")
        event, hook = hooks[request.path]
        wanted = hook["authSecret"]
        refused = admitted(request, hook, (SECRETS / wanted["name"] / wanted["key"]).read_text())
        if refused:
            return refused
        body = json.dumps({"id": str(uuid.uuid4()), "event": event, "source": name, "body": json.loads(request.body)})
        try:
            for target in targets[event]:
                post(f"http://{target}.{space}.svc:{TAKING}/", body.encode())
        except (urllib.error.URLError, OSError) as error:
            say(f"{event}: a sensor did not take it: {error}")
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "failed to publish\n")
        count("argo_events_events_sent_total", event_name=event, event_source_name=name)
        return Answer(HTTPStatus.OK, "success\n")

    port = next(int(hook["port"]) for hook in spec["webhook"].values())
    web.serve(port, handle)


def post(url: str, body: bytes) -> None:
    """Send an event within the namespace."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  a Service of ours
    with urllib.request.urlopen(request, timeout=20):  # noqa: S310  a Service of ours
        pass


def filled(trigger: Mapping[str, Any], body: Any) -> Object:
    """The object of a trigger with the event's body where its parameters say."""
    made: Object = copy.deepcopy(trigger["template"]["k8s"]["source"]["resource"])
    for parameter in trigger["template"]["k8s"].get("parameters") or []:
        value: Any = body
        for part in parameter["src"]["dataKey"].split(".")[1:]:
            value = value[int(part)] if isinstance(value, list) else value[part]
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        *way, last = parameter["dest"].split(".")
        at: Any = made
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        at[int(last) if isinstance(at, list) else last] = text
    return made


def sensor(item: Mapping[str, Any]) -> None:
    """Make the objects of the triggers for each event, once."""
    taken: dict[str, float] = {}
    api = Api()
    name, triggers = item["metadata"]["name"], item["spec"]["triggers"]

    def handle(request: Request) -> Answer:
        event = json.loads(request.body)
        if event["id"] not in taken:
            for trigger in triggers:
                made = filled(trigger, event["body"])
                space = made["metadata"]["namespace"]
                try:
                    api.call("POST", custom(space, f"{made['kind'].lower()}s", version=ARGO), made)
                except ApiError as error:
                    say(f"{trigger['template']['name']}: {error}")
                    count("argo_events_action_failed_total", sensor_name=name, trigger_name=trigger["template"]["name"])
                    return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "failed\n")
                count("argo_events_action_triggered_total", sensor_name=name, trigger_name=trigger["template"]["name"])
            taken[event["id"]] = time.monotonic()
        return Answer(HTTPStatus.OK, "taken\n")

    web.serve(TAKING, handle)


def main(role: str) -> None:
    """Run one of the three."""
    web.serve(METRICS, web.status_page(metrics), wait=False)
    say("this is the rehearsal's stand-in for Argo Events")
    if role == "controller":
        space, image = os.environ["NAMESPACE"], os.environ["ARGO_EVENTS_IMAGE"]
        api, applied = Api(), dict[str, Object]()
        forever("controller", 2, lambda: reconcile(api, space, image, applied))
    item = json.loads(base64.b64decode(os.environ["OBJECT"]))
    (source if role == "source" else sensor)(item)


if __name__ == "__main__":
    main(sys.argv[1])
