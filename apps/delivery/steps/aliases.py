"""MLflow's aliases follow Git: the loop of `releases.aliases`, with the real Git and MLflow's own HTTP interface."""

import time
from dataclasses import dataclass

from ..releases import AliasMove, State, look, wanted
from .acts import releases
from .errors import StepError
from .mlflow import registry_of
from .settings import Settings

TURNS = 10
"""Each but the last met somebody who changed something meanwhile."""
PAUSE = 0.2


@dataclass(frozen=True)
class Aligned:
    """What the aliases say now."""

    number: int
    """Of the state that they follow."""
    aliases: tuple[tuple[str, str], ...]
    moves: tuple[AliasMove, ...]
    """All that were made."""


def align(settings: Settings) -> Aligned:
    """Make the aliases say what Git says; whoever else writes, the last one to write looks once more."""
    repository, registry = releases(settings), registry_of(settings)
    made: list[AliasMove] = []

    def read() -> tuple[State, dict[str, str]]:
        state = repository.state()
        return state, registry.aliases(bool(wanted(state)))

    state, actual = read()
    for _ in range(TURNS):
        turn = look(state, actual)
        for move in turn.moves:
            registry.move(move)
            made.append(move)
        state, actual = read()
        if turn.ended(look(state, actual)):
            return Aligned(state.number, tuple(sorted(actual.items())), tuple(made))
        time.sleep(PAUSE)
    raise StepError(f"Git or the aliases of {registry.model} changed during {TURNS} turns; do the same again")
