"""MLflow's aliases follow Git. MLflow cannot compare and set, so aligning is a loop that ends only on a quiet state.

    read Git, then the aliases -> move those that differ -> read both again, until nothing differs and Git stood still

Whoever changed Git starts it. Several at once do no harm: the one that writes last looks once more after its last
write, and sees what it, or another one with an older view, made wrong. At rest, when no one aligns, the aliases say
what Git says. One that dies between its last move and that look leaves this to the next: align on a schedule, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .model import State

NEWEST = "development"
"""The alias of the last release that was taken up, whatever became of it. The others are environments' names."""


@dataclass(frozen=True)
class AliasMove:
    """One alias gets another version, or goes (None)."""

    alias: str
    version: str | None


def wanted(state: State) -> dict[str, str]:
    """What the aliases must say."""
    releases = {at.name: state.current(at) for at in state.environments}
    return {
        alias: release.version for alias, release in {NEWEST: state.built, **releases}.items() if release is not None
    }


def moves(state: State, actual: Mapping[str, str]) -> tuple[AliasMove, ...]:
    """What makes the aliases agree with Git; aliases of other names are other people's."""
    target = wanted(state)
    owned = (NEWEST, *(environment.name for environment in state.environments))
    return tuple(AliasMove(alias, target.get(alias)) for alias in owned if actual.get(alias) != target.get(alias))


def moved(actual: Mapping[str, str], move: AliasMove) -> dict[str, str]:
    """The aliases after one move."""
    rest = {alias: version for alias, version in actual.items() if alias != move.alias}
    return rest if move.version is None else {**rest, move.alias: move.version}


@dataclass(frozen=True)
class Alignment:
    """One turn of the loop."""

    number: int
    """Of the state that it follows."""
    moves: tuple[AliasMove, ...]

    def ended(self, now: "Alignment") -> bool:
        """Whether a second look, taken after the last move of this turn, shows that the loop may end."""
        return not now.moves and now.number == self.number


def look(state: State, actual: Mapping[str, str]) -> Alignment:
    """What one turn has to do."""
    return Alignment(state.number, moves(state, actual))
