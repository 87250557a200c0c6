"""MLflow's aliases follow Git: the loop of `releases.aliases`, with the real Git and MLflow's own HTTP interface."""

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..releases import AliasMove, State, look, wanted
from .acts import releases
from .errors import Code, StepError
from .settings import Mlflow, Settings
from .web import Peer, Reply, WebError

TURNS = 10
"""Each but the last met somebody who changed something meanwhile."""
PAUSE = 0.2
MODELS = "/api/2.0/mlflow/registered-models"


@dataclass(frozen=True)
class Aligned:
    """What the aliases say now."""

    number: int
    """Of the state that they follow."""
    aliases: tuple[tuple[str, str], ...]
    moves: tuple[AliasMove, ...]
    """All that were made."""


class Registry:
    """The aliases of one registered model."""

    def __init__(self, mlflow: Mlflow) -> None:
        """Ask this MLflow."""
        self._mlflow = mlflow
        self._peer = Peer(mlflow.url, mlflow.login, mlflow.authority)

    def _ask(self, doing: str, method: str, path: str, body: Any = None) -> Reply:
        try:
            return self._peer.ask(method, f"{MODELS}{path}", body)
        except (WebError, OSError) as problem:
            raise StepError(f"MLflow {self._mlflow.url}: {doing}: {problem}; see whether it answers") from problem

    def _refused(self, doing: str, reply: Reply) -> StepError:
        said = " ".join(reply.body[:300].decode(errors="replace").split())
        code = Code.WRONG if reply.status in {400, 401, 403} else Code.UNEXPECTED
        return StepError(f"MLflow {self._mlflow.url}: {doing}: answered {reply.status}: {said}", code)

    def aliases(self, wanted: bool) -> dict[str, str]:
        """Versions by alias; a model that is not there has none, and is missed only where aliases are wanted."""
        doing = f"reading the aliases of {self._mlflow.model}"
        reply = self._ask(doing, "GET", f"/get?name={quote(self._mlflow.model, safe='')}")
        if reply.status == 404 and not wanted:
            return {}
        if reply.status != 200:
            raise self._refused(doing, reply)
        try:
            entries = reply.object()["registered_model"].get("aliases", [])
            return {str(entry["alias"]): str(entry["version"]) for entry in entries}
        except (WebError, KeyError, TypeError, AttributeError) as problem:
            raise StepError(f"MLflow {self._mlflow.url}: {doing}: answered {reply.body[:80]!r}") from problem

    def move(self, move: AliasMove) -> None:
        """Set an alias, or take it away."""
        body = {"name": self._mlflow.model, "alias": move.alias}
        if move.version is None:
            doing, reply = f"removing {move.alias}", self._ask(f"removing {move.alias}", "DELETE", "/alias", body)
        else:
            doing = f"setting {move.alias} to version {move.version}"
            reply = self._ask(doing, "POST", "/alias", {**body, "version": move.version})
        if reply.status != 200:
            raise self._refused(doing, reply)


def align(settings: Settings) -> Aligned:
    """Make the aliases say what Git says; whoever else writes, the last one to write looks once more."""
    if settings.mlflow is None:
        raise StepError("mlflow is null: give its address to the settings", Code.WRONG)
    repository, registry = releases(settings), Registry(settings.mlflow)
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
    raise StepError(f"Git or the aliases of {settings.mlflow.model} changed during {TURNS} turns; do the same again")
