"""The gate's measurements of whole releases: every part passes a good one, and fails a bad one by its cause.

Model servers and the Kubernetes API are stand-ins that answer over real HTTP; the API's pods have the fields that a
kubelet reports.
"""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from apps.delivery import gate, measure
from apps.delivery.gate import Outcome, Test
from apps.delivery.measure import integration
from apps.delivery.measure.comparison import compare
from apps.delivery.measure.integration import Patience
from apps.delivery.releases import strict
from tests.unit.test_delivery_measure_load import (
    CLASSES,
    SAMPLES,
    Handler,
    Model,
    error,
    every,
    late,
    listening,
    serving,
)

MIB = 1024 * 1024
SETTINGS = gate.Settings(
    gate.Contract(frozenset(CLASSES), samples=5, attempts=15),
    gate.Resources(readings=1),
    gate.Load(p95_ms=900.0, rounds=2, good=0.999),
    gate.Comparison(samples=20, rounds=8, accuracy_margin=0.2),
)
LIMITS = measure.Limits(request_seconds=1.5, pause_seconds=0.01, settle_seconds=0.05, blame_seconds=0.05, seconds=60.0)


@dataclass
class Cluster:
    """A stand-in for the Kubernetes API, with one list of pods."""

    pods: list[dict[str, Any]]
    status: int = 200
    change: Callable[["Cluster"], None] = lambda _: None
    """Called before each answer."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Namespace's path, selector and credentials of each request."""


class Api(BaseHTTPRequestHandler):
    cluster: Cluster

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        url, cluster = urlsplit(self.path), self.cluster
        cluster.asked.append((url.path, parse_qs(url.query)["labelSelector"][0], self.headers["Authorization"]))
        cluster.change(cluster)
        body = json.dumps({"kind": "PodList", "items": cluster.pods} if cluster.status == 200 else {"message": "no"})
        self.send_response(cluster.status)
        self.end_headers()
        self.wfile.write(body.encode())


def pod(name: str = "app-1", address: str = "127.0.0.1", **status: Any) -> dict[str, Any]:
    container = {"name": "model", "restartCount": 0, "state": {"running": {}}, "lastState": {}}
    return {
        "metadata": {"uid": f"uid-{name}", "name": name},
        "spec": {
            "containers": [
                {"name": "proxy", "resources": {"limits": {"memory": "64Mi"}}},
                {"name": "model", "resources": {"limits": {"memory": "256Mi"}}},
            ]
        },
        "status": {"phase": "Running", "podIP": address, "containerStatuses": [container], **status},
    }


def ended(pods: list[dict[str, Any]], reason: str, times: int = 1) -> None:
    """The first pod's container ended, and was started again."""
    (container,) = pods[0]["status"]["containerStatuses"]
    container["restartCount"] += times
    container["lastState"] = {"terminated": {"reason": reason, "containerID": f"cri://{container['restartCount']}"}}


@dataclass
class Bench:
    """A release in staging, on two pods, and production; a test spoils some of it."""

    first: Model = field(default_factory=Model)
    second: Model = field(default_factory=Model)
    production: Model = field(default_factory=Model)
    cluster: Cluster = field(default_factory=lambda: Cluster([pod(), pod("app-2", "127.0.0.2")]))

    @contextmanager
    def running(self, folder: Path) -> Iterator[tuple[measure.Target, measure.ClusterApi]]:
        (folder / "token").write_text("secret\n")
        with ExitStack() as stack:
            service = stack.enter_context(serving(self.first))
            port = int(service.url.rsplit(":", 1)[1])
            stack.enter_context(serving(self.second, "127.0.0.2", port))
            production = stack.enter_context(serving(self.production))
            api = stack.enter_context(listening(type("Bound", (Api,), {"cluster": self.cluster})))
            where = measure.Where("staging", "app=model", "model", port)
            target = measure.Target("7", service, where, measure.Production("6", production))
            server = measure.Server.at("127.0.0.1", api.server_address[1])
            yield target, measure.ClusterApi(server, folder / "token")

    def run(
        self, folder: Path, settings: gate.Settings = SETTINGS, first_release: bool = False, **named: Any
    ) -> measure.Measured:
        with self.running(folder) as (target, api):
            measured = replace(target, production=None) if first_release else target
            samples = named.pop("samples", SAMPLES)
            return measure.run(settings, measured, samples, api, **{"limits": LIMITS, **named})


