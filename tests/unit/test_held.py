"""Releases that were cut off: which are freed, when, and that nothing else is touched."""

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from cluster import held, lacking
from cluster.api import CONFLICT, ApiError
from cluster.held import HeldReleasesProvider

PROPS = {"kubeconfig": "k", "spaces": ["a", "b"]}
OLD, NEW = timedelta(minutes=5), timedelta(seconds=1)


class Records:
    """Helm's Secrets in memory; `passing` is done while somebody waits."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.there_is: list[tuple[str, str, str]] = []
        """Kind, namespace and name of what is in the cluster."""
        self.passing: Callable[[], object] = lambda: None
        self.error: ApiError | None = None

    def add(
        self, space: str, release: str, number: int, status: str, age: timedelta = OLD, *, manifest: str = ""
    ) -> None:
        name = f"sh.helm.release.v1.{release}.v{number}"
        metadata = {
            "name": name,
            "namespace": space,
            "uid": f"{release}{number}",
            "resourceVersion": "1",
            "creationTimestamp": (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": {"owner": "helm", "name": release, "status": status, "version": str(number)},
        }
        made = base64.b64encode(base64.b64encode(gzip.compress(json.dumps({"manifest": manifest}).encode())))
        record = {"metadata": metadata, "data": {"release": made.decode()}}
        self.secrets[f"/api/v1/namespaces/{space}/secrets/{name}"] = record

    def call(self, method: str, path: str, query: Any = None, body: Any = None, *, brief: bool = False) -> Any:
        if self.error:
            raise self.error
        if method == "GET" and path in self.secrets:
            return self.secrets[path]
        if method == "GET" and (kinds := [kind for kind in lacking.KINDS if lacking.path(kind) == path]):
            here = [one for one in self.there_is if one[0] in kinds]
            return {"items": [{"metadata": {"namespace": space, "name": name}} for _, space, name in here] or None}
        if method == "GET":
            assert query == {"labelSelector": "owner=helm"}
            assert brief, "a record holds the whole manifest"
            return {"items": [secret for key, secret in self.secrets.items() if key.startswith(f"{path}/")] or None}
        if body["preconditions"]["resourceVersion"] != self.secrets[path]["metadata"]["resourceVersion"]:
            raise ApiError("changed", CONFLICT)
        return self.secrets.pop(path)

    def there(self) -> list[str]:
        return sorted(key.rpartition("v1.")[2] for key in self.secrets)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    made, waited = Records(), [0.0]
    monkeypatch.setattr(held, "Api", lambda _kubeconfig: made)

    def sleep(seconds: float) -> None:
        waited[0] += seconds
        made.passing()

    monkeypatch.setattr("cluster.held.time.sleep", sleep)
    monkeypatch.setattr("cluster.held.time.monotonic", lambda: waited[0])
    return made


def healed(olds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    outs = HeldReleasesProvider().update("x", {"healed": {}, **(olds or {})}, PROPS).outs
    assert outs is not None
    return dict(outs)


def test_only_the_record_of_the_operation_that_was_cut_off_is_removed(records: Records) -> None:
    """The revision before it is what runs; helm then upgrades from that."""
    records.add("a", "web", 1, "superseded")
    records.add("a", "web", 2, "deployed")
    records.add("a", "web", 3, "pending-upgrade")
    records.add("b", "new", 1, "pending-install")
    records.add("b", "good", 1, "deployed")
    assert set(healed()["healed"]) == {"a/web", "b/new"}
    assert records.there() == ["good.v1", "web.v1", "web.v2"]


def test_a_failed_release_keeps_its_record_and_is_changed(records: Records) -> None:
    """Its new description makes Pulumi upgrade it, which helm allows; without the record it would not know it."""
    records.add("a", "web", 10, "failed")
    records.add("a", "web", 9, "deployed")
    first = healed()
    assert records.there() == ["web.v10", "web.v9"]
    records.add("a", "web", 11, "failed")
    second = healed(first)
    assert first["healed"]["a/web"] != second["healed"]["a/web"]


def test_an_operation_that_may_be_under_way_is_waited_for(records: Records) -> None:
    """Its program may have outlived a killed run, and end well."""
    records.add("a", "web", 1, "pending-install", NEW)
    records.passing = lambda: records.add("a", "web", 1, "deployed")
    assert healed()["healed"] == {}
    assert records.there() == ["web.v1"]


def test_a_record_that_changes_under_our_hands_is_left_alone(records: Records) -> None:
    records.add("a", "web", 1, "pending-install")
    [secret] = records.secrets.values()
    real = records.call

    def late(method: str, *rest: Any, **options: Any) -> Any:
        if method == "DELETE":
            secret["metadata"]["resourceVersion"] = "2"
            secret["metadata"]["labels"]["status"] = "deployed"
        return real(method, *rest, **options)

    records.call = late  # type: ignore[method-assign]
    assert healed()["healed"] == {}
    assert records.there() == ["web.v1"]


def test_the_wait_is_bounded_and_names_the_release(records: Records) -> None:
    """Somebody who starts one operation after the other must not hold an `up` for ever."""
    records.add("a", "web", 1, "pending-upgrade", NEW)
    records.passing = lambda: records.add("a", "web", 1, "pending-upgrade", NEW)
    with pytest.raises(ApiError, match=r"a/web is pending-upgrade"):
        healed()


def test_nothing_held_is_no_change_and_an_outage_forgets_nothing(records: Records) -> None:
    """A second `up` changes nothing; a cluster that does not answer has healed nothing either."""
    provider = HeldReleasesProvider()
    props = {**PROPS, "held": {}, "healed": {"a/web": "once"}}
    records.add("a", "web", 1, "deployed")
    found = provider.read("x", props)
    assert (found.id, found.outs) == ("x", props)
    assert not provider.diff("x", props, PROPS).changes
    assert provider.diff("x", props, {**PROPS, "spaces": ["a"]}).changes
    records.add("a", "web", 2, "failed")
    outs = provider.read("x", props).outs
    assert outs is not None
    assert outs["held"] == {"a/web": "failed"}
    assert provider.diff("x", dict(outs), PROPS).changes
    records.error = ApiError("the API server does not answer")
    assert provider.read("x", props).outs == props


WEB = yaml.safe_dump_all(
    [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "a"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "web"}},
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "of-another-group"}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "ended-and-removed"}},
        None,
    ]
)


def test_a_release_of_which_something_was_removed_is_upgraded_once(records: Records) -> None:
    """Helm and Pulumi compare revisions, not objects: a Deployment that somebody deleted would stay away for ever."""
    provider = HeldReleasesProvider()
    records.add("a", "web", 3, "deployed", manifest=WEB)
    whole = [("Deployment", "a", "web"), ("Service", "a", "web"), ("ClusterRole", "", "web")]
    records.there_is = whole
    props = {**PROPS, "held": {}, "healed": {}}
    assert provider.read("x", props).outs == props
    records.there_is = [*whole[1:], ("Deployment", "b", "web")]
    outs = provider.read("x", props).outs
    assert outs is not None
    assert outs["held"] == {"a/web": "lacks Deployment web"}
    assert provider.diff("x", dict(outs), PROPS).changes
    first = healed(outs)
    assert first["healed"] == {"a/web": "after revision 3, which lacked Deployment web"}
    records.add("a", "web", 4, "deployed", manifest=WEB)
    assert healed(first)["healed"] != first["healed"], "a second loss is another change"
    records.there_is = whole
    assert provider.read("x", first).outs == first
    assert records.there() == ["web.v3", "web.v4"]


def test_a_long_list_of_what_is_missing_is_cut(records: Records) -> None:
    """It is a sentence in a preview, and a release's description."""
    assert records.secrets == {}
    assert lacking.sentence([]) == ""
    missing = {("Service", "a", f"s{n}") for n in range(5)}
    assert lacking.sentence(missing) == "Service s0, Service s1, Service s2, 2 more"


def test_an_api_that_says_no_ends_the_healing_at_once(records: Records) -> None:
    """Waiting would not give the right to look."""
    records.error = ApiError("forbidden", 403)
    with pytest.raises(ApiError, match="forbidden"):
        healed()


def test_an_api_that_cannot_now_is_asked_again(records: Records) -> None:
    """A load balancer's 503 while a server of the control plane starts anew is no reason to end a run."""
    records.add("a", "web", 3, "pending-upgrade")
    records.error = ApiError("the server is currently unable to handle the request", 503)

    def later() -> None:
        records.error = None

    records.passing = later
    assert set(healed()["healed"]) == {"a/web"}
