"""The state of a stack: one JSON file, written atomically after every step, secrets encrypted."""

import fcntl
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag

from rehearsal.engine.errors import BadInput, EngineError
from rehearsal.engine.model import name_of, provider_urn
from rehearsal.engine.secrets import Crypter
from rehearsal.engine.values import SECRET, SIGNATURE, Secret, plain
from rehearsal.protocol import Props

VERSION = 1


@dataclass(frozen=True)
class Resource:
    """What the state knows of one resource. Values inside inputs and outputs may be Secret."""

    urn: str
    type: str
    custom: bool
    id: str = ""
    parent: str = ""
    provider: str = ""
    inputs: Props = field(default_factory=dict)
    outputs: Props = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    protect: bool = False
    retain: bool = False
    deleted_with: str = ""
    """URN of the resource whose deletion takes this one along."""
    timeouts: Mapping[str, str] = field(default_factory=dict)
    unready: bool = False
    """It exists, but did not become usable: the next run waits for it again."""
    condemned: bool = False
    """Replaced already; to be deleted at the end of the run."""
    text: str = field(default="", compare=False, repr=False)
    """How it is written: made once, so that a write costs no encryption of what did not change."""

    @property
    def name(self) -> str:
        """Logical name."""
        return name_of(self.urn)

    def needs(self) -> set[str]:
        """URNs that must exist as long as this resource does."""
        urns = {*self.dependencies, self.parent, self.deleted_with, provider_urn(self.provider)}
        return urns.union(*self.property_dependencies.values()) - {""}


@dataclass(frozen=True)
class Pending:
    """An operation that was begun. `failed`: it ended with an error and may have left something behind."""

    op: str
    resource: Resource
    failed: bool = False


