"""The promotion state machine against a million random orders of events.

Decisions are pure, so what an event does to a state is computed and checked once, the first time that some order meets
it; a table serves all later orders. LEASEHOLD_ORDERS=20000000 walks longer.
"""

import os
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

import pytest

from apps.delivery import gate
from apps.delivery.releases import (
    Abandoned,
    Act,
    AliasMove,
    Alignment,
    Answer,
    Approved,
    Built,
    Event,
    Evidence,
    GateEnded,
    Plan,
    Policy,
    Release,
    RevertRequested,
    Serving,
    StalePlanError,
    State,
    apply,
    decide,
    empty,
    look,
    moved,
    read_state,
    state_files,
    wanted,
)

ORDERS = int(os.environ.get("LEASEHOLD_ORDERS", "1000000"))
EVENTS = 20
"""In one order."""
SYMBOLS = 64
NAMES = ("staging", "canary", "production")
ACT = Act("ada", "test", "2026-01-31T02:00:00Z")
PASSED = gate.Decision(tuple(gate.Verdict(test, gate.Outcome.PASSED, "") for test in gate.Test))
FAILED = gate.Decision((gate.Verdict(gate.Test.P95, gate.Outcome.FAILED, ""),))
Node = TypeVar("Node", bound=Hashable)


def release(number: int, bits: int) -> Release:
    return Release(f"sha256:{bits:064x}", str(bits), f"{number:040x}", f"run-{number}")


RELEASES = (release(1, 1), release(2, 2), release(3, 2))
"""The third is the second's image again, from a run of its own."""


class Kinds(NamedTuple):
    """All that can happen to one release."""

    built: Event
    staged: Event
    passed: Event
    failed: Event
    abandoned: Event
    approved: Event
    served: Event
    reverted: Event


def kinds(item: Release) -> Kinds:
    return Kinds(
        Built(item, ACT),
        Serving("staging", item, ACT),
        GateEnded(Evidence(item, PASSED, ACT)),
        GateEnded(Evidence(item, FAILED, ACT)),
        Abandoned(item, ACT),
        Approved(item.digest, item.run, ACT),
        Serving("canary", item, ACT),
        RevertRequested(item.digest, item.run, ACT),
    )


OF = {item.run: kinds(item) for item in RELEASES}
MISTAKES: tuple[Event, ...] = (
    GateEnded(Evidence(RELEASES[0], gate.Decision(()), ACT)),
    Approved(RELEASES[1].digest, RELEASES[0].run, ACT),
    GateEnded(Evidence(replace(RELEASES[0], version="2"), PASSED, ACT)),
    RevertRequested(RELEASES[0].digest, "run-9", ACT),
)


def likely(state: State) -> Mapping[str, Event | None]:
    """What would come next if all went well: drawn more often, so that orders get somewhere."""
    unseen = next((item for item in RELEASES if item.run not in state.runs), None)
    under_test = state.candidate.release if state.candidate else None
    awaiting = state.awaiting.release if state.awaiting else None
    production = state.production.last
    return {
        "build": OF[unseen.run].built if unseen else None,
        "stage": OF[under_test.run].staged if under_test else None,
        "pass": OF[under_test.run].passed if under_test else None,
        "serve": OF[awaiting.run].served if awaiting else None,
        "approve": OF[awaiting.run].approved if awaiting else None,
        "revert": OF[production.run].reverted if production else None,
    }


@dataclass
class Walk(Generic[Node]):
    """A table of what each symbol does to each node, filled as orders come by."""

    start: Node
    symbols: Sequence[str | Event]
    step: Callable[[Node, str | Event], Node]
    nodes: list[Node] = field(default_factory=list)
    numbers: dict[Node, int] = field(default_factory=dict)
    table: list[list[int]] = field(default_factory=list)
    computed: int = 0

    def number(self, node: Node) -> int:
        if node not in self.numbers:
            self.numbers[node] = len(self.nodes)
            self.nodes.append(node)
            self.table.append([-1] * SYMBOLS)
        return self.numbers[node]

    def compute(self, at: int, symbol: int) -> int:
        self.computed += 1
        self.table[at][symbol] = self.number(self.step(self.nodes[at], self.symbols[symbol]))
        return self.table[at][symbol]

    def orders(self, count: int, seed: int) -> None:
        """Walk so many orders of events, each from the start."""
        assert len(self.symbols) == SYMBOLS
        rng, table, every = random.Random(seed), self.table, bytes(i % SYMBOLS for i in range(256))  # noqa: S311
        start = self.number(self.start)
        for _ in range(count):
            at = start
            for symbol in rng.randbytes(EVENTS).translate(every):
                to = table[at][symbol]
                at = to if to >= 0 else self.compute(at, symbol)

    def close(self, symbols: int) -> None:
        """Compute what the first so many symbols do to every node that can be reached."""
        for at, row in enumerate(self.table):  # which grows meanwhile
            for symbol in range(symbols):
                if row[symbol] < 0:
                    self.compute(at, symbol)


