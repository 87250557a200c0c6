"""One small stack behind the fault proxy: cells of the matrix, and what became of them."""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rehearsal import recover
from rehearsal.cli import PROVIDERS, isolate, passphrase
from rehearsal.cloud import Cloud
from rehearsal.cloud import state as states
from rehearsal.cloud.state import SERVICES
from rehearsal.engine import Engine, Silent, Summary
from rehearsal.paths import PROJECT, Root
from rehearsal.providers import INVOKES
from tests.environments import as_file
from tests.rehearsal.fault_proxy import Fault, Proxy, Rule
from tests.rehearsal.stack import small

NAME = "faulty"
BOUND = 900.0
"""Seconds in which any run ends, whatever happens: well above five boots of a machine."""


@dataclass(frozen=True)
class Cell:
    """A fault at the first call of one kind."""

    fault: Fault
    call: str


@dataclass
class Faulty(ABC):
    """The stack; its runs are in process, so that cells cost no start of a command."""

    root: Root
    proxy: Proxy
    file: Path

    def engine(self) -> Engine:
        """As a new command would make it."""
        return Engine(self.root, NAME, self.file, self.program, PROVIDERS, INVOKES, passphrase(self.root), Silent())

    @property
    def program(self) -> Path:
        """The folder of what is run: the product, unless a test has its own."""
        return PROJECT

    @abstractmethod
    def marks(self) -> Counter[str]:
        """How often each of its objects exists; nothing else may exist."""

    def run(self, command: str, cells: Sequence[Cell] = ()) -> tuple[Summary | str, list[Cell]]:
        """Run `up` or `destroy` with faults; how it ended, and the cells whose call was made."""
        rules = [Rule(cell.call, cell.fault) for cell in cells]
        engine = self.engine()
        self.proxy.begin(*rules)
        begin = time.monotonic()
        try:
            outcome: Summary | str
            if command == "destroy":
                engine.unprotect()
                outcome = recover.destroy(engine, lambda _: None)
            else:
                outcome = engine.up()
        except Exception as error:  # what the program raised, as the command line would print it
            outcome = engine.redact(f"{type(error).__name__}: {error}")
        finally:
            self.proxy.begin()
        assert time.monotonic() - begin < BOUND
        return outcome, [cell for cell, rule in zip(cells, rules, strict=True) if rule.struck]

    def calls(self, command: str) -> list[str]:
        """Every distinct call of an undisturbed run."""
        engine = self.engine()
        self.proxy.begin()
        if command == "destroy":
            engine.unprotect()
        summary = getattr(engine, command)()
        assert not summary.failures, summary.failures
        return sorted(self.proxy.calls)

    def forget(self) -> None:
        """No state."""
        (self.root.stacks / f"{NAME}.json").unlink(missing_ok=True)

    @contextmanager
    def emptied(self) -> Iterator[Self]:
        """The stack, of which nothing is there before, and nothing afterwards."""
        self.forget()
        try:
            yield self
        finally:
            self.forget()


@dataclass
class FaultySite(Faulty):
    """One of a site; every run logs in anew through the proxy."""

    cloud: Cloud
    runs: int = 0

    def engine(self) -> Engine:
        """Another clouds.yaml is another connection."""
        self.runs += 1
        copy = self.file.with_name(f"clouds-{self.runs}.yaml")
        path = self.proxy.clouds_yaml(self.cloud.clouds_yaml, copy)
        isolate({**self.cloud.environment(), "OS_CLIENT_CONFIG_FILE": str(path)})
        return super().engine()

    def marks(self) -> Counter[str]:
        """Of the whole cloud."""
        return marks(self.cloud)

    def forget(self) -> None:
        """An empty cloud, too."""
        super().forget()
        self.cloud.reset()


@contextmanager
def faulty(root: Root, cloud: Cloud, folder: Path) -> Iterator[FaultySite]:
    """Make the stack, empty, and leave nothing of it."""
    state = states.load(root.cloud / "state.json")
    assert state is not None
    file = folder / f"Pulumi.{NAME}.yaml"
    file.write_text(as_file(small()))
    with Proxy({name: state.port(name) for name in SERVICES}).serving() as proxy:
        try:
            with FaultySite(root, proxy, file, cloud).emptied() as stack:
                yield stack
        finally:
            isolate(cloud.environment())


def whole(outcome: Summary | str) -> bool:
    """Whether a run ended well."""
    return not isinstance(outcome, str) and not outcome.failures


def causes(outcome: Summary | str) -> list[str]:
    """What a run that failed says."""
    return [outcome] if isinstance(outcome, str) else [failure.cause for failure in outcome.failures]


def marks(cloud: Cloud) -> Counter[str]:
    """How often each resource exists in the cloud, by its mark; nothing else may exist."""
    found: Counter[str] = Counter()
    for kind, objects in cloud.inventory().items():
        for thing in objects:
            mark: Any = thing.get("description")
            if kind in ("servers", "volumes"):
                mark = thing["metadata"].get("leasehold-urn")
            if kind == "leases":
                mark = thing["name"]
            if kind == "security_group_rules":  # the inventory leaves their marks out: they go with their groups
                continue
            found[str(mark)] += 1
    return found


