"""The shipped environment as a whole: one `up` makes it, the next one does nothing, no service is open or silent."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

import pytest

from outputs import StackOutputs
from tests.rehearsal.cluster import until
from tests.rehearsal.services import SECONDS, Platform
from tests.rehearsal.stack import Run

BEHIND: Mapping[str, str] = {
    "alertmanager": "/api/v2/status",
    "argocd": "/api/v1/applications",
    "git": "/releases.git/info/refs?service=git-upload-pack",
    "grafana": "/api/org",
    "minio": "/api/v1/buckets",
    "mlflow": "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default",
    "prometheus": "/api/v1/targets",
    "registry": "/v2/_catalog",
    "s3": "/",
    "workflows": "/api/v1/workflows/workflows",
}
"""Service to a path that shows something of what it holds. Environments hold nothing yet: test_platform_apps.py."""
GENERATED = re.compile(r"[A-Za-z0-9]{32,}")
"""What a generated password, key or token looks like."""


@dataclass(frozen=True)
class Second:
    """An `up` after one that succeeded, and helm's records before and after it."""

    run: Run
    before: set[str]
    after: set[str]


def revisions(platform: Platform) -> set[str]:
    """Every revision of every release that helm keeps."""
    found = platform.kubectl.run("get", "secrets", "-A", "-l", "owner=helm", "-o", "name")
    return set(found.split())


def credentials(platform: Platform) -> set[str]:
    """Every generated credential that is in the cluster."""
    items = platform.kubectl.get("secrets", "-A", "--field-selector", "type!=helm.sh/release.v1")["items"]
    texts = (
        base64.b64decode(value).decode(errors="ignore") for item in items for value in item.get("data", {}).values()
    )
    return {text for text in texts if GENERATED.fullmatch(text)}


@pytest.fixture(scope="module")
def second(platform: Platform) -> Second:
    """The same environment once more."""
    before = revisions(platform)
    return Second(platform.stack.run("up", "--expect-no-changes", code=None), before, revisions(platform))


def test_one_up_makes_the_shipped_environment(first_platform_up: Run) -> None:
    """Nobody should have to run it again, or to know an order."""
    assert first_platform_up.code == 0, first_platform_up.err[-6000:]


def test_a_second_up_changes_nothing(second: Second) -> None:
    """Whatever the API server, helm or a controller writes otherwise would change at every run."""
    shown = "\n".join(line for line in second.run.out.splitlines() if not line.startswith(" < read"))
    assert second.run.code == 0, shown[-6000:] + second.run.err[-3000:]
    assert "nothing changed" in second.run.out


def test_a_second_up_upgrades_no_release(second: Second) -> None:
    """An upgrade with the same values would start pods again."""
    assert second.before
    assert second.after == second.before


def test_every_output_is_there(platform: Platform) -> None:
    """Other teams read them by name."""
    assert {item.name for item in fields(StackOutputs)} == set(platform.outputs)
    services = {*BEHIND, *platform.outputs["environments"]}
    assert set(platform.outputs["endpoints"]) == set(platform.outputs["health"]) == services


@pytest.mark.parametrize("service", sorted(BEHIND))
def test_a_service_says_that_it_works_to_whoever_may_ask(platform: Platform, service: str) -> None:
    """The output `health` with the output `logins`: all that a monitor outside needs."""
    session = platform.session()
    if service in platform.outputs["logins"]:
        user, secret = platform.password(service)
        if platform.outputs["logins"][service]["key"] == "token":
            session.headers["Authorization"] = f"Bearer {secret}"
        else:
            session.auth = user, secret

    def works() -> bool:
        answer = session.get(platform.outputs["health"][service], timeout=SECONDS, allow_redirects=False)
        assert answer.status_code == 200, answer.text[:500]
        return True

    # The bound of recovery: a database may move to another node while this runs.
    until(f"{service} to work", works, 60)


@pytest.mark.parametrize("service", sorted(BEHIND))
def test_a_service_shows_nothing_to_whoever_does_not_log_in(platform: Platform, service: str) -> None:
    """Nothing is open by default."""
    answer = platform.get(service, BEHIND[service])
    assert answer.status_code in (401, 403), (answer.status_code, answer.text[:500])


def test_no_generated_credential_is_in_what_commands_print(
    platform: Platform, first_platform_up: Run, second: Second
) -> None:
    """A terminal is recorded, and a log is kept."""
    runs = [first_platform_up, second.run, *(platform.stack.run(word) for word in ("preview", "outputs", "report"))]
    found = credentials(platform)
    assert len(found) > len(platform.outputs["logins"])
    said = "\n".join(run.out + run.err for run in runs)
    # Which one it is, is not said here either.
    assert sum(credential in said for credential in found) == 0