ALL_EVENTS: tuple[Event, ...] = (*(event for of in OF.values() for event in of), *MISTAKES)
BIT = {id(event): 1 << index for index, event in enumerate(ALL_EVENTS)}
"""Of each event in a set of events: far quicker than sets of what they hold."""
LIKELY = ("build", "stage", "pass", "approve") * 7 + ("serve",) * 5 + ("revert",) * 3


class Told(NamedTuple):
    """A state (numbers apart) and the events that took effect on the way to it."""

    state: State
    effects: int = 0


def check(before: Told, plan: Plan, policy: Policy) -> None:
    """What must hold after every change."""
    event, after = plan.event, plan.after
    assert not before.effects & BIT[id(event)], "a repeated event had a second effect"
    effects = before.effects | BIT[id(event)]

    def happened(*events: Event) -> bool:
        return all(effects & BIT[id(event)] for event in events)

    for environment in after.environments[1:]:
        if (runs := after.current(environment)) is not None:
            of = OF[runs.run]
            assert happened(of.staged, of.passed), f"{environment.name} serves an untested digest"
    if (runs := after.production.last) is not None:
        of = OF[runs.run]
        assert happened(of.approved) or (policy is Policy.AUTOMATIC and happened(of.served)), "nobody let it in"
    held = {tested.release.run for environment in after.environments for tested in environment.passed}
    for run, of in OF.items():
        out = happened(of.failed) or happened(of.abandoned) or happened(of.reverted)
        assert not (out and run in held), "what failed or was withdrawn can come back"
    if isinstance(event, GateEnded):
        assert before.state.candidate is not None
        assert before.state.candidate.release == event.release, "one release was tested, another promoted"
    if not isinstance(event, Approved | RevertRequested | Serving):
        assert after.production == before.state.production, "production was touched"
    if any(event is of.failed for of in OF.values()):
        assert after.current(after.environments[0]) == before.state.environments[0].last, "no revert to the last good"


def told_step(policy: Policy) -> Callable[[Told, str | Event], Told]:
    read_back: set[State] = set()

    def step(node: Told, symbol: str | Event) -> Told:
        event = likely(node.state)[symbol] if isinstance(symbol, str) else symbol
        if event is None:
            return node
        plan = decide(node.state, event, policy)
        if plan.answer is not Answer.CHANGED:
            assert plan.after == node.state
            return node
        check(node, plan, policy)
        after = replace(apply(node.state, plan), number=0)
        if after not in read_back:
            read_back.add(after)
            assert read_state(state_files(after), NAMES) == after
        return Told(after, node.effects | BIT[id(event)])

    return step


