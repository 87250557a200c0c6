"""Read the repository, and change it: one event, one commit, whoever else writes at the same time."""

import random
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from ..manifests import FILES, manifest_path
from ..releases import (
    Act,
    Event,
    Evidence,
    Plan,
    Policy,
    Record,
    RecordError,
    State,
    changed_files,
    decide,
    evidence_path,
    read,
    read_state,
    release_path,
)
from ..releases.files import PIPELINE
from .clone import Clone, Entry, Files, Refusal, cloned
from .failures import RepositoryError, content
from .message import line, message
from .remote import Remote

T = TypeVar("T")
RECORD = re.compile(r"records/[0-9]{6}\.json")
Render = Callable[[State], Mapping[str, str]]
"""Manifests by path, of what a state runs."""


@dataclass(frozen=True)
class Attempts:
    """How often to try while others write, and how long to wait between."""

    most: int = 12
    shortest: float = 0.05
    longest: float = 3.0

    def pause(self, failed: int) -> float:
        """Seconds to wait after so many failures: random, so that two who met do not meet again."""
        return random.uniform(self.shortest, min(self.longest, self.shortest * 2.0**failed))  # noqa: S311  no secret


@dataclass(frozen=True)
class Seen:
    """What the branch said when it was read."""

    entries: Mapping[str, Entry]
    state: State


@dataclass(frozen=True)
class Step(Generic[T]):
    """What is to be written on top of what was seen; nothing, if there are no files."""

    result: T
    files: Files
    message: str = ""


@dataclass(frozen=True)
class Tried(Generic[T]):
    """A push that was refused, or whose answer got lost."""

    base: str | None
    commit: str
    result: T
    refusal: Refusal


@dataclass(frozen=True)
class Releases:
    """The releases repository."""

    remote: Remote
    names: tuple[str, ...]
    """Of the environments, the gate's first, production last."""
    render: Render
    policy: Policy = Policy.APPROVAL
    work: Path | None = None
    """Folder for clones; None: where the system keeps temporary files."""
    attempts: Attempts = field(default_factory=Attempts)

    def state(self) -> State:
        """What the repository says."""
        with cloned(self.remote, self.work) as clone:
            return self._seen(clone, clone.fetch()).state

    def history(self, most: int = 1000) -> tuple[State, tuple[Record, ...]]:
        """What the repository says, and the last records, the newest first."""
        with cloned(self.remote, self.work) as clone:
            seen = self._seen(clone, clone.fetch())
            paths = sorted(filter(RECORD.fullmatch, seen.entries), reverse=True)[:most]
            texts = clone.texts(seen.entries, paths)
        return seen.state, tuple(self._record(Record, path, texts[path]) for path in paths)

    def evidence(self, run: str) -> Evidence | None:
        """What the gate found in this run; None where no gate has ended in it."""
        path = evidence_path(run)
        with cloned(self.remote, self.work) as clone:
            texts = clone.texts(self._seen(clone, clone.fetch()).entries, [path])
        return self._record(Evidence, path, texts[path]) if texts else None

    def change(self, event: Event) -> Plan:
        """Let an event have its effect. However often it is delivered, and whatever happens between, it has one."""

        def step(_: Clone, seen: Seen) -> Step[Plan]:
            plan = decide(seen.state, event, self.policy)
            files = changed_files(plan)
            if not files:
                return Step(plan, {})
            before, after = self.render(plan.before), self.render(plan.after)
            gone = {path: None for path in before if path not in after and path in seen.entries}
            new = {path: text for path, text in after.items() if before.get(path) != text or path not in seen.entries}
            return Step(plan, {**files, **gone, **new}, message(plan))

        return self._write(step, event.act)

    def rendered(self, act: Act) -> tuple[str, ...]:
        """Render all manifests anew, after settings changed; the paths of those that differed.

        Nobody's release changes by it, so it leaves no record and no number, only the commit.
        """

        def step(clone: Clone, seen: Seen) -> Step[tuple[str, ...]]:
            texts = clone.texts(seen.entries, [manifest_path(name, file) for name in self.names for file in FILES])
            after = self.render(seen.state)
            files: Files = {
                path: after.get(path) for path in sorted({*texts, *after}) if texts.get(path) != after.get(path)
            }
            text = f"Render the manifests anew\n\n{line(act.why) or 'No reason was given.'}\n\nWho: {line(act.who)}\n"
            return Step(tuple(files), files, text)

        return self._write(step, act)

    def _write(self, step: Callable[[Clone, Seen], Step[T]], act: Act) -> T:
        """Decide on what the branch says and push, until nobody else was first."""
        tried: Tried[T] | None = None
        with cloned(self.remote, self.work) as clone:
            for failed in range(self.attempts.most):
                if tried is not None:
                    time.sleep(self.attempts.pause(failed))
                base = clone.fetch()
                if tried is not None and base == tried.commit:  # it arrived, only the answer did not
                    return tried.result
                if tried is not None and base == tried.base and not tried.refusal.contended:
                    raise tried.refusal.error
                seen = self._seen(clone, base)
                now = step(clone, seen)
                if not now.files:
                    return now.result
                # Without a mark of its own, the commit of another writer with the same event could be the very same.
                commit = clone.commit(base, now.files, f"{now.message}Attempt: {secrets.token_hex(8)}\n", act)
                refusal = clone.push(commit)
                if refusal is None:
                    return now.result
                tried = Tried(base, commit, now.result, refusal)
        others = f"{self.attempts.most} times another writer was first"
        last = f"; the last answer: {tried.refusal.error}" if tried is not None else ""
        raise RepositoryError(f"releases repository {self.remote.shown}: {others}; do the same again{last}")

    def _seen(self, clone: Clone, commit: str | None) -> Seen:
        entries = clone.entries(commit)
        texts = clone.texts(entries, (PIPELINE, *(release_path(name) for name in self.names)))
        try:
            return Seen(entries, read_state(texts, self.names))
        except RecordError as problem:
            raise content(self.remote, str(problem)) from problem

    def _record(self, kind: type[T], path: str, text: str) -> T:
        try:
            return read(kind, text, path)
        except RecordError as problem:
            raise content(self.remote, str(problem)) from problem
