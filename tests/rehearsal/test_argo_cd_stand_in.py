"""What stands in for Argo CD deploys: from the stack's own Git server to a real API server."""

import json
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.environments import spec
from apps.git.scripts import serve
from mlops.argo import cd
from rehearsal.programs import kube
from rehearsal.programs.argo import applications
from tests.rehearsal import api_server
from tests.rehearsal.cluster import Kubectl
from tests.rehearsal.test_argo_stand_ins import rendered, text

SPACES = ("argocd", "staging", "production")
SETTINGS = {"timeout.reconciliation": "1s", "timeout.reconciliation.jitter": "0s"}


@dataclass(frozen=True)
class Place:
    """An API server, a releases repository, and the controller between them."""

    kubectl: Kubectl
    folder: Path
    url: str
    controller: applications.Controller

    def git(self, *words: str) -> None:
        who = {f"GIT_{role}_{key}": "a@b.example" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        env = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "PATH": os.environ["PATH"], **who}
        subprocess.run(["git", *words], cwd=self.folder / "work", env=env, check=True, capture_output=True)

    def push(self, *items: dict[str, Any], file: str = "deployment.yaml") -> None:
        """What the staging environment's folder says from now on."""
        target = self.folder / "work" / "environments" / "staging" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text(*items))
        self.git("add", ".")
        self.git("commit", "-qm", "a test", "--allow-empty")
        self.git("push", "-q", "origin", "HEAD:main")

    def look(self) -> dict[str, Any]:
        """What the application says after the controller has looked."""
        self.controller._known.clear()  # as after its pause
        self.controller.look()
        found: dict[str, Any] = self.kubectl.get("application.argoproj.io", "staging", "-n", "argocd")
        return dict(found["status"])

    def images(self) -> dict[str, str]:
        """Deployment to image."""
        items = self.kubectl.get("deployments", "-n", "staging")["items"]
        return {i["metadata"]["name"]: i["spec"]["template"]["spec"]["containers"][0]["image"] for i in items}


