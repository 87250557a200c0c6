"""Argo CD, Workflows and Events as their users meet them: who may log in, what runs, and what starts it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

import versions
from mlops.argo import accounts, cd, events
from tests.rehearsal.cluster import until
from tests.rehearsal.services import SECONDS, Platform

SPACE = accounts.SPACE
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def session(platform: Platform, user: str, password: str) -> requests.Response:
    """A login at Argo CD."""
    body = {"username": user, "password": password}
    return platform.session().post(f"{platform.url('argocd')}/api/v1/session", json=body, timeout=SECONDS)


def token(platform: Platform) -> dict[str, str]:
    """Headers of whoever works with pipelines."""
    _, found = platform.password("workflows")
    return {"Authorization": f"Bearer {found}"}


def post(platform: Platform, event: str, header: dict[str, str], body: Any) -> int:
    """Tell of an event from inside the namespace of events; returns the status."""
    code = (
        "import json,sys,urllib.request as u,urllib.error as e\n"
        "url, headers, body = json.load(sys.stdin)\n"
        "try: print(u.urlopen(u.Request(url, json.dumps(body).encode(), headers), timeout=30).status)\n"
        "except e.HTTPError as error: print(error.code)\n"
    )
    given = json.dumps([f"{events.ADDRESS}/{event}", {"Content-Type": "application/json", **header}, body])
    words = ["exec", "-i", "-n", "argo-events", "deploy/webhook-eventsource", "--", "python3", "-c", code]
    return int(platform.kubectl.run(*words, stdin=given))


def token_of(platform: Platform, event: str) -> dict[str, str]:
    """Headers of who may tell of an event."""
    where = f"argo-events/{events.TOKENS}-1"
    return {"Authorization": f"Bearer {platform.secret(where, event)}"}


def started(platform: Platform, event: str) -> list[dict[str, Any]]:
    """The workflows that an event started."""
    found = platform.kubectl.get("workflows", "-n", SPACE, "-l", f"leasehold/event={event}")
    return list(found["items"])


@pytest.fixture
def pipeline(platform: Platform) -> Iterator[str]:
    """A workflow of two steps, the second of which leaves a file that the first one's result is in."""
    name = "rehearsed"
    image = versions.PYTHON.tagged
    mounts = [{"name": "out", "mountPath": "/out"}]

    def step(called: str, code: str, outputs: dict[str, Any], inputs: list[str]) -> dict[str, Any]:
        container = {"image": image, "command": ["python3", "-c", code], "volumeMounts": mounts}
        parameters = [{"name": one} for one in inputs]
        return {"name": called, "inputs": {"parameters": parameters}, "outputs": outputs, "container": container}

    first = step(
        "first",
        "open('/out/value', 'w').write('41')",
        {"parameters": [{"name": "value", "valueFrom": {"path": "/out/value"}}]},
        [],
    )
    kept = {"name": "kept", "path": "/out/kept", "archive": {"none": {}}, "s3": {"key": "rehearsed/kept"}}
    second = step(
        "second", "open('/out/kept', 'w').write('{{inputs.parameters.value}}+1')", {"artifacts": [kept]}, ["value"]
    )
    given = {"parameters": [{"name": "value", "value": "{{steps.first.outputs.parameters.value}}"}]}
    steps = [[{"name": "first", "template": "first"}], [{"name": "second", "template": "second", "arguments": given}]]
    spec = {
        "entrypoint": "all",
        "volumes": [{"name": "out", "emptyDir": {}}],
        "templates": [{"name": "all", "steps": steps}, first, second],
    }
    url = f"{platform.url('workflows')}/api/v1/workflows/{SPACE}"
    item: dict[str, Any] = {"metadata": {"name": name, "namespace": SPACE}, "spec": spec}
    asked: dict[str, Any] = {"workflow": item}
    made = platform.session().post(url, json=asked, headers=token(platform), timeout=SECONDS)
    assert made.status_code == 200, made.text
    yield name
    platform.session().delete(f"{url}/{name}", headers=token(platform), timeout=SECONDS)


def test_argo_cd_lets_the_generated_password_in_and_no_other(platform: Platform) -> None:
    """Its own default password would be in a Secret that nobody looks at."""
    user, password = platform.password("argocd")
    assert session(platform, user, password).status_code == 200
    for wrong in ("admin", "password", "argocd", "", password[:-1]):
        assert session(platform, user, wrong).status_code == 401
    assert "argocd-initial-admin-secret" not in str(platform.kubectl.get("secrets", "-n", "argocd"))


