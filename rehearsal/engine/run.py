"""What the steps of one run share: providers, the display, failures, and how one verb is carried out."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rehearsal.engine.display import Display
from rehearsal.engine.errors import Aborted, BadInput
from rehearsal.engine.hooks import ErrorHooks
from rehearsal.engine.model import Change, Failure, Step, no_provider, provider_urn
from rehearsal.engine.secrets import Redactor
from rehearsal.engine.state import Resource, State
from rehearsal.engine.values import Path, Secret, contains, lookup, mark, parse_path, plain, secret_keys
from rehearsal.protocol import UNKNOWN, Call, Diff, Props, Provider, ProviderError, Result, Unknown, Untouched

DEFAULT_TIMEOUT = 600.0
_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_LONGEST = 60
_Invoke = Callable[[Call, Props], Props]


@dataclass
class Run:
    """One preview, up, refresh or destroy."""

    state: State
    providers: Mapping[str, Provider]
    invokes: Mapping[str, _Invoke]
    display: Display
    redact: Redactor
    cancel: threading.Event
    preview: bool = False
    parallel: int = 16
    tolerant: bool = False
    """Go on with what does not depend on a failure, as the real engine does with --continue-on-error."""
    steps: list[Step] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    hooks: ErrorHooks = field(default_factory=ErrorHooks)
    doomed: set[str] = field(default_factory=set)
    """URNs that this run deletes. As in the real engine, one that goes before its own replacement is not among them,
    but what goes with it is; a resource `deleted_with` one of these leaves the state without a call."""

    def __post_init__(self) -> None:
        """Learn the secrets that the state holds."""
        self.slots = threading.BoundedSemaphore(self.parallel)
        for resource in (*self.state.resources.values(), *self.state.condemned):
            self.learn(resource.inputs, resource.outputs)

    @property
    def stopped(self) -> bool:
        """Tell whether nothing new may start."""
        return (bool(self.failures) and not self.tolerant) or self.cancel.is_set()

    def learn(self, *maps: Props) -> None:
        """Remember secret values, to keep them out of texts."""
        for props in maps:
            for value in props.values():
                if contains(value, Secret):
                    self.redact.learn(plain(value))

    def provider(self, type_: str) -> Provider:
        """Find the provider of a type; a key `package:` serves every type of that package."""
        found = self.providers.get(type_) or self.providers.get(f"{type_.partition(':')[0]}:")
        if found is None:
            raise BadInput(f"resource type {type_} is not supported by this engine")
        return found

    def provider_inputs(self, reference: str) -> Props:
        """Inputs of the explicit provider resource that a reference names; one that was replaced serves its own."""
        urn = provider_urn(reference)
        mine = (r for r in (*self.state.resources.values(), *self.state.condemned) if f"{r.urn}::{r.id}" == reference)
        found = next(mine, None) or self.state.resources.get(urn)
        inputs: Props = plain(found.inputs) if found else {}
        return inputs

    def call(self, resource: Resource, verb: str) -> Call:
        """Make the circumstances of one verb."""
        timeout = seconds(resource.timeouts.get(verb, ""))
        return Call(resource.urn, self.provider_inputs(resource.provider), timeout, self.cancel)

    def fail(self, urn: str, error: BaseException) -> Aborted:
        """Record a failure; returns what to raise."""
        text = str(error) if isinstance(error, ProviderError | BadInput) else f"{type(error).__name__}: {error}"
        cause = self.redact(text)
        self.failures.append(Failure(urn, cause))
        self.display.failed(urn, cause)
        return Aborted(f"{urn}: {cause}")

    def note(self, step: Step) -> None:
        """Record a step and show it."""
        self.steps.append(step)
        self.display.finished(step)

    def perform(
        self, op: str, resource: Resource, verb: str, work: Callable[[], Result | None], news: Resource | None = None
    ) -> Result | None:
        """Carry out one verb under its pending operation; a failed create stays pending: it may have left something.

        `news`: what an update makes of the resource.
        """
        with self.state.edit():
            self.state.begin(verb, resource)
        self.display.started(op, resource.urn)
        try:
            result = self._persist(resource, verb, work, news or resource)
        except Exception as error:
            failed = verb == "create" and not self.cancel.is_set()
            with self.state.edit():
                self.state.pending.pop(resource.urn, None)
                if verb == "create" and not isinstance(error, Untouched):
                    self.state.begin(verb, resource, failed)
            raise self.fail(resource.urn, error) from error
        if result is not None:
            self.learn(self.secretly(resource, result.outputs))
        return result

    def _persist(
        self, resource: Resource, verb: str, work: Callable[[], Result | None], news: Resource
    ) -> Result | None:
        """Try until it is done, or the program's error hooks give up on it."""
        errors: list[str] = []
        while True:
            try:
                return work()
            except Exception as error:
                errors.insert(0, self.redact(str(error)))
                if not self.hooks.again(verb, resource, news, errors, lambda: self.stopped):
                    raise
                self.display.notice(f"{resource.urn}: retrying {verb} due to an error hook: {errors[0]}")

    def secretly(self, resource: Resource, outputs: Props, extra: Iterable[str] = ()) -> Props:
        """Mark outputs: secret are secret inputs, what the program lists, and what was secret before."""
        return mark(outputs, {*secret_keys(resource.inputs), *secret_keys(resource.outputs), *extra})

    def delete(self, resource: Resource, replaced: bool = False) -> None:
        """Delete one resource, in its provider and in the state."""
        op, begun = ("delete-replaced" if replaced else "delete"), time.monotonic()
        idle = resource.retain or no_provider(resource.type, resource.custom) or resource.deleted_with in self.doomed
        if self.preview or idle:
            with self.state.edit():
                self.state.forget(resource)
        else:
            self.perform(op, resource, "delete", lambda: self._delete(resource))
            with self.state.edit():
                self.state.forget(resource)
        step = Step(op, resource.urn, seconds=time.monotonic() - begun)
        if replaced:
            self.display.finished(step)
        else:
            self.note(step)

    def _delete(self, resource: Resource) -> None:
        self.provider(resource.type).delete(self.call(resource, "delete"), existing(resource))

    def changes(self, diff: Diff, old: Resource, news: Props) -> tuple[Change, ...]:
        """Describe the differing properties for people."""
        found = []
        for text in dict.fromkeys((*diff.changed, *diff.replaces)):
            path = parse_path(text)
            before, after = self.show(old.inputs, path), self.show(news, path)
            found.append(Change(text, before, after))
        return tuple(found)

    def show(self, props: Props, path: Path) -> str:
        """Render one value: short, without secrets."""
        value = lookup(props, path)
        if contains(value, Secret):
            return "[secret]"
        if value is UNKNOWN:
            return repr(value)
        text = self.redact(json.dumps(value, default=repr, sort_keys=True))
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def existing(resource: Resource) -> Result:
    """What the state knows, as providers are told."""
    return Result(resource.id, plain(resource.outputs), plain(resource.inputs))


def seconds(duration: str) -> float:
    """Read a Go duration such as `1h20m`; the default when there is none."""
    if not re.fullmatch(f"(?:{_PART})*", duration):
        raise BadInput(f"customTimeouts: {duration!r} is not a duration such as 20m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, duration)) or DEFAULT_TIMEOUT


def read(run: Run, resource: Resource) -> Resource | None:
    """Look at one resource; None when it is gone."""
    found = run.provider(resource.type).read(run.call(resource, "read"), existing(resource))
    if found is None or not found.id:
        return None
    outputs = run.secretly(resource, found.outputs)
    inputs = resource.inputs if found.inputs is None else mark(found.inputs, secret_keys(resource.inputs))
    return replace(resource, id=found.id, inputs=inputs, outputs=outputs)


def known(value: Any) -> bool:
    """Tell whether nothing in the value is unknown."""
    return not contains(value, Unknown)
