"""What MLflow knows of a model, as rows of tables. Python alone: the page's image has no client of MLflow."""

import base64
import json
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

SECONDS = 10.0
"""For one answer."""
LARGEST = 16 << 20
"""Bytes of one."""
RUNS = 200
"""The newest that are shown."""
OURS = "leasehold."
"""Begins the tags that the delivery writes: who, what, why and the evidence."""
Tree = dict[str, Any]


@dataclass(frozen=True)
class Tracking:
    """A server, and who asks it."""

    url: str
    user: str
    password: str

    def ask(self, path: str, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None) -> Tree:
        """Its answer. Raises OSError, HTTPException or ValueError where it gives none."""
        asked = f"{self.url}/api/2.0/mlflow/{path}" + (f"?{urlencode(query)}" if query else "")
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(asked, data, headers)  # noqa: S310  the URL is the environment's
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            found = json.loads(answer.read(LARGEST))
        if not isinstance(found, dict):
            raise ValueError(f"{path}: is not an object")
        return found

    def pages(self, path: str, key: str, query: Mapping[str, Any]) -> Iterator[Tree]:
        """What is found, page after page."""
        token = ""
        while True:
            found = self.ask(path, {**query, **({"page_token": token} if token else {})})
            yield from found.get(key, [])
            token = found.get("next_page_token", "")
            if not token:
                return


def models(tracking: Tracking) -> list[str]:
    """Names of the registered models."""
    return sorted(m["name"] for m in tracking.pages("registered-models/search", "registered_models", {}))


def versions(tracking: Tracking, model: str) -> list[Tree]:
    """The versions of a model, the newest first: aliases, times, runs, and the delivery's tags."""
    named = tracking.ask("registered-models/get", {"name": model})["registered_model"].get("aliases", [])
    quoted = model.replace("'", "\\'")
    found = tracking.pages("model-versions/search", "model_versions", {"filter": f"name='{quoted}'"})
    return version_rows(list(found), named)


def version_rows(found: list[Tree], named: list[Tree]) -> list[Tree]:
    """Rows of versions; `named` has the model's aliases."""
    rows = [
        {
            "version": int(each["version"]),
            "aliases": ", ".join(sorted(a["alias"] for a in named if str(a["version"]) == str(each["version"]))),
            "registered": moment(each.get("creation_timestamp")),
            "run": each.get("run_id", ""),
            **{tag["key"].removeprefix(OURS): tag["value"] for tag in each.get("tags", []) if _ours(tag)},
        }
        for each in found
    ]
    return sorted(rows, key=lambda row: -row["version"])


def _ours(tag: Tree) -> bool:
    return str(tag["key"]).startswith(OURS)


def experiments(tracking: Tracking) -> dict[str, str]:
    """Name of an experiment to its id."""
    found = tracking.pages("experiments/search", "experiments", {"max_results": 1000})
    return {each["name"]: each["experiment_id"] for each in found}


def runs(tracking: Tracking, experiment: str) -> list[Tree]:
    """The newest runs of an experiment."""
    wanted = {"experiment_ids": [experiment], "max_results": RUNS, "order_by": ["attributes.start_time DESC"]}
    return run_rows(tracking.ask("runs/search", body=wanted).get("runs", []))


def run_rows(found: list[Tree]) -> list[Tree]:
    """Rows of runs: what was told them, and what they measured, under `metric` and `param` names."""
    return [
        {
            "run": each["info"].get("run_name") or each["info"]["run_id"],
            "id": each["info"]["run_id"],
            "status": each["info"].get("status", ""),
            "began": moment(each["info"].get("start_time")),
            **{f"metric {m['key']}": m["value"] for m in each.get("data", {}).get("metrics", [])},
            **{f"param {p['key']}": p["value"] for p in each.get("data", {}).get("params", [])},
        }
        for each in found
    ]


def history(tracking: Tracking, run: str, metric: str) -> list[Tree]:
    """What a run measured, step by step."""
    query = {"run_id": run, "metric_key": metric}
    found = tracking.pages("metrics/get-history", "metrics", query)
    return sorted(
        ({"step": int(each.get("step", 0)), metric: each["value"]} for each in found), key=lambda row: row["step"]
    )


def moment(milliseconds: Any) -> str:
    """A time of MLflow's, in UTC."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