def test_a_good_release_passes_and_its_evidence_can_be_read_again(tmp_path: Path) -> None:
    """The evidence goes into Git; what cannot be read again proves nothing."""
    bench = Bench()
    measured = bench.run(tmp_path)
    assert measured.decision.outcome is Outcome.PASSED, measured.decision.reason
    assert set(measured.measurements.served_versions) == {"7"}
    assert [use.name for use in measured.measurements.pods] == ["app-1", "app-2"]
    assert strict.read(measure.Measured, strict.written(measured), "evidence") == measured
    assert set(bench.cluster.asked) == {("/api/v1/namespaces/staging/pods", "app=model", "Bearer secret")}


def test_the_first_release_is_compared_with_nothing(tmp_path: Path) -> None:
    """There is no production yet."""
    bench = Bench()
    measured = bench.run(tmp_path, first_release=True)
    assert measured.decision.outcome is Outcome.PASSED, measured.decision.reason
    assert bench.production.asked == []


def under_load(bench: Bench, happens: Callable[[], None]) -> None:
    """Something happens once, when the load has come to its middle."""
    once = threading.Lock()

    def predict(model: Model, handler: Handler, number: int) -> None:
        if number > 50 and once.acquire(blocking=False):
            happens()
        model.right(handler)

    bench.first.predict = predict


def spoilt(**changed: Any) -> Callable[[Bench], None]:
    def spoil(bench: Bench) -> None:
        for name, value in changed.items():
            setattr(bench.first, name, value)

    return spoil


def after(predictions: int, predict: Callable[[Model, Handler, int], None]) -> Callable[[Model, Handler, int], None]:
    """The contract takes 5 predictions, the load 100 or more after them."""
    return lambda model, handler, number: (
        predict(model, handler, number) if number > predictions else model.right(handler)
    )


def answers(body: str) -> Callable[[Bench], None]:
    return spoilt(predict=every(1, lambda handler: handler.say(200, body)))


def worse(bench: Bench) -> None:
    bench.first.predict = every(2, lambda handler: handler.model.right(handler, "Bread"))


def no_limit(bench: Bench) -> None:
    bench.cluster.pods[1]["spec"]["containers"][1]["resources"] = {}


def evicted(bench: Bench) -> None:
    """As the kubelet leaves a pod that it ended for want of the node's memory."""

    def evict() -> None:
        bench.cluster.pods[1]["status"] = {"phase": "Failed", "reason": "Evicted"}

    under_load(bench, evict)


def short_peak(bench: Bench) -> None:
    """Near the limit for 0.3 s only, in a round of load that takes about 0.6 s."""
    began: list[float] = []
    under_load(bench, lambda: began.append(time.monotonic()))
    quick = bench.first.predict

    def predict(model: Model, handler: Handler, number: int) -> None:
        time.sleep(0.05)
        assert quick is not None
        quick(model, handler, number)

    def memory() -> str:
        high = began and time.monotonic() - began[0] < 0.8
        return f'python_info 1\nprocess_resident_memory_bytes{{pid="1"}} {250 * MIB if high else 100 * MIB}.0\n'

    bench.first.predict, bench.first.memory = predict, memory


