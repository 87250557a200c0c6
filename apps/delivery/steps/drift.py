"""What production answered lately, as Prometheus counted it, and whether that is drift."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import drift, measure
from .errors import Code, StepError
from .files import save
from .settings import Settings
from .web import Peer, WebError

COUNTED = "model_predictions_total"
"""The contract's counter of predictions, by `class`."""


@dataclass(frozen=True)
class Comparison:
    """What was found, and what was compared."""

    finding: drift.Finding
    expected: dict[str, int]
    seen: dict[str, float]


def query(namespace: str, hours: int) -> str:
    """What Prometheus is asked: predictions by class, whichever pods made them."""
    return f'sum by (class) (increase({COUNTED}{{namespace="{namespace}"}}[{hours}h]))'


def seen(peer: Peer, namespace: str, hours: int) -> dict[str, float]:
    """Predictions by class, or WebError."""
    reply = peer.ask("GET", f"/api/v1/query?query={quote(query(namespace, hours), safe='')}")
    if reply.status != 200:
        raise WebError(f"answered {reply.status}: {reply.body[:200]}")
    data: Any = reply.object()
    try:
        rows = data["data"]["result"]
        return {str(row["metric"]["class"]): float(row["value"][1]) for row in rows}
    except (KeyError, IndexError, TypeError, ValueError) as problem:
        raise WebError(f"answered something else than predictions by class: {reply.body[:200]}") from problem


def look(settings: Settings, samples: Path, drifted: Path | None) -> Comparison:
    """Compare; `drifted` gets true or false, for a workflow's next step."""
    if settings.drift is None or settings.gate is None:
        raise StepError("drift is null: give where Prometheus is and the limits, and the gate's classes", Code.WRONG)
    limits, last = settings.drift.limits, settings.manifests.environments[-1]
    try:
        labelled = measure.read_samples(samples, settings.gate.contract.classes)
    except measure.SamplesError as problem:
        raise StepError(str(problem), Code.WRONG) from problem
    try:
        answered = seen(Peer(settings.drift.url), last.namespace, limits.hours)
    except WebError as problem:
        raise StepError(f"Prometheus at {settings.drift.url} {problem}", Code.UNEXPECTED) from problem
    expected = dict(Counter(sample.truth for sample in labelled))
    finding = drift.judge(limits, expected, answered)
    if drifted is not None:
        save(drifted, str(finding.drifted).lower())
    return Comparison(finding, expected, answered)
