"""What is done with each registered resource, decided as Pulumi's step generator does."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from rehearsal.engine.errors import Aborted, BadInput
from rehearsal.engine.graph import in_reverse, topological
from rehearsal.engine.model import STACK, Change, Step, name_of, no_provider, provider_urn, type_of
from rehearsal.engine.refresh import by_mark
from rehearsal.engine.run import Run, existing, known
from rehearsal.engine.state import Resource
from rehearsal.engine.values import covers, keep_ignored, mark, parse_path, plain, secret_keys
from rehearsal.protocol import UNKNOWN, Diff, Props, ProviderError, Result, Unfinished

Changes = tuple[Change, ...]


@dataclass(frozen=True)
class Goal:
    """What the program asks for."""

    resource: Resource
    """As it shall be recorded; no id and no outputs yet."""
    aliases: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    replace_on: tuple[str, ...] = ()
    secret_outputs: tuple[str, ...] = ()
    delete_first: bool | None = None
    hooks: tuple[str, ...] = ()
    """Names of error hooks."""


@dataclass
class Deployment:
    """The registrations of one program run, and the deletions after it."""

    run: Run
    replace: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    adopt: bool = False
    """Look for what has a resource's mark before it is made, and take that up, as `pulumi import` does."""
    seen: set[str] = field(default_factory=set)
    outputs: Props = field(default_factory=dict)
    """Stack outputs; recorded only when the program ended well."""

    def __post_init__(self) -> None:
        """Start with nothing deleted ahead of its replacement."""
        self._lock = threading.Lock()
        self._cascade = threading.Lock()
        self._fallen: dict[str, tuple[Resource, str]] = {}
        self._mine: set[int] = set()
        self._skipped: set[str] = set()
        self._born: set[str] = set()

    def register(self, goal: Goal) -> Resource | None:
        """Carry out one registration; None when it is left out by --target. Raises Aborted when the run must stop."""
        urn = goal.resource.urn
        if self.run.stopped:
            raise Aborted(f"{urn}: not started")
        self.run.learn(goal.resource.inputs)
        self.run.hooks.bound[urn] = goal.hooks
        try:
            old = self._claim(goal)
            if no_provider(goal.resource.type, goal.resource.custom):
                return self._record(goal, old)
            if self.targets and urn not in self.targets:
                return self._leave(urn, old)
            with self.run.slots:
                if self.run.stopped:
                    raise Aborted(f"{urn}: not started")
                return self._decide(goal, old)
        except Aborted:
            raise
        except Exception as error:
            raise self.run.fail(urn, error) from error

    def _claim(self, goal: Goal) -> Resource | None:
        """Find the recorded resource, under its URN or an alias."""
        urn, state = goal.resource.urn, self.run.state
        with self._lock:
            if urn in self.seen:
                raise BadInput("two resources of the program have this URN; give one another name")
            self.seen.add(urn)
            for alias in goal.aliases:
                if alias in self.seen:
                    continue
                if alias in self._fallen and urn not in self._fallen:
                    self._fallen[urn] = self._fallen.pop(alias)
                if alias in state.resources and urn not in state.resources:
                    with state.edit():
                        state.rename(alias, urn)
                    break
            return state.resources.get(urn)

    def _leave(self, urn: str, old: Resource | None) -> Resource | None:
        if old is None:
            self._skipped.add(urn)
        return old

    def _record(self, goal: Goal, old: Resource | None) -> Resource:
        """Record what has no provider verbs: components, the stack and provider resources."""
        new = replace(goal.resource, outputs=goal.resource.inputs)
        diff = Diff()
        if new.custom:
            provider = self.run.providers.get(new.type)
            if provider is not None:
                provider.check(self.run.call(new, "create"), plain(new.inputs))
                diff = provider.diff(self.run.call(new, "update"), existing(old), plain(new.inputs)) if old else diff
            new = replace(new, id=old.id if old and not diff.replaces else str(uuid.uuid4()))
        elif old is not None:
            new = replace(new, outputs=old.outputs)
        op = "create" if old is None else "same" if old.inputs == new.inputs else "update"
        if diff.replaces:
            op = "replace"
        if old != new:
            with self.run.state.edit():
                if diff.replaces:
                    self._condemn(new.urn)
                self.run.state.put(new)
        self.run.note(Step(op, new.urn, reasons=_reasons(diff) if diff.replaces else ()))
        return new

    def _condemn(self, urn: str) -> None:
        self.run.state.condemn(urn)
        self._mine.add(id(self.run.state.condemned[-1]))

    def _moved(self, old: Resource, new: Resource) -> bool:
        """Tell whether the provider is another one to the provider itself: its id changes when it is replaced."""
        before, after = provider_urn(old.provider), provider_urn(new.provider)
        if before == after or not before or not after:
            return before == after and old.provider != new.provider
        type_ = type_of(after)
        if type_ not in self.run.providers:
            return False
        olds, news = self.run.provider_inputs(old.provider), self.run.provider_inputs(new.provider)
        return bool(self.run.providers[type_].diff(self.run.call(new, "update"), Result("", olds, olds), news).replaces)

    def _decide(self, goal: Goal, old: Resource | None) -> Resource:
        run, urn = self.run, goal.resource.urn
        provider = run.provider(goal.resource.type)
        before = old or self._fallen.get(urn, (None,))[0]
        inputs = goal.resource.inputs
        for pattern in goal.ignore if before else ():
            inputs = keep_ignored(before.inputs if before else {}, inputs, parse_path(pattern))
        if not run.preview and not known(inputs):
            missing = sorted(name_of(u) for u in goal.resource.needs() & self._skipped)
            raise BadInput(f"needs {', '.join(missing) or 'a value'} that is not there yet; add it with --target")
        new = self._checked(goal, inputs, old)
        news = plain(new.inputs)
        if old is None and self.adopt and urn not in self._fallen:
            old = self._adopted(new)
        if old is None:
            if urn in self._fallen:
                return self._create(goal, new, "replace", (self._fallen.pop(urn)[1],))
            return self._create(goal, new, "create")
        if self._moved(old, new):
            diff = Diff(("provider",), ("provider",))
        else:
            diff = _refine(provider.diff(run.call(new, "update"), existing(old), news), goal)
        if diff.replaces or urn in self.replace:
            return self._replace(goal, old, self._checked(goal, inputs, None), diff)
        if diff.changed or old.unready:
            return self._update(goal, old, new, diff)
        return self._same(goal, old, new)

    def _adopted(self, new: Resource) -> Resource | None:
        mine = frozenset(resource.id for resource in self.run.state.condemned if resource.urn == new.urn)
        found = None if self.run.preview else by_mark(self.run, new, mine)
        if found is not None:
            self.run.display.notice(f"{new.urn}: taking up what is there ({found.id})")
            found = self._doubted(found, new)
            with self.run.state.edit():
                self.run.state.put(found)
        return found

    def _doubted(self, found: Resource, new: Resource) -> Resource:
        """Without what it cannot have been made with: secrets that this run has made, as where a state was lost."""
        doubtful = {key for key in secret_keys(new.inputs) if self._born & set(new.property_dependencies.get(key, ()))}

        def sure(props: Props) -> Props:
            return {key: value for key, value in props.items() if key not in doubtful}

        return replace(found, inputs=sure(found.inputs), outputs=sure(found.outputs))

    def _checked(self, goal: Goal, inputs: Props, old: Resource | None) -> Resource:
        """Let the provider check the inputs; without an old resource it names and fills in anew."""
        call = replace(self.run.call(goal.resource, "create"), before=plain(old.inputs) if old else {})
        news = self.run.provider(goal.resource.type).check(call, plain(inputs))
        # What comes out as a secret went in as one: a Secret's data, which may be given in the clear.
        return replace(goal.resource, inputs=mark(news, {*secret_keys(inputs), *goal.secret_outputs}))

    def _same(self, goal: Goal, old: Resource, new: Resource) -> Resource:
        kept = replace(new, id=old.id, outputs=old.outputs)
        kept = replace(kept, outputs=self.run.secretly(kept, old.outputs, goal.secret_outputs))
        if kept != old:
            with self.run.state.edit():
                self.run.state.put(kept)
        self.run.note(Step("same", new.urn))
        return kept

    def _create(
        self, goal: Goal, new: Resource, op: str, reasons: tuple[str, ...] = (), changes: Changes = ()
    ) -> Resource:
        run, begun = self.run, time.monotonic()
        result: Result | None = Result("", plain(new.inputs))
        if not run.preview:
            with self._unfinished(lambda result: self._made(goal, new, result, unready=True, another=True)):
                result = run.perform(op, new, "create", self._creation(new))
        assert result is not None  # noqa: S101 - create returns a result or raises
        done = self._made(goal, new, result, another=True)
        self._born.add(new.urn)
        run.note(Step(op, new.urn, changes, reasons, time.monotonic() - begun))
        return done

    def _creation(self, new: Resource) -> Callable[[], Result]:
        """What may be done again: what it made in part is then updated, as by the real engine (pulumi/pulumi#24684)."""
        run, inputs = self.run, plain(new.inputs)
        provider, create, update = run.provider(new.type), run.call(new, "create"), run.call(new, "update")
        begun: Result | None = None

        def work() -> Result:
            nonlocal begun
            try:
                return provider.create(create, inputs) if begun is None else provider.update(update, begun, inputs)
            except Unfinished as error:
                begun = replace(error.result, inputs=inputs)
                raise
            except ProviderError as error:
                if begun is None:
                    raise
                raise Unfinished(str(error), begun) from error

        return work

    def _made(
        self, goal: Goal, new: Resource, result: Result, *, unready: bool = False, another: bool = False
    ) -> Resource:
        """Record what exists now; `another`: beside an older one under this URN, which is deleted later."""
        run = self.run
        outputs = run.secretly(new, result.outputs, goal.secret_outputs)
        done = replace(new, id=result.id, outputs=outputs, unready=unready)
        run.learn(done.outputs)
        with run.state.edit():
            run.state.pending.pop(new.urn, None)
            if another and new.urn in run.state.resources:
                self._condemn(new.urn)
            run.state.put(done)
        return done

    @contextmanager
    def _unfinished(self, keep: Callable[[Result], object]) -> Iterator[None]:
        """Keep what exists although the verb failed, as the real engine does with initialization errors."""
        try:
            yield
        except Aborted as stop:
            if isinstance(stop.__cause__, Unfinished):
                keep(stop.__cause__.result)
            raise

    def _update(self, goal: Goal, old: Resource, new: Resource, diff: Diff) -> Resource:
        run, begun = self.run, time.monotonic()
        new = replace(new, id=old.id, outputs=old.outputs)
        result: Result | None = Result(old.id, {**plain(old.outputs), **plain(new.inputs)})
        if not run.preview:
            call, provider = run.call(new, "update"), run.provider(new.type)
            recorded = replace(old, timeouts=new.timeouts)
            with self._unfinished(lambda result: self._made(goal, new, result, unready=True)):
                result = run.perform(
                    "update", recorded, "update", lambda: provider.update(call, existing(old), plain(new.inputs)), new
                )
        assert result is not None  # noqa: S101 - update returns a result or raises
        done = self._made(goal, new, result)
        run.note(Step("update", new.urn, run.changes(diff, old, new.inputs), (), time.monotonic() - begun))
        return done

    def _replace(self, goal: Goal, old: Resource, new: Resource, diff: Diff) -> Resource:
        if old.protect and new.protect:
            raise BadInput(
                "unable to replace it as it is protected: remove `protect` from it in the program and run up, "
                f"or unprotect it in the state. What forces the replacement: {', '.join(diff.replaces) or '--replace'}"
            )
        reasons = _reasons(diff) or ("--replace names it",)
        first = diff.delete_before_replace if goal.delete_first is None else goal.delete_first
        if first:
            with self._cascade:
                fallen = self._dependents(old)
                self._refuse(fallen)
                self.run.doomed.update(dependent.urn for dependent in fallen)
                for dependent in reversed(fallen):
                    self._fallen[dependent.urn] = (dependent, f"{type_of(old.urn)} {old.name} is replaced")
                    self.run.delete(dependent, replaced=True)
            self.run.delete(replace(old, protect=False), replaced=True)
        return self._create(goal, new, "replace", reasons, self.run.changes(diff, old, new.inputs))

    def _dependents(self, root: Resource) -> list[Resource]:
        """Find what must go before the root does: whose diff says replace once the root's values are unknown."""
        replaced, found = {root.urn}, []
        for resource in topological(self.run.state.resources.values()):
            # One that was registered already does not depend on the root any more.
            if resource.urn not in self.seen and self._falls(resource, replaced):
                replaced.add(resource.urn)
                found.append(resource)
        return found

    def _falls(self, resource: Resource, replaced: set[str]) -> bool:
        if no_provider(resource.type, resource.custom):
            return False
        if provider_urn(resource.provider) in replaced:
            return True
        touched = {key for key, urns in resource.property_dependencies.items() if replaced & set(urns)}
        if not touched & set(resource.inputs):
            return False
        news = {key: UNKNOWN if key in touched else value for key, value in plain(resource.inputs).items()}
        provider = self.run.provider(resource.type)
        return bool(provider.diff(self.run.call(resource, "update"), existing(resource), news).replaces)

    def _refuse(self, fallen: list[Resource]) -> None:
        """Refuse before anything is deleted."""
        for resource in fallen:
            if resource.protect:
                raise BadInput(
                    f"replacing it means to replace {resource.urn}, which is protected: unprotect that first"
                )
            if self.targets and resource.urn not in self.targets:
                raise BadInput(f"replacing it means to replace {resource.urn}; add that with --target")

    def finish(self) -> None:
        """After the program ended well: delete what it did not register, and what was replaced; record the outputs."""
        run, state = self.run, self.run.state
        root = next((r for r in state.resources.values() if r.type == STACK), None)
        for missing in sorted((self.targets | self.replace) - self.seen - set(state.resources)):
            run.fail(missing, BadInput("no resource has this URN; `preview --json` lists them"))
        gone = [r for r in state.resources.values() if r.urn not in self.seen] + state.condemned
        if self.targets:
            gone = [r for r in gone if r.urn in self.targets]
        if root is not None and root.outputs != self.outputs and not run.failures:
            run.learn(self.outputs)
            with state.edit():
                state.put(replace(root, outputs=self.outputs))
        delete_all(run, gone, self._mine)
        for urn in sorted(set(self._fallen) - self.seen):
            run.note(Step("delete", urn, reasons=(self._fallen[urn][1],)))