def deployment(image: str, name: str = spec.APPLICATION, **metadata: str) -> dict[str, Any]:
    pod = {"metadata": {"labels": dict(spec.LABELS)}, "spec": {"containers": [{"name": "server", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, **metadata},
        "spec": {"selector": {"matchLabels": dict(spec.LABELS)}, "template": pod},
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The application and the project are those that the stack makes, but for the address of the repository."""
    folder = tmp_path_factory.mktemp("argo-cd")
    (folder / "accounts").mkdir()
    (folder / "data").mkdir()
    password = secrets.token_hex(16)
    (folder / "accounts" / "people").write_text(password)
    (folder / "rights.json").write_text(json.dumps({"releases": {"linear": True, "rights": {"people": "write"}}}))
    served = serve.server(folder / "rights.json", folder / "accounts", folder / "data", 0)
    with api_server.running() as kubectl, served as server, pytest.MonkeyPatch.context() as patch:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        url = f"http://{host}/releases.git"
        subprocess.run(["git", "init", "-q", folder / "work"], check=True)
        api_server.as_pod(kubectl, folder, "argocd", patch)
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in SPACES]
        definitions = [item for item in rendered("argocd", folder) if item["kind"] == "CustomResourceDefinition"]
        kubectl.apply(text(*definitions, *spaces))
        kubectl.run("wait", "--for=condition=Established", "crd", "--all", timeout=60)
        login = {"type": "git", "url": url, "username": "people", "password": password}
        objects = [
            core("ConfigMap", "argocd-cm", data=SETTINGS),
            core("Secret", "repository", labels=dict(cd.REPOSITORY), stringData=login),
            custom("AppProject", spec.PROJECT, spec.project(url, ["staging"])),
            custom("Application", "staging", spec.application(url, "staging", spec.PROJECT)),
        ]
        kubectl.apply(text(*objects))
        made = Place(kubectl, folder, url, applications.Controller(kube.Api()))
        made.git("remote", "add", "origin", f"http://people:{password}@{host}/releases.git")
        yield made
        server.shutdown()


def core(kind: str, name: str, labels: dict[str, str] | None = None, **content: Any) -> dict[str, Any]:
    marked = {"labels": {**(labels or {})}}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "argocd", **marked}, **content}


def custom(kind: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": cd.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": "argocd"},
        "spec": given,
    }


def condition(status: dict[str, Any]) -> str:
    return " ".join(entry["message"] for entry in status["conditions"])


def test_a_branch_that_is_not_there_yet_is_said_and_deploys_nothing(place: Place) -> None:
    """So it is before the first release."""
    assert "unable to resolve 'main'" in condition(place.look())
    assert place.images() == {}


def test_what_is_committed_is_applied_and_the_status_names_the_commit(place: Place) -> None:
    """Twice: a release after a release."""
    for image in ("a@sha256:1", "a@sha256:2"):
        place.push(deployment(image))
        status = place.look()
        assert place.images() == {spec.APPLICATION: image}
        assert status["conditions"] == []
        assert status["sync"]["status"] == "Synced"
        assert status["history"][-1]["revision"] == status["sync"]["revision"]
    assert status["health"]["status"] == "Progressing"  # no controller makes pods here


def test_what_somebody_changed_is_put_back(place: Place) -> None:
    """The application heals itself."""
    place.push(deployment("a@sha256:2"))
    place.look()
    place.kubectl.run("scale", f"deployment/{spec.APPLICATION}", "-n", "staging", "--replicas=0")
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [{"name": "server", "image": "evil"}]}}}})
    place.kubectl.run("patch", "deployment", spec.APPLICATION, "-n", "staging", "-p", patch)
    place.look()
    assert place.images() == {spec.APPLICATION: "a@sha256:2"}


def test_what_git_no_longer_says_is_removed_and_others_objects_stay(place: Place) -> None:
    """Only what bears the application's mark is its own."""
    place.kubectl.apply(text(deployment("b", name="others", namespace="staging")))
    place.push(deployment("a@sha256:2"))
    place.look()
    place.push()
    place.look()
    assert place.images() == {"others": "b"}
    place.kubectl.run("delete", "deployment", "others", "-n", "staging")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, "Secret is not permitted"),
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}, "Namespace is not permitted"),
        (deployment("evil", namespace="production"), "namespace production is not permitted"),
        ({**deployment("a@sha256:3"), "spec": {"replica": 1}}, "replica"),
    ],
)
def test_what_the_project_or_the_api_forbids_is_said_and_nothing_is_changed(
    place: Place, item: dict[str, Any], said: str
) -> None:
    """Git must not be a way around the rights."""
    place.push(deployment("a@sha256:2"))
    place.look()
    place.push(item)
    assert said in condition(place.look())
    assert place.images() == {spec.APPLICATION: "a@sha256:2"}
    assert place.kubectl.get("deployments", "-n", "production")["items"] == []


def test_files_that_the_application_does_not_include_are_not_applied(place: Place) -> None:
    """release.json lies beside the manifests."""
    place.push(deployment("a@sha256:2"))
    place.push(deployment("c", name="other"), file="other.yaml")
    place.look()
    assert place.images() == {spec.APPLICATION: "a@sha256:2"}


def test_a_field_that_it_would_not_honour_is_refused_by_name(place: Place) -> None:
    """In silence, the rehearsal would prove what a site does not do."""
    wanted = spec.application(place.url, "staging", spec.PROJECT)
    strange = {**wanted, "source": {**wanted["source"], "kustomize": {"namePrefix": "x"}}}
    place.kubectl.apply(text(custom("Application", "staging", strange)))
    assert "spec.source.kustomize" in condition(place.look())
    place.kubectl.apply(text(custom("Application", "staging", wanted)))
    assert condition(place.look()) == ""
