"""Drift on a deployed platform: what production is really asked decides whether its model is trained again."""

import json
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import pytest

from rehearsal.outside.repository import example
from rehearsal.outside.workflows import Workflows, output
from rehearsal.paths import PROJECT
from tests.environments import changed, dev
from tests.rehearsal.delivery import PRODUCTION, STAGING, Delivery
from tests.rehearsal.services import Platform

pytestmark = pytest.mark.long  # two trainings and two more deployments
LEAST = 200
"""Predictions without which nothing is said."""
PAUSE = 0.15
"""Seconds between two requests: Prometheus counts what grows between two of its looks, every 15 s."""
Sample = dict[str, Any]


def samples() -> list[Sample]:
    """Those of the example's repository."""
    text = (PROJECT / "examples" / "model" / "samples.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def delivery(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    """The shipped environment that looks for drift, with a model in production; afterwards without the look."""
    platform.stack.write(changed(dev(), {"apps.drift": {"predictions": LEAST, "hours": 1}}))
    try:
        platform.stack.run("up")
        made = Delivery(platform, {})
        # Another test's model knows nothing of these samples.
        example(platform, tmp_path_factory.mktemp("model") / "work")
        workflows = Workflows(platform.kubectl)
        built = workflows.wait(workflows.start("pipeline", revision="main", who="ada", why="the first"))
        release = json.loads(output(built, "release"))
        words = {"digest": release["digest"], "run": release["run"], "who": "grace", "why": "looks good"}
        workflows.wait(workflows.start("promote-model", **words))
        made.wait(PRODUCTION, release["version"])
        yield made
    finally:
        platform.stack.write(dev())
        platform.stack.run("up")


def ask(delivery: Delivery, asked: Sequence[Sample]) -> None:
    """Ask production as its users do."""
    session, url = delivery.platform.session(PRODUCTION), f"{delivery.url(PRODUCTION)}/predict"
    for sample in asked:
        assert session.post(url, json=sample["body"], timeout=20).status_code == HTTPStatus.OK
        time.sleep(PAUSE)


def counted(delivery: Delivery) -> float:
    """Predictions of production, as Prometheus has them."""
    [whole] = delivery.platform.query(f'sum(increase(model_predictions_total{{namespace="{PRODUCTION}"}}[1h]))')
    return float(whole["value"][1])


def test_requests_like_the_samples_are_no_drift(delivery: Delivery) -> None:
    """A training costs a GPU lease: chance must not start one."""
    workflows = Workflows(delivery.kubectl)
    ask(delivery, samples()[:400])
    ended = workflows.wait(workflows.start("check-drift", revision="main"))
    assert ended["phase"] == "Succeeded", ended
    assert output(ended, "drifted") == "false"
    assert counted(delivery) >= LEAST, "so many that it says something"


def test_requests_of_another_kind_train_a_new_version_up_to_the_canary(delivery: Delivery) -> None:
    """Production itself waits for a person, as always."""
    workflows, before = Workflows(delivery.kubectl), delivery.version(PRODUCTION)
    one = [sample for sample in samples() if sample["truth"] == "one"]
    ask(delivery, (one * (800 // len(one) + 1))[:800])
    ended = workflows.wait(workflows.start("retrain-on-drift", revision="main", who="schedule", why="drift"))
    assert ended["phase"] == "Succeeded", ended
    assert output(ended, "drifted") == "true"
    version = json.loads(output(ended, "release"))["version"]
    assert int(version) > int(before)
    delivery.wait(STAGING, version)
    assert delivery.version(PRODUCTION) == before
