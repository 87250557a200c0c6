"""Helm releases that are not whole: found at every refresh, and healed by the next `up`.

Helm keeps each revision of a release in a Secret. One that says pending-install or pending-upgrade refuses every later
operation, for ever when its program was killed; a release that failed outside of Pulumi looks unchanged to it, and so
does one of which somebody has removed an object. A dynamic resource sees all three. The class stays importable under
this name and has no attributes of its own: Pulumi pickles it by reference, so that the state always runs the present
code.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from cluster import lacking
from cluster.api import Api, ApiError, removed
from cluster.records import DEPLOYED, FAILED, Revision, newest

QUIET_SECONDS = 60
"""Age at which a pending operation counts as cut off. The stack's lock admits no second `up`; a provider's process may
outlive a killed one for a moment. Should one still work after that, it finds its record gone and ends with an error;
what it applied is what the next operation applies again."""
WAIT_SECONDS = 10 * 60
"""Bound for all of them to be free, and for an API that does not answer or says that it cannot now."""
PAUSE = 2.0
T = TypeVar("T")


class HeldReleasesProvider(ResourceProvider):
    """Verbs over helm's records. Inputs: kubeconfig, spaces. Outputs: held and healed, by NAMESPACE/NAME."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Free what is held; a stack of before may have left some."""
        return CreateResult(str(uuid.uuid4()), {**props, "held": {}, "healed": _heal(props, {})})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Look for held releases; what was known stays where nobody answers."""
        try:
            api = Api(props["kubeconfig"])
            revisions = _newest(api, props["spaces"])
            held = {revision.key: revision.status for revision in revisions if revision.held}
            held |= {revision.key: f"lacks {words}" for revision, words in _lacking(api, revisions)}
        except ApiError:
            held = props["held"]
        return ReadResult(id_, {**props, "held": held})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Something to free is a change, and so is another way to look, or another place."""
        changed = bool(olds.get("held")) or any(olds.get(key) != news.get(key) for key in ("kubeconfig", "spaces"))
        return DiffResult(changed)

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Free what is held."""
        return UpdateResult({**news, "held": {}, "healed": _heal(news, olds["healed"])})

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        """Nothing exists outside of the state."""


def _newest(api: Api, spaces: Sequence[str]) -> list[Revision]:
    query = {"labelSelector": "owner=helm"}
    lists = (api.call("GET", f"/api/v1/namespaces/{space}/secrets", query, brief=True) for space in spaces)
    # An empty list of metadata is null.
    return newest(secret for answer in lists for secret in answer["items"] or [])


def _lacking(api: Api, revisions: Iterable[Revision]) -> Iterator[tuple[Revision, str]]:
    """Deployed releases of which objects are missing, with their names."""
    there: dict[str, set[tuple[str, str, str]]] = {}
    for revision in revisions:
        if revision.status != DEPLOYED:
            continue
        wanted = lacking.promised(api.call("GET", revision.path), revision.space)
        for kind in {kind for kind, _, _ in wanted} - there.keys():
            items = api.call("GET", lacking.path(kind), brief=True)["items"] or []
            there[kind] = {(kind, i["metadata"].get("namespace", ""), i["metadata"]["name"]) for i in items}
        if words := lacking.sentence(one for one in wanted if one not in there[one[0]]):
            yield revision, words


def _heal(props: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
    """Remove the records of operations that were cut off; release to the revisions that were healed, the new ones too.

    A failed release keeps its record: helm changes it, and `install` takes its name again. One that lacks something is
    only noted: its upgrade makes that anew.
    """
    api, healed, deadline = Api(props["kubeconfig"]), dict(before), time.monotonic() + WAIT_SECONDS

    def releases() -> list[Revision]:
        return _newest(api, props["spaces"])

    while waiting := [revision for revision in _patiently(releases, deadline) if revision.held]:
        for revision in waiting:
            age = (datetime.now(UTC) - revision.made).total_seconds()
            remove = partial(removed, api, revision.path, revision.precondition)
            if revision.status == FAILED or (age > QUIET_SECONDS and _patiently(remove, deadline)):
                healed[revision.key] = _note(revision)
        pending = [revision for revision in waiting if revision.status != FAILED]
        if not pending:
            break
        if time.monotonic() > deadline:
            raise ApiError(
                f"Release {pending[0].key} is {pending[0].status}: somebody changes it; wait, then run up again"
            )
        time.sleep(PAUSE)
    for revision, words in _patiently(lambda: list(_lacking(api, releases())), deadline):
        healed[revision.key] = f"after revision {revision.number}, which lacked {words}"
    return healed


def _patiently(ask: Callable[[], T], deadline: float) -> T:
    """Ask until there is an answer. Raises ApiError: a refusal, or what it was told last."""
    while True:
        try:
            return ask()
        except ApiError as error:
            if not error.passing or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE)


def _note(revision: Revision) -> str:
    return f"after revision {revision.number}, which was {revision.status} since {revision.made:%Y-%m-%d %H:%M:%S} UTC"


class HeldReleases(Resource, module="cluster", name="HeldReleases"):
    """Helm releases of some namespaces, all of them whole."""

    held: pulumi.Output[dict[str, str]]
    """Release (NAMESPACE/NAME) to what the last refresh found: a status, or what it lacks."""
    healed: pulumi.Output[dict[str, str]]
    """Release to what was healed last; a release that has this as its description is changed once it was."""

    def __init__(
        self,
        name: str,
        kubeconfig: pulumi.Input[str],
        spaces: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Free them. `opts` says what must be there before."""
        inputs = {"kubeconfig": pulumi.Output.secret(kubeconfig), "spaces": sorted(spaces)}
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        opts = pulumi.ResourceOptions.merge(opts, hidden)
        super().__init__(HeldReleasesProvider(), name, {**inputs, "held": None, "healed": None}, opts)

    def description(self, space: str, release: str) -> pulumi.Output[str | None]:
        """For the release of that name: orders it after the healing, and makes it whole again."""
        return self.healed.apply(lambda healed: (healed or {}).get(f"{space}/{release}"))
