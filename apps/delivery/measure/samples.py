"""The labelled samples of a model's repository: `samples.jsonl` at its root.

One JSON object on a line: `body`, which `/predict` is sent as JSON, and `truth`, the name of the class that it should
name. No model may have been trained on them. Each body stands there once: a sample that is asked twice would count as
more evidence than it is. The comparison needs at least one round of them (100), and settles most releases with 300.
"""

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

FILE = "samples.jsonl"
LARGEST = 64 << 20
"""Bytes of the file."""


class SamplesError(ValueError):
    """These are no labelled samples."""


@dataclass(frozen=True)
class Sample:
    """One request, and what it should be answered with."""

    name: str
    """The number of its line."""
    body: bytes
    truth: str


def _sample(where: str, number: int, line: bytes, classes: Set[str]) -> Sample:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SamplesError(f"{where}: is not JSON: {error}") from error
    if not isinstance(data, dict) or set(data) != {"body", "truth"}:
        raise SamplesError(f'{where}: must be {{"body": ..., "truth": "name of a class"}}')
    if not isinstance(data["truth"], str) or data["truth"] not in classes:
        known = ", ".join(sorted(classes))
        raise SamplesError(f"{where}: truth = {json.dumps(data['truth'])[:80]}: must be one of: {known}")
    body = json.dumps(data["body"], separators=(",", ":"), sort_keys=True).encode()
    return Sample(str(number), body, data["truth"])


def read(path: Path, classes: Set[str]) -> tuple[Sample, ...]:
    """All of them, in an order that depends on their bodies only: a file that is sorted by class does no harm."""
    if path.stat().st_size > LARGEST:
        raise SamplesError(f"{path.name}: has more than {LARGEST >> 20} MiB; keep fewer samples")
    seen: dict[bytes, Sample] = {}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            sample = _sample(f"{path.name}:{number}", number, line, classes)
            if sample.body in seen:
                raise SamplesError(f"{path.name}:{number}: the body of line {seen[sample.body].name} again; keep one")
            seen[sample.body] = sample
    if not seen:
        raise SamplesError(f"{path.name}: is empty; the gate needs labelled samples")
    return tuple(sorted(seen.values(), key=lambda sample: sha256(sample.body).digest()))


HEADERS: Mapping[str, str] = {"Content-Type": "application/json"}
"""Of a request with a sample."""


def label(body: str, key: str) -> str:
    """The class that an answer names; empty where it names none."""
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    named = data.get(key) if isinstance(data, dict) else None
    return named if isinstance(named, str) else ""