@pytest.mark.parametrize("policy", Policy)
def test_no_order_of_events_breaks_a_promise(policy: Policy) -> None:
    """Production serves no untested digest, and no event has two effects.

    After the random orders, what they left out is computed as well: then the table holds every order of any length
    with these releases.
    """
    symbols = (*ALL_EVENTS, *LIKELY)
    walk = Walk(Told(empty(NAMES)), symbols, told_step(policy))
    walk.orders(ORDERS if policy is Policy.APPROVAL else ORDERS // EVENTS, seed=1)
    walk.close(len(ALL_EVENTS))
    effects = 0
    for node in walk.nodes:
        effects |= node.effects
    expected = [event for of in OF.values() for event in of if policy is Policy.AUTOMATIC or event is not of.served]
    assert all(effects & BIT[id(event)] for event in expected), "the orders do not get everywhere"
    print(f"{len(walk.nodes)} nodes, {walk.computed} transitions")


def test_two_writers_at_once_do_not_interleave() -> None:
    """One decides and is slow: its plan is made true on the very state that it was made for, or not at all."""
    rng = random.Random(3)  # noqa: S311
    landed = refused = 0
    for _ in range(ORDERS // EVENTS // 20):
        state, plan = empty(NAMES), None
        for _ in range(EVENTS):
            symbol = rng.choice((*ALL_EVENTS, *LIKELY))
            event = likely(state)[symbol] if isinstance(symbol, str) else symbol
            if event is not None and plan is None and rng.random() < 0.5:
                plan = decide(state, event)
            elif event is not None:
                state = apply(state, decide(state, event))
            if plan is None or plan.answer is not Answer.CHANGED:
                plan = None
                continue
            if rng.random() < 0.5:
                continue
            if plan.before == state:
                state = apply(state, plan)
                landed += 1
            else:
                with pytest.raises(StalePlanError):
                    apply(state, plan)
                refused += 1
            plan = None
    assert min(landed, refused) > ORDERS // 5000, (landed, refused)


class Aligner(NamedTuple):
    """Where one run of the aligning step stands; it can stop anywhere for any time."""

    git: State | None = None
    """What it read of Git, and has not compared yet."""
    turn: Alignment | None = None
    left: tuple[AliasMove, ...] = ()


class Aligned(NamedTuple):
    """Git, MLflow, and two aligning steps (None: it has ended)."""

    state: State
    aliases: tuple[tuple[str, str], ...] = ()
    first: Aligner | None = None
    second: Aligner | None = None


def aligner_step(node: Aligned, aligner: Aligner) -> tuple[Aligned, Aligner | None]:
    if aligner.left:
        after = moved(dict(node.aliases), aligner.left[0])
        return node._replace(aliases=tuple(sorted(after.items()))), aligner._replace(left=aligner.left[1:])
    if aligner.git is None:
        return node, aligner._replace(git=node.state)
    now = look(aligner.git, dict(node.aliases))
    ended = aligner.turn is not None and aligner.turn.ended(now)
    return node, None if ended else Aligner(turn=now, left=now.moves)


def renumbered(node: Aligned) -> Aligned:
    """Numbers matter only as equal or not: Git is at 1 again, and whoever has read it before has read 0."""

    def older(aligner: Aligner | None) -> Aligner | None:
        if aligner is None:
            return None
        git = replace(aligner.git, number=0) if aligner.git else None
        turn = replace(aligner.turn, number=-1 if git else 0) if aligner.turn else None
        return aligner._replace(git=git, turn=turn)

    return Aligned(replace(node.state, number=1), node.aliases, older(node.first), older(node.second))


def aligned_step(node: Aligned, symbol: str | Event) -> Aligned:
    if symbol == "first" and node.first is not None:
        node, first = aligner_step(node, node.first)
        node = node._replace(first=first)
    elif symbol == "second" and node.second is not None:
        node, second = aligner_step(node, node.second)
        node = node._replace(second=second)
    else:
        event = likely(node.state).get(symbol) if isinstance(symbol, str) else symbol
        plan = decide(node.state, event) if event is not None else None
        if plan is None or plan.answer is not Answer.CHANGED:
            return node
        node = renumbered(node._replace(state=apply(node.state, plan)))
        if node.first is None:
            node = node._replace(first=Aligner())
        elif node.second is None:
            node = node._replace(second=Aligner())
    if node.first is None and node.second is None:
        assert dict(node.aliases) == wanted(node.state), "at rest, aliases and Git disagree"
    return node


def test_aliases_and_git_agree_whenever_nobody_aligns() -> None:
    """Two aligning steps that stop between any two of their reads and writes, while releases go on."""
    events = [event for item in RELEASES[:2] for event in OF[item.run]]
    symbols = (*events, *("first", "second") * 10, *("build", "stage", "pass", "approve", "revert") * 3)
    symbols += ("build",) * (SYMBOLS - len(symbols))
    walk = Walk(Aligned(replace(empty(NAMES), number=1)), symbols, aligned_step)
    walk.orders(ORDERS // EVENTS, seed=2)
    steps = (symbols.index("first"), symbols.index("second"))
    for start in range(0, len(walk.nodes), 3):
        at, turns = start, 0
        while (node := walk.nodes[at]).first is not None or node.second is not None:
            turns += 1
            assert turns < 100, "it never ends"
            symbol = steps[0 if node.first is not None else 1]
            to = walk.table[at][symbol]
            at = to if to >= 0 else walk.compute(at, symbol)
    print(f"{len(walk.nodes)} nodes, {walk.computed} transitions")
