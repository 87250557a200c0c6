"""A sensor of the stand-in for Argo Events: it makes the objects of its triggers, each event once, with its account.

What waits for its turn is in this program's memory: where the real one begins again with what the bus kept, that is
lost with the pod.
"""

import json
import queue
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from rehearsal.programs.argo import triggers, web
from rehearsal.programs.argo.counters import count
from rehearsal.programs.argo.hooks import TAKING
from rehearsal.programs.argo.triggers import Limit, MissingError
from rehearsal.programs.argo.web import Answer, Request
from rehearsal.programs.kube import ARGO, Api, ApiError, custom, say

MOST = 10_000
"""Events that wait at most."""
Event = dict[str, Any]


class Trigger:
    """One trigger of a sensor, and the events that wait for it."""

    def __init__(self, sensor: str, spec: Mapping[str, Any], api: Api) -> None:
        """The sensor's name, the trigger, and the cluster."""
        self.sensor, self.spec, self.api = sensor, spec, api
        self.name = str(spec["template"]["name"])
        self.waiting: queue.Queue[Event] = queue.Queue(MOST)
        self._limit = Limit.of(spec)

    def work(self) -> None:
        """One event after another."""
        while True:
            event = self.waiting.get()
            for pause in (*triggers.pauses(self.spec), None):
                # A further try takes a turn, too.
                time.sleep(self._limit.take(time.monotonic()))
                if self.made(event["data"]) or pause is None:
                    break
                time.sleep(pause)

    def made(self, data: Any) -> bool:
        """Make the object for an event; False where that failed, as it does for a name that is there already."""
        try:
            made = triggers.filled(self.spec, data)
            marks = {"events.argoproj.io/sensor": self.sensor, "events.argoproj.io/trigger": self.name}
            made["metadata"]["labels"] = {**(made["metadata"].get("labels") or {}), **marks}
            path = custom(made["metadata"]["namespace"], f"{made['kind'].lower()}s", version=ARGO)
            self.api.call("POST", path, made)
        except (ApiError, MissingError) as error:
            say(f"{self.name}: {error}")
            count("argo_events_action_failed_total", sensor_name=self.sensor, trigger_name=self.name)
            return False
        count("argo_events_action_triggered_total", sensor_name=self.sensor, trigger_name=self.name)
        return True


def sensor(item: Mapping[str, Any], port: int = TAKING) -> None:
    """Take the events of a source, and work on those that pass the filters."""
    taken: dict[str, float] = {}
    api, name, spec = Api(), item["metadata"]["name"], item["spec"]
    working = [Trigger(name, trigger, api) for trigger in spec["triggers"]]
    for one in working:
        threading.Thread(target=one.work, daemon=True).start()

    def handle(request: Request) -> Answer:
        event = json.loads(request.body)
        if event["id"] in taken:
            return Answer(HTTPStatus.OK, "taken\n")
        wanted = (event["source"], event["event"])
        passing = [
            dependency
            for dependency in spec["dependencies"]
            if (dependency["eventSourceName"], dependency["eventName"]) == wanted
            and triggers.passes(dependency, event["data"])
        ]
        try:
            for one in working if passing else []:
                one.waiting.put_nowait(event)
        except queue.Full:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "too many events wait\n")
        taken[event["id"]] = time.monotonic()
        return Answer(HTTPStatus.OK, "taken\n")

    web.serve(port, handle)