def delete_all(run: Run, gone: list[Resource], replaced: set[int] | None = None) -> None:
    """Delete in reverse dependency order, in parallel; protected ones are refused before anything is deleted."""
    guarded = [resource for resource in gone if resource.protect and not resource.condemned]
    for resource in guarded:
        run.fail(
            resource.urn,
            BadInput(
                "unable to delete it as it is protected: remove `protect` from it in the program and run up, "
                "or unprotect it in the state (pulumi state unprotect)"
            ),
        )
    if guarded:
        return
    run.doomed.update(resource.urn for resource in gone)

    def one(resource: Resource) -> bool:
        try:
            run.delete(resource, replaced=id(resource) in (replaced or ()))
        except Aborted:
            return False
        except (BadInput, ProviderError) as error:
            run.fail(resource.urn, error)
            return False
        return True

    in_reverse(gone, one, run.parallel, lambda: run.stopped)


def _reasons(diff: Diff) -> tuple[str, ...]:
    return tuple(f"{path} cannot be changed in place" for path in diff.replaces)


def _refine(diff: Diff, goal: Goal) -> Diff:
    """Apply ignoreChanges and replaceOnChanges to what the provider said."""
    ignore = [parse_path(pattern) for pattern in goal.ignore]
    force = [parse_path(pattern) for pattern in goal.replace_on]

    def kept(text: str) -> bool:
        return not any(covers(pattern, parse_path(text)) for pattern in ignore)

    def forced(text: str) -> bool:
        return any(covers(pattern, parse_path(text)) for pattern in force)

    changed = tuple(filter(kept, diff.changed))
    replaces = dict.fromkeys((*filter(kept, diff.replaces), *filter(forced, changed)))
    return Diff(changed, tuple(replaces), diff.delete_before_replace)