class State:
    """Resources of one stack by URN, those still to be deleted, and operations under way."""

    def __init__(self, path: Path, passphrase: str, salt: str | None, readonly: bool = False) -> None:
        """Read the file if there is one. `salt` is the environment file's, for a new state. Readonly writes nothing."""
        self.path, self.readonly = path, readonly
        self.resources: dict[str, Resource] = {}
        self.condemned: list[Resource] = []
        self.pending: dict[str, Pending] = {}
        self._passphrase, self._salt = passphrase, salt
        self._crypter: Crypter | None = None
        self._changed = threading.Condition(threading.RLock())
        self._version = self._written = 0
        self._writing = False
        self._broken: BaseException | None = None
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            data = json.loads(self.path.read_text())
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{self.path} is not JSON ({error}); restore it or remove it") from error
        if not isinstance(data, dict) or data.get("version") != VERSION:
            found = data.get("version") if isinstance(data, dict) else None
            raise BadInput(f"{self.path} has schema version {found}; this engine reads {VERSION}")
        try:
            self._take(data)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError, InvalidTag) as error:
            raise BadInput(f"{self.path} is damaged ({type(error).__name__}); restore it or remove it") from error

    def _take(self, data: dict[str, Any]) -> None:
        if data.get("encryptionsalt"):
            self._crypter = Crypter(self._passphrase, data["encryptionsalt"], str(self.path))
        for item in data["resources"]:
            resource = self._load(item)
            if resource.condemned:
                self.condemned.append(resource)
            else:
                self.resources[resource.urn] = resource
        for item in data["pending"]:
            resource = self._load(item["resource"])
            self.pending[resource.urn] = Pending(item["op"], resource, item.get("failed", False))

    @property
    def crypter(self) -> Crypter:
        """The stack's key, made when the first secret is written."""
        if self._crypter is None:
            known = self._salt
            self._crypter = (
                Crypter(self._passphrase, known, "encryptionsalt") if known else Crypter.new(self._passphrase)
            )
        return self._crypter

    def seal(self, resource: Resource) -> Resource:
        """Return the resource with its written form."""
        if self.readonly:
            return resource
        item = {
            "urn": resource.urn,
            "type": resource.type,
            "custom": resource.custom,
            "id": resource.id,
            "parent": resource.parent,
            "provider": resource.provider,
            "inputs": self._hide(resource.inputs),
            "outputs": self._hide(resource.outputs),
            "dependencies": resource.dependencies,
            "propertyDependencies": resource.property_dependencies,
            "protect": resource.protect,
            "retainOnDelete": resource.retain,
            "deletedWith": resource.deleted_with,
            "customTimeouts": resource.timeouts,
            "unready": resource.unready,
            "delete": resource.condemned,
        }
        return replace(resource, text=json.dumps({key: value for key, value in item.items() if value}))

    def _hide(self, value: Any) -> Any:
        if isinstance(value, Secret):
            return {SIGNATURE: SECRET, "ciphertext": self.crypter.encrypt(json.dumps(plain(value)))}
        if isinstance(value, dict):
            return {key: self._hide(item) for key, item in value.items()}
        return [self._hide(item) for item in value] if isinstance(value, list) else value

    def _show(self, value: Any) -> Any:
        if isinstance(value, dict):
            if value.get(SIGNATURE) == SECRET:
                return Secret(json.loads(self.crypter.decrypt(value["ciphertext"])))
            return {key: self._show(item) for key, item in value.items()}
        return [self._show(item) for item in value] if isinstance(value, list) else value

    def _load(self, item: dict[str, Any]) -> Resource:
        return Resource(
            urn=item["urn"],
            type=item["type"],
            custom=item.get("custom", False),
            id=item.get("id", ""),
            parent=item.get("parent", ""),
            provider=item.get("provider", ""),
            inputs=self._show(item.get("inputs", {})),
            outputs=self._show(item.get("outputs", {})),
            dependencies=tuple(item.get("dependencies", ())),
            property_dependencies={k: tuple(v) for k, v in item.get("propertyDependencies", {}).items()},
            protect=item.get("protect", False),
            retain=item.get("retainOnDelete", False),
            deleted_with=item.get("deletedWith", ""),
            timeouts=item.get("customTimeouts", {}),
            unready=item.get("unready", False),
            condemned=item.get("delete", False),
            text=json.dumps(item),
        )

    @contextmanager
    def edit(self) -> Iterator[None]:
        """Change several things as one write; returns when the file has them."""
        with self._changed:
            yield
            self._version += 1
            version = self._version
        if not self.readonly:
            self._commit(version)

    def put(self, resource: Resource) -> None:
        """Record a resource (inside `edit`)."""
        self.resources[resource.urn] = self.seal(resource)

    def begin(self, op: str, resource: Resource, failed: bool = False) -> None:
        """Record that an operation begins, or that it failed (inside `edit`)."""
        self.pending[resource.urn] = Pending(op, self.seal(resource), failed)

    def condemn(self, urn: str) -> None:
        """Keep a replaced resource until it is deleted (inside `edit`)."""
        self.condemned.append(self.seal(replace(self.resources.pop(urn), condemned=True)))

    def forget(self, resource: Resource) -> None:
        """Remove a live or condemned resource and its pending operation (inside `edit`)."""
        self.pending.pop(resource.urn, None)
        if resource.condemned:
            self.condemned = [r for r in self.condemned if r is not resource]
        else:
            self.resources.pop(resource.urn, None)

    def rename(self, old: str, new: str) -> None:
        """Give a resource, and every reference to it, its new URN (inside `edit`)."""
        self.resources = {
            new if urn == old else urn: self.seal(_renamed(r, old, new)) if urn == old or old in r.needs() else r
            for urn, r in self.resources.items()
        }

    def _commit(self, version: int) -> None:
        """Write, or wait for the thread that writes a later version: threads share writes."""
        while True:
            with self._changed:
                while self._writing and self._written < version:
                    self._changed.wait()
                if self._broken is not None:
                    raise self._broken
                if self._written >= version:
                    return
                self._writing, goal, text = True, self._version, self._render()
            try:
                self.write(text)
                with self._changed:
                    self._written = goal
            except BaseException as error:
                self._broken = error
                raise
            finally:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    def _render(self) -> str:
        rows = ",\n".join(r.text for r in (*self.resources.values(), *self.condemned))
        waiting = ",\n".join(
            f'{{"op": "{p.op}", "failed": {json.dumps(p.failed)}, "resource": {p.resource.text}}}'
            for p in self.pending.values()
        )
        salt = json.dumps(self._crypter.salt if self._crypter else None)
        return (
            f'{{"version": {VERSION}, "encryptionsalt": {salt},\n'
            f'"resources": [\n{rows}\n],\n"pending": [\n{waiting}\n]}}\n'
        )

    def write(self, text: str) -> None:
        """Replace the file: readers and crashes see the old text or the new one."""
        temporary = self.path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.path)


def _renamed(resource: Resource, old: str, new: str) -> Resource:
    def swap(urns: Iterable[str]) -> tuple[str, ...]:
        return tuple(new if urn == old else urn for urn in urns)

    head, _, id_ = resource.provider.rpartition("::")
    return replace(
        resource,
        urn=swap([resource.urn])[0],
        parent=swap([resource.parent])[0],
        deleted_with=swap([resource.deleted_with])[0],
        provider=f"{new}::{id_}" if head == old else resource.provider,
        dependencies=swap(resource.dependencies),
        property_dependencies={key: swap(urns) for key, urns in resource.property_dependencies.items()},
    )


@contextmanager
def lock(path: Path) -> Iterator[int | None]:
    """Hold the stack's lock; yields the process that died with it, if any. EngineError names a living holder."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        holder = (file.read().split() or ["0"])[0]
        try:
            # The kernel drops it with its process, so that a dead one never blocks.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineError(f"{path} is held by process {holder}; wait for it, or end it first") from None
        file.seek(0)
        file.truncate()
        started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        file.write(f"{os.getpid()} {started}\n")
        file.flush()
        try:
            yield int(holder) or None
        finally:
            file.seek(0)
            file.truncate()
