"""MLflow's registry of models by its own HTTP interface."""

from typing import Any
from urllib.parse import quote

from ..releases import AliasMove
from .errors import Code, StepError
from .settings import Mlflow, Settings
from .web import Peer, Reply, WebError

API = "/api/2.0/mlflow"


class Registry:
    """One registered model: its aliases, and the tags of its versions."""

    def __init__(self, mlflow: Mlflow) -> None:
        """Ask this MLflow."""
        self._mlflow = mlflow
        self._peer = Peer(mlflow.url, mlflow.login, mlflow.authority)

    @property
    def model(self) -> str:
        """Its name."""
        return self._mlflow.model

    def _ask(self, doing: str, method: str, path: str, body: Any = None) -> Reply:
        try:
            return self._peer.ask(method, f"{API}{path}", body)
        except (WebError, OSError) as problem:
            raise StepError(f"MLflow {self._mlflow.url}: {doing}: {problem}; see whether it answers") from problem

    def _refused(self, doing: str, reply: Reply) -> StepError:
        said = " ".join(reply.body[:300].split())
        code = Code.WRONG if reply.status in {400, 401, 403} else Code.UNEXPECTED
        return StepError(f"MLflow {self._mlflow.url}: {doing}: answered {reply.status}: {said}", code)

    def aliases(self, wanted: bool) -> dict[str, str]:
        """Versions by alias; a model that is not there has none, and is missed only where aliases are wanted."""
        doing = f"reading the aliases of {self._mlflow.model}"
        reply = self._ask(doing, "GET", f"/registered-models/get?name={quote(self._mlflow.model, safe='')}")
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
            doing = f"removing {move.alias}"
            reply = self._ask(doing, "DELETE", "/registered-models/alias", body)
        else:
            doing = f"setting {move.alias} to version {move.version}"
            reply = self._ask(doing, "POST", "/registered-models/alias", {**body, "version": move.version})
        if reply.status != 200:
            raise self._refused(doing, reply)

    def tag(self, version: str, key: str, value: str) -> None:
        """Set a tag of a version; the same again changes nothing."""
        doing = f"setting {key} of version {version}"
        body = {"name": self._mlflow.model, "version": version, "key": key, "value": value}
        reply = self._ask(doing, "POST", "/model-versions/set-tag", body)
        if reply.status != 200:
            raise self._refused(doing, reply)


def registry_of(settings: Settings) -> Registry:
    """The registry of these settings, or StepError."""
    if settings.mlflow is None:
        raise StepError("mlflow is null: give its address to the settings", Code.WRONG)
    return Registry(settings.mlflow)