def test_argo_cd_shows_nothing_to_whoever_did_not_log_in(platform: Platform) -> None:
    """The pages are open; what they show is not."""
    for path in ("/api/v1/applications", "/api/v1/projects", "/api/v1/clusters", "/api/v1/repositories"):
        assert platform.get("argocd", path).status_code == 401
    user, password = platform.password("argocd")
    header = {"Authorization": f"Bearer {session(platform, user, password).json()['token']}"}
    listed = platform.get("argocd", "/api/v1/projects", headers=header)
    assert cd.PROJECT in [item["metadata"]["name"] for item in listed.json()["items"]]


def test_the_default_project_is_shut(platform: Platform) -> None:
    """Argo CD makes it open."""
    spec = platform.kubectl.get("appproject", "default", "-n", "argocd")["spec"]
    assert not spec.get("sourceRepos")
    assert not spec.get("destinations")


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YWRtaW46YWRtaW4="}])
def test_argo_workflows_refuses_whoever_brings_no_token_of_the_cluster(
    platform: Platform, header: dict[str, str]
) -> None:
    """In the mode `client` the token is all that it knows of a caller."""
    for path in (f"/api/v1/workflows/{SPACE}", f"/api/v1/workflow-templates/{SPACE}", "/api/v1/userinfo"):
        assert platform.get("workflows", path, headers=header).status_code in (401, 403)


def test_whoever_works_with_pipelines_sees_those_and_no_other_namespace(platform: Platform) -> None:
    """The account is one of the namespace of workflows."""
    header = token(platform)
    assert platform.get("workflows", f"/api/v1/workflows/{SPACE}", headers=header).status_code == 200
    assert platform.get("workflows", "/api/v1/workflows/argocd", headers=header).status_code == 403


def test_a_workflow_runs_to_its_end_and_its_file_is_in_the_object_store(platform: Platform, pipeline: str) -> None:
    """Parameters go from step to step, and files to the bucket."""

    def status() -> dict[str, Any]:
        found: dict[str, Any] = platform.kubectl.get("workflow", pipeline, "-n", SPACE)
        return found.get("status") or {}

    until("the workflow's end", lambda: status().get("phase") in ("Succeeded", "Failed", "Error"), 180)
    assert status()["phase"] == "Succeeded", status()
    keys = (platform.secret(f"{SPACE}/artifacts", key) for key in ("access-key", "secret-key"))
    with platform.bucket("workflows", *keys) as bucket:
        assert bucket.get("rehearsed/kept") == b"41+1"
        bucket.delete("rehearsed/kept")


def test_an_executor_may_do_exactly_what_it_must(platform: Platform) -> None:
    """Asked of the API itself, which knows every binding."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": SPACE},
    }
    account = f"system:serviceaccount:{SPACE}:{accounts.EXECUTOR}"
    said = platform.kubectl.run(
        "create",
        # To know the kinds, which kubectl would ask for, is not the account's.
        "--validate=false",
        "-o",
        "json",
        "-f",
        "-",
        "--as",
        account,
        "--as-group",
        "system:authenticated",
        stdin=json.dumps(review),
    )
    rules = [
        (rule["resources"], rule["verbs"])
        for rule in json.loads(said)["status"]["resourceRules"]
        # What every account may ask about itself.
        if not {"authorization.k8s.io", "authentication.k8s.io"} & set(rule["apiGroups"])
    ]
    assert rules == [(["workflowtaskresults"], ["create", "patch"])]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}])
def test_an_event_without_its_token_starts_nothing(platform: Platform, header: dict[str, str]) -> None:
    """Whoever reaches the webhook could start workflows."""
    assert post(platform, events.ALERTS, header, {"alerts": [], "groupKey": "refused"}) in (400, 401, 403)
    # Alerts of the platform itself may start others meanwhile.
    assert not [item for item in started(platform, events.ALERTS) if "refused" in str(item["spec"])]


def test_the_token_of_another_event_is_refused(platform: Platform) -> None:
    """Whoever may tell of deployments must not be able to forge alerts."""
    assert post(platform, events.ALERTS, token_of(platform, events.DEPLOYMENTS), {"alerts": []}) in (400, 401, 403)


def test_an_event_with_its_token_starts_its_workflow_once(platform: Platform) -> None:
    """And the workflow gets the body."""
    before = {item["metadata"]["name"] for item in started(platform, events.ALERTS)}
    body = {"alerts": [], "groupKey": "rehearsed"}
    assert post(platform, events.ALERTS, token_of(platform, events.ALERTS), body) == 200

    def new() -> list[dict[str, Any]]:
        found = started(platform, events.ALERTS)
        mine = [item for item in found if item["metadata"]["name"] not in before]
        return [item for item in mine if "rehearsed" in str(item["spec"])]

    until("the workflow of the event", new, 60)
    [made] = new()
    [parameter] = made["spec"]["arguments"]["parameters"]
    assert json.loads(parameter["value"]) == body
