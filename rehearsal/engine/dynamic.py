"""Dynamic resources: the verbs of a provider class that the program pickled into `__provider`."""

import base64
import hashlib
from functools import lru_cache
from typing import Any

import dill
import pulumi
from pulumi.dynamic import ResourceProvider

from rehearsal.protocol import UNKNOWN, Call, Diff, Props, ProviderError, Result

KEY = "__provider"


class Dynamic:
    """The adapter from the engine's protocol to `pulumi.dynamic.ResourceProvider`."""

    def check(self, call: Call, news: Props) -> Props:
        """Let the class check the inputs."""
        result = _load(news).check({}, _given(news))
        if result.failures:
            problems = "; ".join(f"{failure.property}: {failure.reason}" for failure in result.failures)
            raise ProviderError(f"{call.urn}: {problems}")
        return {**_taken(result.inputs), KEY: news[KEY]}

    def diff(self, _call: Call, olds: Result, news: Props) -> Diff:
        """Ask the class on every run; one that gives no answer means that different inputs are an update."""
        known = news if isinstance(news.get(KEY), str) else olds.outputs
        result = _load(known).diff(olds.id, _given(olds.outputs), _given(news))
        recorded = olds.inputs or {}
        differing = tuple(
            key for key in sorted({*recorded, *news}) if key != KEY and recorded.get(key) != news.get(key)
        )
        replaces = tuple(result.replaces or ())
        changes = result.changes if result.changes is not None else bool(_different(recorded, news))
        if not (changes or replaces):
            return Diff()
        return Diff(differing or replaces or (KEY,), replaces, bool(result.delete_before_replace))

    def create(self, call: Call, news: Props) -> Result:
        """Make it."""
        result = _load(news).create(_given(news))
        if not result.id:
            raise ProviderError(f"{call.urn}: create returned no id")
        return Result(str(result.id), {**_taken(result.outs or {}), KEY: news[KEY]})

    def read(self, _call: Call, olds: Result) -> Result | None:
        """Look at it; an empty id means that it is gone."""
        result = _load(olds.outputs).read(olds.id, _given(olds.outputs))
        if not result.id:
            return None
        outputs = {**_taken(result.outs or {}), KEY: olds.outputs[KEY]}
        inputs = None if result.inputs is None else {**_taken(result.inputs), KEY: olds.outputs[KEY]}
        return Result(str(result.id), outputs, inputs)

    def update(self, _call: Call, olds: Result, news: Props) -> Result:
        """Change it in place."""
        result = _load(news).update(olds.id, _given(olds.outputs), _given(news))
        return Result(olds.id, {**_taken(result.outs or {}), KEY: news[KEY]})

    def delete(self, _call: Call, olds: Result) -> None:
        """Remove it."""
        _load(olds.outputs).delete(olds.id, _given(olds.outputs))

    def find(self, _call: Call, news: Props) -> str | None:
        """Look up what an interrupted create left, if the class defines `find(props)`."""
        find = getattr(_load(news), "find", None)
        found = find(_given(news)) if find else None
        return str(found) if found else None


def _load(props: Props) -> ResourceProvider:
    return _unpickle(props[KEY])


@lru_cache(maxsize=64)
def _unpickle(text: str) -> ResourceProvider:
    try:
        provider = dill.loads(base64.b64decode(text))  # noqa: S301 - the program's own, as in Pulumi
    except (ImportError, AttributeError) as error:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        raise ProviderError(f"the recorded dynamic provider {digest} cannot be loaded: {error}") from error
    if type(provider).configure is not ResourceProvider.configure:
        raise ProviderError(f"dynamic provider {type(provider).__name__}: configure is not supported by this engine")
    return provider  # type: ignore[no-any-return]


def _different(olds: Props, news: Props) -> bool:
    return olds != news


def _given(value: Any) -> Any:
    """Values as the real engine hands them over: every number is a float, unknown ones are the SDK's."""
    if value is UNKNOWN:
        return pulumi.output.UNKNOWN
    if isinstance(value, dict):
        return {key: _given(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_given(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _taken(value: Any) -> Any:
    if isinstance(value, pulumi.output.Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return {key: _taken(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_taken(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
