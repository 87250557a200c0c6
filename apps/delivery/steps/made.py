"""A release from what made it: the trainer's result (`examples/model/README.md`) and BuildKit's metadata."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..releases import RecordError, Release, parsed
from .errors import Code, StepError
from .files import text
from .mlflow import registry_of
from .settings import Settings

T = TypeVar("T")
SHA256 = re.compile(r"[0-9a-f]{64}")
DIGEST = "containerimage.digest"
DESCRIPTOR = "containerimage.descriptor"
NAME = "image.name"


@dataclass(frozen=True)
class Trained:
    """A version that passed the trainer's own tests."""

    version: str
    revision: str


def _object(path: Path) -> Mapping[str, Any]:
    data = parsed(text(path), str(path))
    if not isinstance(data, dict):
        raise RecordError(f"{path}: must be a JSON object")
    return data


def _get(data: Mapping[str, Any], path: Path, key: str, kind: type[T]) -> T:
    """Keys that nobody here knows are let through: a trainer, and BuildKit, may say more."""
    if key not in data:
        raise RecordError(f"{path}.{key}: is missing")
    if type(data[key]) is not kind:
        rule = {str: "a string", bool: "true or false", dict: "an object"}[kind]
        raise RecordError(f"{path}.{key} = {json.dumps(data[key])[:80]}: must be {rule}")
    found: T = data[key]
    return found


def trained(path: Path, model: str) -> Trained:
    """What the trainer says: StepError 3 where its tests failed, RecordError where it contradicts itself or us."""
    data = _object(path)
    reason = _get(data, path, "reason", str)
    named = _get(data, path, "model", str)
    if named != model:
        raise RecordError(f"{path}.model = {named[:80]!r}: must be {model!r}, the model of the settings")
    if not _get(data, path, "passed", bool):
        registered = next((key for key in ("model_version", "sha256") if data.get(key) is not None), None)
        if registered is not None:
            raise RecordError(f"{path}.{registered}: must be null where passed is false: nothing may be registered")
        raise StepError(f"the model failed its trainer's tests: {reason or 'no reason was given'}", Code.FAILED)
    if reason:
        raise RecordError(f"{path}.reason = {reason[:80]!r}: must be empty where passed is true")
    if SHA256.fullmatch(_get(data, path, "sha256", str)) is None:
        raise RecordError(f"{path}.sha256: must be 64 hexadecimal digits")
    return Trained(_get(data, path, "model_version", str), _get(data, path, "revision", str))


def _path(image: str) -> str:
    """Of an image in its registry, whose address may be another one in a build than on the nodes."""
    return re.sub(r"(@.*|:[^:/]*)$", "", image.partition("/")[2])


def image(path: Path, name: str) -> str:
    """The digest that BuildKit gave to the image of that name, or RecordError."""
    data = _object(path)
    digest = _get(data, path, DIGEST, str)
    if DESCRIPTOR in data:
        described = _get(data, path, DESCRIPTOR, dict).get("digest")
        if described != digest:
            raise RecordError(f"{path}.{DIGEST} = {digest[:80]!r}: is not the descriptor's, {str(described)[:80]!r}")
    if NAME in data:
        names = _get(data, path, NAME, str).split(",")
        if _path(name) not in map(_path, names):
            raise RecordError(f"{path}.{NAME} = {', '.join(names)[:200]!r}: must be {name}, which environments pull")
    return digest


def make_release(settings: Settings, training: Path, build: Path, run: str) -> Release:
    """The release of one run; the build is not looked at where training failed, since there is none then."""
    made = trained(training, registry_of(settings).model)
    digest = image(build, settings.manifests.image)
    try:
        return Release(digest, made.version, made.revision, run)
    except ValueError as problem:
        raise StepError(f"{training}, {build}: make no release: {problem}", Code.WRONG) from problem
