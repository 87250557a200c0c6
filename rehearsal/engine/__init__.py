"""A small engine that runs a Pulumi program in process, for where the pulumi CLI is absent.

Owns the walk over a program's resources, the state, and deletions; knows no resource type. It is no cleverer than
the real engine: what Pulumi documents is what it does, and an option that it does not honour is refused by name.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

from rehearsal.engine.deployment import Deployment, delete_all
from rehearsal.engine.display import Display, Silent, Terminal, totals
from rehearsal.engine.errors import BadInput, EngineError
from rehearsal.engine.model import STACK, Change, Failure, Plan, Step, Summary, no_provider
from rehearsal.engine.monitor import Monitor
from rehearsal.engine.program import Project, encryption_salt, in_folder, load_config, run_program
from rehearsal.engine.refresh import recover, refresh
from rehearsal.engine.run import Run
from rehearsal.engine.secrets import Redactor
from rehearsal.engine.state import Resource, State, lock
from rehearsal.engine.values import Secret, plain
from rehearsal.paths import Root
from rehearsal.protocol import Call, Props, Provider, Unknown

__all__ = [
    "PARALLEL",
    "BadInput",
    "Change",
    "Display",
    "Engine",
    "EngineError",
    "Failure",
    "Plan",
    "Silent",
    "Step",
    "Summary",
    "Terminal",
    "totals",
]
PARALLEL = 16


class Engine:
    """The commands on one stack. Errors: BadInput (nothing was touched), EngineError, or what the program raised."""

    def __init__(  # noqa: PLR0917 - as the contract of the command line has it
        self,
        root: Root,
        stack: str,
        config_file: Path,
        program: Path,
        providers: Mapping[str, Provider],
        invokes: Mapping[str, Callable[[Call, Props], Props]],
        passphrase: str,
        display: Display,
        extra_config: Mapping[str, Any] | None = None,
    ) -> None:
        """Name the stack, its environment file, the folder of `__main__.py`, and what serves resource types.

        `extra_config`: configuration beside the file, by full key (`project:key`); a structure is handed on as JSON.
        """
        self._path, self._lock = root.stacks / f"{stack}.json", root.stacks / f"{stack}.lock"
        self._stack, self._file, self._program = stack, config_file.resolve(), program.resolve()
        self._providers, self._invokes = providers, invokes
        self._passphrase, self._display, self._extra = passphrase, display, extra_config
        self.redact = Redactor()
        """Takes the secrets that this engine has seen out of a text, such as that of an error the program raised."""

    def preview(self, refresh: bool = False, replace: Sequence[str] = (), target: Sequence[str] = ()) -> Plan:
        """Show what `up` would do. Nothing is written; functions of providers are called, resources are not."""
        with self._run(preview=True) as run:
            return self._walk(run, refresh, replace, target)

    def up(
        self,
        parallel: int = PARALLEL,
        replace: Sequence[str] = (),
        target: Sequence[str] = (),
        expect_no_changes: bool = False,
        refresh: bool | None = None,
        *,
        adopt: bool = False,
    ) -> Summary:
        """Make the world as the program says. `refresh` None means what Pulumi.yaml says.

        `adopt`: what has a resource's mark is taken up before another is made, though the state does not know of it.
        """
        with self._run(parallel=parallel) as run:
            if refresh is None:
                refresh = Project.load(self._program).refresh_always
            summary = self._walk(run, refresh, replace, target, adopt)
        return changed(summary, unexpected=expect_no_changes and summary.changed)

    def destroy(self, parallel: int = PARALLEL, target: Sequence[str] = ()) -> Summary:
        """Delete what the state records, in reverse dependency order; refused as a whole if something is protected.

        What cannot be deleted is a failure, with its reason, and everything that does not depend on it goes all the
        same: `pulumi destroy --continue-on-error`.
        """
        with self._run(parallel=parallel) as run:
            run.tolerant = True
            begun = time.monotonic()
            recover(run)
            if not run.stopped:
                records = [*run.state.resources.values(), *run.state.condemned]
                delete_all(run, [r for r in records if not target or r.urn in target])
            return self._summary(run, begun)

    def refresh(self, parallel: int = PARALLEL) -> Summary:
        """Read every resource and record what is there; what is gone leaves the state."""
        with self._run(parallel=parallel) as run:
            begun = time.monotonic()
            recover(run)
            refresh(run)
            return self._summary(run, begun)

    def resources(self) -> tuple[Resource, ...]:
        """What the state records, each with the inputs that the program gave it."""
        return tuple(self._state(readonly=True).resources.values())

    def remaining(self) -> list[str]:
        """URNs of everything in the state that a provider has made."""
        resources = self._state(readonly=True).resources.values()
        return [resource.urn for resource in resources if not no_provider(resource.type, resource.custom)]

    def ids(self) -> set[str]:
        """Ids of everything that the state records."""
        state = self._state(readonly=True)
        pending = [pending.resource for pending in state.pending.values()]
        return {resource.id for resource in (*state.resources.values(), *state.condemned, *pending)}

    def outputs(self, show_secrets: bool = False) -> dict[str, Any]:
        """Stack outputs of the last run that ended well."""
        return _outputs(self._state(readonly=True), show_secrets)

    def unprotect(self) -> list[str]:
        """Take `protect` off every resource in the state, and of what is under way; returns their URNs."""
        with self._run() as run, run.state.edit():
            found = [r for r in run.state.resources.values() if r.protect]
            for resource in found:
                run.state.put(changed(resource, protect=False))
            # What an interrupted run made is found by the command that comes next.
            under_way = [(urn, p) for urn, p in run.state.pending.items() if p.resource.protect]
            for urn, pending in under_way:
                bare = run.state.seal(changed(pending.resource, protect=False))
                run.state.pending[urn] = changed(pending, resource=bare)
        return [resource.urn for resource in found] + [urn for urn, _ in under_way]

    def _state(self, readonly: bool) -> State:
        return State(self._path, self._passphrase, encryption_salt(self._file), readonly)

    @contextmanager
    def _run(self, preview: bool = False, parallel: int = PARALLEL) -> Iterator[Run]:
        if parallel < 1:
            raise BadInput(f"--parallel {parallel}: at least 1 is needed")
        if preview:
            with self._prepared(self._state(readonly=True), preview, parallel) as run:
                yield run
            return
        with lock(self._lock) as dead, self._prepared(self._state(readonly=False), preview, parallel) as run:
            if dead is not None:
                run.display.notice(f"took over the lock of process {dead}, which ended without releasing it")
            yield run

    @contextmanager
    def _prepared(self, state: State, preview: bool, parallel: int) -> Iterator[Run]:
        cancel = threading.Event()
        run = Run(state, self._providers, self._invokes, self._display, self.redact, cancel, preview, parallel)
        with self._display, _interruptible(run), in_folder(self._program):
            yield run

    def _walk(
        self, run: Run, reread: bool, forced: Sequence[str], targets: Sequence[str], adopt: bool = False
    ) -> Summary:
        begun = time.monotonic()
        project = Project.load(self._program)
        config = load_config(self._file, project.name, self._passphrase, run.redact, self._extra)
        if not run.preview:
            recover(run)
        if reread and not run.stopped:
            refresh(run)
        deployment = Deployment(run, frozenset(forced), frozenset(targets), adopt)
        if not run.stopped:
            monitor = Monitor(run, deployment, project.name, self._stack)
            try:
                run_program(self._program, config, monitor, run.preview, run.parallel)
            except Exception:
                # A failed registration ends the program too; its own cause is the one to report.
                if not run.stopped:
                    raise
            finally:
                run.hooks.close()
        if not run.stopped:
            deployment.finish()
        return self._summary(run, begun)

    def _summary(self, run: Run, begun: float) -> Summary:
        return Summary(
            tuple(run.steps),
            _outputs(run.state, show_secrets=False),
            tuple(run.failures),
            time.monotonic() - begun,
            interrupted=run.cancel.is_set(),
        )


def _outputs(state: State, show_secrets: bool) -> dict[str, Any]:
    found = next((r.outputs for r in state.resources.values() if r.type == STACK), {})
    shown: dict[str, Any] = plain(found) if show_secrets else _hidden(found)
    return shown


def _hidden(value: Any) -> Any:
    if isinstance(value, Secret | Unknown):
        return repr(value)
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    return [_hidden(item) for item in value] if isinstance(value, list) else value


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """First Ctrl-C: start nothing new, end the waits, record what was done. Second: as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(*_: object) -> None:
        run.cancel.set()
        signal.signal(signal.SIGINT, before)
        run.display.notice("interrupted: ending what is under way (once more to give up on it)")

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