SPOILT: dict[str, tuple[Callable[[Bench], None], Test, str]] = {
    "another version on one pod": (
        lambda bench: setattr(bench.second, "version", '{"model_version": "6"}'),
        Test.VERSION,
        "version 6 is served, version 7 is expected",
    ),
    "a pod that names no version": (
        lambda bench: setattr(bench.second, "version", "{}"),
        Test.VERSION,
        "version unknown is served",
    ),
    "a pod that never answers /version": (
        lambda bench: setattr(bench.second, "version", ""),
        Test.VERSION,
        "version unknown is served",
    ),
    "an unknown class": (answers('{"label": "low", "probability": 0.9}'), Test.CONTRACT, "sample 0 is answered with"),
    "no JSON": (answers("<p>Bread"), Test.CONTRACT, "sample 0 is answered with a body that is no JSON object"),
    "another task's /test": (spoilt(test="low"), Test.CONTRACT, 'sample /test is answered with label "low"'),
    "no /test": (spoilt(test=""), Test.CONTRACT, "sample /test is answered with label null"),
    "no predictions": (
        spoilt(predict=every(1, error)),
        Test.CONTRACT,
        "1 of 16 requests answered, 5 are needed",
    ),
    "a restart": (
        lambda bench: under_load(bench, lambda: ended(bench.cluster.pods, "Error")),
        Test.RESTARTS,
        "app-1 restarted 1 time under load",
    ),
    "an OOM kill": (
        lambda bench: under_load(bench, lambda: ended(bench.cluster.pods, "OOMKilled", 3)),
        Test.OOM_KILLS,
        "app-1 was killed for want of memory 1 time under load",
    ),
    "an eviction": (evicted, Test.RESTARTS, "app-2 restarted 1 time under load"),
    "a short peak of memory": (
        short_peak,
        Test.MEMORY,
        "app-1 used 250 MiB under load, 97.7 % of its limit of 256 MiB; 90 % may be used",
    ),
    "no limit": (no_limit, Test.MEMORY, "app-2 has no memory limit"),
    "memory that it does not tell": (
        lambda bench: setattr(bench.second, "memory", lambda: "process_cpu_seconds_total 1.0\n"),
        Test.MEMORY,
        "the memory of app-2 was read 0 times under load, 1 are needed, and no more can be measured",
    ),
    "10 % of requests that fail": (spoilt(predict=every(10, error)), Test.SUCCESS, "10 of 100 requests failed (10 %)"),
    "10 % of connections that are dropped": (
        spoilt(predict=every(10, Handler.hang_up)),
        Test.SUCCESS,
        "10 of 100 requests failed (10 %)",
    ),
    "slow answers": (spoilt(predict=after(5, every(10, late(1.0)))), Test.P95, "p95 of 100 requests is 1,"),
    "a worse model": (worse, Test.ACCURACY, "accuracy on"),
    "a slower model": (
        spoilt(predict=after(105, every(1, late(0.07)))),
        Test.LATENCY,
        "slower than 1.5 times version 6 on",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_release_that_is_bad_in_one_way_fails_by_that_cause_alone(name: str, tmp_path: Path) -> None:
    """What a person reads in the evidence must be what is wrong; a restart may also be the cause of a kill."""
    spoil, test, reason = SPOILT[name]
    bench = Bench()
    spoil(bench)
    measured = bench.run(tmp_path)
    failed = {verdict.test: verdict for verdict in measured.decision.verdicts if verdict.outcome is Outcome.FAILED}
    assert test in failed, measured.decision.reason
    assert failed[test].reason.startswith(reason)
    assert {found.part for found in failed} == {test.part}


def test_every_test_of_the_gate_can_be_failed_by_a_real_server() -> None:
    """A test that no measurement can fail is none."""
    assert {test for _, test, _ in SPOILT.values()} == set(Test)


def test_the_first_part_that_fails_ends_the_measurement(tmp_path: Path) -> None:
    """A server that breaks the contract gets no load, and production no requests for its sake."""
    bench = Bench()
    bench.second.version = '{"model_version": "6"}'
    measured = bench.run(tmp_path)
    assert (measured.measurements.requests, measured.measurements.pairs, bench.production.asked) == ((), (), [])


def test_why_requests_failed_stands_in_the_evidence(tmp_path: Path) -> None:
    """The gate says how many; somebody must find out why."""
    bench = Bench()
    bench.first.predict = every(10, error)
    assert bench.run(tmp_path).problems == (measure.Problem("status 500", 10),)


def test_more_load_is_offered_only_where_the_gate_is_undecided(tmp_path: Path) -> None:
    """1 of 100 requests that fails proves neither side; a release without one is not worn down for nothing."""
    bench = Bench()
    # The one that fails is after those of the contract.
    bench.first.predict = lambda model, handler, number: error(handler) if number == 20 else model.right(handler)
    measured = bench.run(tmp_path, first_release=True)
    assert measured.decision.outcome is Outcome.PASSED, measured.decision.reason
    assert len(measured.measurements.requests) == 200
    assert measured.measurements.requests.count(None) == 1


def test_a_quick_server_gets_more_rounds_until_its_memory_was_read_often_enough(tmp_path: Path) -> None:
    """Its rounds are over before so many readings; that must neither fail it nor pass it unread."""
    settings = replace(SETTINGS, resources=gate.Resources(readings=4))
    measured = Bench().run(tmp_path, settings, first_release=True)
    assert measured.decision.outcome is Outcome.PASSED, measured.decision.reason
    assert min(use.readings for use in measured.measurements.pods) >= 4


def test_an_overloaded_answer_is_asked_for_again_outside_the_load(tmp_path: Path) -> None:
    """How often a server may be overloaded is the load test's question; here it says nothing."""
    bench, asked = Bench(), itertools.count()
    bench.first.test = ""
    bench.first.predict = lambda model, handler, number: (
        handler.say(503, "") if number in {1, 3} else model.right(handler)
    )

    def recover(seconds: float) -> None:
        assert seconds == LIMITS.pause_seconds
        if next(asked) >= 3:
            bench.first.test = "Soup"

    with bench.running(tmp_path) as (target, _):
        patience = Patience(1.0, LIMITS.pause_seconds, time.monotonic() + 60, sleep=recover)
        answers = list(integration.answers(SETTINGS.contract, target.service, SAMPLES, patience))
        tested = integration.self_test(SETTINGS.contract, target.service, patience)
    assert [answer.status for answer in answers] == [503, 200, 503, 200, 200, 200, 200]
    assert json.loads(tested.body)["label"] == "Soup"


def test_restarts_and_kills_before_the_measurement_do_not_count(tmp_path: Path) -> None:
    """A step that is tried again after a node's failure must not revert a good release for it."""
    bench = Bench()
    ended(bench.cluster.pods, "OOMKilled", 2)
    bench.cluster.pods.append(pod("app-0", phase="Failed"))
    measured = bench.run(tmp_path, first_release=True)
    assert measured.decision.outcome is Outcome.PASSED, measured.decision.reason
    assert [(use.name, use.restarts, use.oom_kills) for use in measured.measurements.pods] == [
        ("app-1", 0, 0),
        ("app-2", 0, 0),
    ]


def test_a_pass_waits_until_a_kill_at_the_end_would_be_known(tmp_path: Path) -> None:
    """Kubelets report a second or more after the fact; a pass before that would promote what was just killed."""
    bench = Bench()
    killed: list[float] = []
    under_load(bench, lambda: killed.append(time.monotonic()))

    def change(cluster: Cluster) -> None:
        if killed and time.monotonic() - killed[0] > 0.4:
            killed.clear()
            ended(cluster.pods, "OOMKilled")

    bench.cluster.change = change
    measured = bench.run(tmp_path, first_release=True, limits=replace(LIMITS, settle_seconds=1.0))
    assert "app-1 was killed for want of memory 1 time under load" in measured.decision.reason


def test_failed_requests_wait_for_the_kill_that_is_their_cause(tmp_path: Path) -> None:
    """A busy node's kubelet tells of it after the load: whoever reads the evidence would look for slow code."""
    bench = Bench()
    first: list[float] = []

    def broken(model: Model, handler: Handler, number: int) -> None:
        first.append(time.monotonic())
        every(1, error)(model, handler, number)

    def change(cluster: Cluster) -> None:
        if first and time.monotonic() - first[0] > 1.0:
            first.clear()
            ended(cluster.pods, "OOMKilled")

    bench.first.predict, bench.cluster.change = after(5, broken), change
    measured = bench.run(tmp_path, first_release=True, limits=replace(LIMITS, blame_seconds=10.0))
    assert "app-1 was killed for want of memory 1 time under load" in measured.decision.reason


def test_what_is_undecided_when_time_is_over_has_failed(tmp_path: Path) -> None:
    """The burden of proof is the release's, and a pipeline must end."""
    bench = Bench()
    bench.first.predict = every(1, late(0.1))
    began = time.monotonic()
    limits = replace(LIMITS, request_seconds=1.0, seconds=1.8)
    measured = bench.run(tmp_path, limits=limits)
    assert time.monotonic() - began < 20
    assert measured.decision.outcome is Outcome.FAILED
    assert "load: " in measured.decision.reason
    assert "no more can be measured" in measured.decision.reason
    assert Test.ACCURACY in measured.decision.undecided


def test_samples_that_end_too_early_fail_the_release(tmp_path: Path) -> None:
    """One round settles nothing; then only a person can decide."""
    measured = Bench().run(tmp_path, samples=SAMPLES[:39])
    assert measured.decision.outcome is Outcome.FAILED
    assert len(measured.measurements.pairs) == 20
    assert "20 more are needed, and no more can be measured" in measured.decision.reason


def test_a_sample_counts_only_if_production_answered_it(tmp_path: Path) -> None:
    """Else a production that fails would make every candidate look better than it."""
    bench = Bench()
    bench.production.predict = every(4, error)
    measured = bench.run(tmp_path)
    assert measured.decision.outcome is Outcome.PASSED, measured.decision.reason
    assert {pair.production == pair.truth for pair in measured.measurements.pairs} == {True}


def test_a_candidate_that_does_not_answer_a_sample_is_wrong_and_slow(tmp_path: Path) -> None:
    """Else a server would gain by refusing what it finds hard."""
    bench = Bench()
    bench.first.predict = every(2, error)
    patience = Patience(1.0, 0.01, time.monotonic() + 60)
    with bench.running(tmp_path) as (target, _), serving(Model()) as production:
        pairs = tuple(compare(SETTINGS.contract, target.service, production, SAMPLES[:4], patience=patience))
    found = [(pair.candidate == pair.truth, pair.candidate_ms == 1000) for pair in pairs]
    assert found == [(False, True), (True, False)] * 2


def test_candidate_and_production_are_asked_first_in_turn(tmp_path: Path) -> None:
    """Whoever is asked second finds caches warm, and would look quicker."""
    order: list[str] = []
    bench = Bench()

    def note(name: str) -> Callable[[Model, Handler, int], None]:
        def predict(model: Model, handler: Handler, _: int) -> None:
            order.append(name)
            model.right(handler)

        return predict

    bench.first.predict, bench.production.predict = note("new"), note("old")
    patience = Patience(1.0, 0.01, time.monotonic() + 60)
    with bench.running(tmp_path) as (target, _):
        assert target.production is not None
        old = target.production.service
        pairs = tuple(compare(SETTINGS.contract, target.service, old, SAMPLES[:3], patience=patience))
    assert order == ["old", "new", "new", "old", "old", "new"]
    assert [pair.sample for pair in pairs] == ["0", "1", "2"]


def production_down(bench: Bench) -> None:
    bench.production.predict = every(1, error)


NOTHING_SAID: dict[str, tuple[Callable[[Bench], None], type[Exception], str]] = {
    "production is down": (production_down, measure.ProductionError, r"sample 0 \(status 500\): bring it back"),
    "a pod is deleted": (
        lambda bench: under_load(bench, bench.cluster.pods.clear),
        gate.MeasurementError,
        "pod app-1 was deleted while it was measured",
    ),
    "the API refuses": (
        lambda bench: setattr(bench.cluster, "status", 403),
        measure.ApiError,
        "/api/v1/namespaces/staging/pods: status 403",
    ),
    "the API answers with something else": (
        lambda bench: setattr(bench.cluster, "pods", [{}]),
        measure.ApiError,
        "answers with no list of pods",
    ),
}


@pytest.mark.parametrize("what", NOTHING_SAID)
def test_what_says_nothing_of_the_release_neither_passes_nor_fails_it(what: str, tmp_path: Path) -> None:
    """A good release must not be reverted because something else broke: the step fails, and is tried again."""
    spoil, kind, message = NOTHING_SAID[what]
    bench = Bench()
    spoil(bench)
    with pytest.raises(kind, match=message) as raised:
        bench.run(tmp_path)
    assert "secret" not in str(raised.value)


def test_no_pod_is_no_version(tmp_path: Path) -> None:
    """A selector that finds nothing must not pass what the service happens to serve."""
    bench = Bench(cluster=Cluster([]))
    measured = bench.run(tmp_path)
    assert measured.decision.outcome is Outcome.FAILED
    assert "no pod has been measured, and no more can be measured" in measured.decision.reason


@pytest.mark.parametrize(
    ("settings", "named", "message"),
    [
        (SETTINGS, {"samples": SAMPLES[:19]}, "19 labelled samples: the gate needs 20 or more"),
        (SETTINGS, {"samples": (), "first_release": True}, "0 labelled samples: the gate needs 1 or more"),
        (SETTINGS, {"limits": replace(LIMITS, request_seconds=0.9)}, "must be more than p95_ms, 900"),
    ],
)
def test_what_would_fail_every_release_is_refused(
    settings: gate.Settings, named: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """It is wrong input, and says nothing of the release."""
    with pytest.raises(ValueError, match=message):
        Bench().run(tmp_path, settings, **named)


@pytest.mark.parametrize("name", ["request_seconds", "pause_seconds", "settle_seconds", "blame_seconds", "seconds"])
def test_limits_are_greater_than_nothing(name: str) -> None:
    """Without time nothing is measured, and every release fails."""
    with pytest.raises(ValueError, match=f"{name} = 0: must be greater"):
        replace(LIMITS, **{name: 0.0})
