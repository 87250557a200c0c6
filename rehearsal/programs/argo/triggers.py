"""What a sensor of the stand-in for Argo Events makes of an event: whether it concerns it, and what is made. Pure."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rehearsal.programs.argo.variables import seconds

Object = dict[str, Any]
KEYS = {"eventBusName", "template", "dependencies", "triggers"}
DEPENDENCY = {"name", "eventSourceName", "eventName", "filters"}
FILTER = {"path", "type", "value", "comparator"}
TRIGGER = {"template", "rateLimit", "retryStrategy", "atLeastOnce"}
SOURCE = {"dependencyName", "dataKey", "dataTemplate", "value"}
UNITS: Mapping[str, float] = {"Second": 1.0, "Minute": 60.0, "Hour": 3600.0}
SLACK = 10
"""Turns that a limit saves while nothing happens; the library of Argo Events has it so."""
PLACED = re.compile(r"\{\{\s*(?:substr\s+(\d+)\s+(\d+)\s+)?\.Input\.([\w.-]+)\s*\}\}")
"""Of templates, what is honoured: a value of the event, or a part of it."""


class MissingError(Exception):
    """An event lacks what is asked for."""


def unknown(spec: Mapping[str, Any]) -> list[str]:
    """Fields of a sensor that would be left out, and what Argo Events could not read."""
    found = set(spec) - KEYS
    for dependency in spec.get("dependencies") or []:
        filters = dependency.get("filters") or {}
        found |= {*(set(dependency) - DEPENDENCY), *(f"filters.{key}" for key in set(filters) - {"data"})}
        for one in filters.get("data") or []:
            found |= {f"filters.data.{key}" for key in set(one) - FILTER}
            found |= set() if one.get("type") in ("string", "bool") else {f"filters.data.type {one.get('type')}"}
            found |= set() if one.get("comparator", "=") in ("=", "!=") else {"filters.data.comparator"}
    for trigger in spec.get("triggers") or []:
        found |= _unknown(trigger)
    return sorted(found)


def _unknown(trigger: Mapping[str, Any]) -> set[str]:
    found = {*(set(trigger) - TRIGGER), *(set(trigger["template"]) - {"name", "k8s"})}
    made = trigger["template"].get("k8s") or {}
    found |= {f"k8s.{key}" for key in set(made) - {"operation", "source", "parameters"}}
    if made.get("operation", "create") != "create":
        found.add(f"k8s.operation {made['operation']}")
    for parameter in made.get("parameters") or []:
        found |= {*(set(parameter) - {"src", "dest"}), *(set(parameter["src"]) - SOURCE)}
        if "{{" in PLACED.sub("", parameter["src"].get("dataTemplate", "")):
            found.add(f"dataTemplate {parameter['src']['dataTemplate']}")
    retry = trigger.get("retryStrategy") or {}
    found |= {f"retryStrategy.{key}" for key in set(retry) - {"steps", "duration", "factor"}}
    # Argo Events takes anything as a factor, and then fails before it tries even once.
    if not isinstance(retry.get("factor", 1), int | float):
        found.add("retryStrategy.factor must be a number")
    limit = trigger.get("rateLimit") or {}
    found |= {f"rateLimit.{key}" for key in set(limit) - {"unit", "requestsPerUnit"}}
    return found | (set() if limit.get("unit", "Second") in UNITS else {f"rateLimit.unit {limit['unit']}"})


def value(data: Any, path: str) -> Any:
    """A value in an event. Raises MissingError."""
    found = data
    for part in path.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise MissingError(f"path '{path}' does not exist")
    return found


def text(found: Any) -> str:
    """A value as a parameter: a text as it is, and everything else as JSON."""
    return found if isinstance(found, str) else json.dumps(found, separators=(",", ":"))


def passes(dependency: Mapping[str, Any], data: Any) -> bool:
    """Whether an event passes all filters of a dependency. A text is compared by a regular expression."""
    for one in (dependency.get("filters") or {}).get("data") or []:
        try:
            found = value(data, one["path"])
        except MissingError:
            return False
        if one["type"] == "bool":
            # What is no boolean is false, unless it says true.
            matches = (text(found).lower() in ("true", "1", "t")) in [word == "true" for word in one["value"]]
        else:
            negated = one.get("comparator") == "!="
            matches = any((_found(pattern, text(found))) is not negated for pattern in one["value"])
        if not matches:
            return False
    return True


def _found(pattern: str, given: str) -> bool:
    # In Go, the end is the end: not before a last line break.
    return re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), given) is not None


def filled(trigger: Mapping[str, Any], data: Any) -> Object:
    """The object of a trigger with the event's values where its parameters say. Raises MissingError."""
    made: Object = copy.deepcopy(trigger["template"]["k8s"]["source"]["resource"])
    for parameter in trigger["template"]["k8s"].get("parameters") or []:
        *way, last = parameter["dest"].split(".")
        at: Any = made
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        at[int(last) if isinstance(at, list) else last] = _parameter(parameter["src"], data)
    return made


def _parameter(source: Mapping[str, Any], data: Any) -> str:
    try:
        if "dataTemplate" in source:
            return PLACED.sub(lambda found: _part(found, data), source["dataTemplate"])
        return text(value(data, source["dataKey"]))
    except MissingError:
        if "value" in source:
            return str(source["value"])
        raise


def _part(found: re.Match[str], data: Any) -> str:
    whole = text(value(data, found[3]))
    return whole if found[1] is None else whole[int(found[1]) : int(found[2])]


@dataclass
class Limit:
    """How often something may happen; who comes too early waits for a turn."""

    every: float
    """Seconds from one turn to the next; 0: no limit."""
    last: float | None = None

    @classmethod
    def of(cls, trigger: Mapping[str, Any]) -> "Limit":
        """As a trigger has it."""
        wanted = trigger.get("rateLimit")
        return cls(UNITS[wanted.get("unit", "Second")] / int(wanted["requestsPerUnit"]) if wanted else 0.0)

    def take(self, now: float) -> float:
        """Take the next turn; returns the seconds until then."""
        if self.last is None:
            self.last = now
        elif now - self.last > (SLACK + 1) * self.every:
            self.last = now - SLACK * self.every
        else:
            self.last += self.every
        return max(0.0, self.last - now)


def pauses(trigger: Mapping[str, Any]) -> Sequence[float]:
    """Seconds before each further try of a trigger; one that happens at most once is tried once."""
    retry = trigger.get("retryStrategy")
    if not retry or not trigger.get("atLeastOnce"):
        return ()
    first, factor = seconds(retry.get("duration", "1s")), float(retry.get("factor", 1))
    return [first * factor**index for index in range(int(retry.get("steps") or 5) - 1)]
