"""When the stand-in for the workflow controller runs a step again, as Argo Workflows would."""

from typing import Any

import pytest

from rehearsal.programs.argo import expressions, retries
from rehearsal.programs.argo.expressions import ExpressionError
from tests.unit.workflow_cluster import EVICTED, SETTINGS, Cluster, ended, hurried, nodes, wrong

Object = dict[str, Any]
FAILED = retries.last("Failed", "why", "1", tries=1, seconds=3)
ERROR = retries.last("Error", "why", "", tries=1, seconds=3)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurried(monkeypatch)


def one(**strategy: Any) -> Object:
    """A workflow of one pod, which is tried again."""
    program = {"image": "image", "command": ["{{retries}}", "{{lastRetry.exitCode}}", "{{lastRetry.status}}"]}
    return {"entrypoint": "t", "templates": [{"name": "t", "container": program, "retryStrategy": strategy}]}


@pytest.mark.parametrize(
    ("policy", "again"),
    [
        ({}, (True, False)),
        ({"retryPolicy": "OnFailure"}, (True, False)),
        ({"retryPolicy": "OnError"}, (False, True)),
        ({"retryPolicy": "Always"}, (True, True)),
        # Where an expression decides, the policy that nobody named lets it.
        ({"expression": "lastRetry.status != ''"}, (True, True)),
        ({"expression": "lastRetry.status != ''", "retryPolicy": "OnError"}, (False, True)),
    ],
)
def test_a_policy_tells_a_failed_program_from_what_failed_around_it(policy: Object, again: tuple[bool, bool]) -> None:
    """A program that says that it failed says it again; a node that went away does not."""
    found = [retries.following({"limit": "2", **policy}, known, tries=1, since=0) for known in (FAILED, ERROR)]
    assert tuple(next_.over is None for next_ in found) == again
    assert all(next_.over == "why" for next_ in found if next_.over)


def test_a_limit_is_of_further_tries() -> None:
    """A limit of two is three tries; a limit of none is one; without a limit there is no end."""
    for limit, tries in (("2", 3), (0, 1)):
        found = [retries.following({"limit": limit}, FAILED, tries=n, since=0).over for n in range(1, tries + 1)]
        assert found == [None] * (tries - 1) + ["No more retries left"]
    assert retries.following({}, FAILED, tries=1000, since=0).over is None


def test_the_wait_grows_to_its_cap_and_ends_with_its_time() -> None:
    """Whatever failed needs time; nobody waits for ever."""
    backoff = {"duration": "10s", "factor": "2", "cap": "1m", "maxDuration": "5m"}
    strategy = {"limit": "9", "backoff": backoff}
    assert [retries.following(strategy, FAILED, tries=n, since=0).wait for n in range(1, 5)] == [10, 20, 40, 60]
    assert retries.following(strategy, FAILED, tries=4, since=250).over == "Backoff would exceed max duration limit"
    assert retries.following(strategy, FAILED, tries=4, since=301).over == "Max duration limit exceeded"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("asInt(lastRetry.exitCode) == 1", True),
        ("asInt(lastRetry.exitCode) in_no", None),
        ("asInt(lastRetry.exitCode) != -1 && lastRetry.status == 'Failed'", True),
        ("not (asInt(lastRetry.exitCode) > 1 or lastRetry.status == 'Error')", True),
        ("asFloat(lastRetry.duration) >= 10", False),
        ('lastRetry.exitCode == "1"', True),
        # The real one does not compare a text with a number, either.
        ("lastRetry.exitCode == 1", None),
        ("asInt(lastRetry.message) == 1", None),
        ("asInt lastRetry.exitCode == 1", None),
        ("lastRetry.exitCode", None),
        ("lastRetry.exitcode == '1'", None),
        ("os.exit('1') == '1'", None),
    ],
)
def test_an_expression_is_read_or_refused(text: str, holds: bool | None) -> None:
    """One that is misread would try a broken release again and again."""
    if holds is None:
        with pytest.raises(ExpressionError):
            expressions.holds(text, FAILED)
    else:
        assert expressions.holds(text, FAILED) is holds


def test_an_expression_that_cannot_be_read_is_refused_before_anything_runs() -> None:
    """Otherwise it would be found when a step fails."""
    cluster = Cluster()
    status = ended(cluster, one(limit="1", expression="lastRetry.exitCode == 1"))
    assert (status["phase"], cluster.made) == ("Error", [])
    assert "retryStrategy.expression" in status["message"]


@pytest.mark.parametrize(
    ("codes", "phase", "message"),
    [
        ([1, 0], "Succeeded", ""),
        ([1, 3], "Failed", "retryStrategy.expression evaluated to false"),
        ([3], "Failed", "retryStrategy.expression evaluated to false"),
        ([1, 1, 1], "Failed", "No more retries left"),
    ],
)
def test_an_exit_code_decides_whether_a_step_is_run_again(codes: list[int], phase: str, message: str) -> None:
    """A gate that refuses is no reason to ask it again."""
    cluster = Cluster(lambda pod: codes[int(pod["spec"]["containers"][0]["command"][0])])
    status = ended(cluster, one(limit="2", expression="asInt(lastRetry.exitCode) == 1"))
    assert (status["phase"], status["message"]) == (phase, message)
    assert len(cluster.made) == len(codes)


def test_a_further_try_knows_how_the_last_one_ended() -> None:
    """A program may do less the second time."""
    cluster = Cluster(lambda pod: 0 if pod["spec"]["containers"][0]["command"][0] == "1" else wrong(4))
    assert ended(cluster, one(limit="1"))["phase"] == "Succeeded"
    assert [pod["spec"]["containers"][0]["command"] for pod in cluster.made] == [["0", "0", ""], ["1", "4", "Failed"]]


def test_what_had_no_exit_code_has_none_in_texts_and_minus_one_in_expressions() -> None:
    """So is it in Argo Workflows: an expression tells it from a program that ended well."""
    cluster = Cluster(lambda _: dict(EVICTED))
    status = ended(cluster, one(limit="1", expression="asInt(lastRetry.exitCode) == -1"))
    assert (status["phase"], status["message"]) == ("Error", "No more retries left")
    assert [pod["spec"]["containers"][0]["command"] for pod in cluster.made] == [["0", "0", ""], ["1", "0", "Error"]]


def test_an_executor_that_failed_is_tried_again_by_our_defaults_and_a_program_is_not() -> None:
    """What the platform says for every workflow."""
    spec = {"entrypoint": "t", "templates": [{"name": "t", "container": {"command": ["true"]}}]}
    cluster = Cluster(lambda _: dict(EVICTED))
    status = ended(cluster, spec, SETTINGS)
    assert (status["phase"], len(cluster.made)) == ("Error", 3)
    assert nodes(status)["w(2)"]["message"] == "wait: Error (exit code 2)"
    cluster = Cluster(lambda _: 1)
    assert (ended(cluster, spec, SETTINGS)["phase"], len(cluster.made)) == ("Failed", 1)