@dataclass
class Matrix:
    """What became of cells, by fault."""

    healed: Counter[str] = field(default_factory=Counter)
    failed: dict[Cell, list[str]] = field(default_factory=dict)
    unmet: list[Cell] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def share(self) -> float:
        """Of the cells whose call was made, those that healed inside one run."""
        healed = sum(self.healed.values())
        return healed / max(healed + len(self.failed), 1)

    def table(self) -> str:
        """For people: healed and failed by fault."""
        failed = Counter(cell.fault.name for cell in self.failed)
        names = sorted({*self.healed, *failed})
        lines = [f"{'fault':18} {'healed':>6} {'failed':>6}"]
        lines += [f"{name:18} {self.healed[name]:6} {failed[name]:6}" for name in names]
        lines += [f"{100 * self.share:.2f} % of {sum(self.healed.values()) + len(self.failed)} healed in one run"]
        lines += [f"  {cell.fault.name} at {cell.call}: {text[0]}" for cell, text in self.failed.items()]
        return "\n".join(lines)


def dealt(cells: Iterable[Cell], hands: int) -> list[list[Cell]]:
    """Cells in so many hands, like cards: calls of one resource, which follow each other, meet different hands."""
    found: list[list[Cell]] = [[] for _ in range(hands)]
    for number, cell in enumerate(cells):
        found[number % hands].append(cell)
    return [hand for hand in found if hand]


def attempt(stack: Faulty, command: str, cells: list[Cell], matrix: Matrix) -> list[Cell]:
    """One run with these cells, and one without, where it failed; what failed in company is left to be tried alone."""
    outcome, met = stack.run(command, cells)
    matrix.unmet += [cell for cell in cells if cell not in met]
    assert set(stack.marks().values()) <= {1}, stack.marks()
    if whole(outcome):
        matrix.healed.update(cell.fault.name for cell in met)
        return []
    if len(met) == 1:
        matrix.failed[met[0]] = causes(outcome)
    assert whole(stack.run(command)[0]), "the next run, without a fault, must heal what a fault has left"
    return met if len(met) > 1 else []


def up_and_away(stack: Faulty, cells: list[Cell], matrix: Matrix) -> None:
    """One `up` from nothing with these cells."""
    alone = attempt(stack, "up", cells, matrix)
    assert set(stack.marks().values()) == {1}, stack.marks()
    assert whole(stack.run("destroy")[0])
    assert not stack.marks(), stack.marks()
    for half in dealt(alone, 2):
        up_and_away(stack, half, matrix)


def destroy_from_whole(stack: Faulty, cells: list[Cell], matrix: Matrix) -> None:
    """One `destroy` of a whole stack with these cells."""
    assert whole(stack.run("up")[0])
    alone = attempt(stack, "destroy", cells, matrix)
    assert not stack.marks(), stack.marks()
    for half in dealt(alone, 2):
        destroy_from_whole(stack, half, matrix)


def whole_matrix(stack: Faulty, command: str, faults: Iterable[Fault], hands: int) -> Matrix:
    """Each fault at each distinct call of a command, in so many runs for a fault."""
    calls = {"up": stack.calls("up"), "destroy": stack.calls("destroy")}[command]
    print(f"{len(calls)} distinct calls of {command}:", *calls, sep="\n  ")
    matrix, try_one = Matrix(), up_and_away if command == "up" else destroy_from_whole
    for fault in faults:
        for hand in dealt([Cell(fault, call) for call in calls], hands):
            try_one(stack, hand, matrix)
        print(matrix.table(), flush=True)
    print("not met in company:", *(f"{cell.fault.name} at {cell.call}" for cell in matrix.unmet), sep="\n  ")
    return matrix


def each_alone(proxy: Proxy, work: Callable[[], None], faults: Iterable[Fault]) -> Matrix:
    """Some work with each fault at each distinct call of it; what fails must go well the next time."""
    proxy.begin()
    work()
    calls = sorted(proxy.calls)
    print(f"{len(calls)} distinct calls:", *calls, sep="\n  ")
    matrix = Matrix()
    for cell in (Cell(fault, call) for fault in faults for call in calls):
        rule = Rule(cell.call, cell.fault)
        proxy.begin(rule)
        try:
            work()
        except Exception as error:  # what a person would read
            matrix.failed[cell] = [f"{type(error).__name__}: {error}"]
            proxy.begin()
            work()
        else:
            matrix.healed[cell.fault.name] += rule.struck
            matrix.unmet += [] if rule.struck else [cell]
    print(matrix.table(), *matrix.unmet, sep="\n")
    return matrix


def in_company(proxy: Proxy, work: Callable[[], None], faults: Mapping[str, Fault], wanted: Mapping[str, str]) -> None:
    """Some work with a fault, by name, at each of these calls, all in one run; each of them must be met."""
    rules = [Rule(call, faults[name]) for call, name in wanted.items()]
    proxy.begin(*rules)
    work()
    assert [rule.struck for rule in rules] == [1] * len(rules), [rule.call for rule in rules if not rule.struck]
