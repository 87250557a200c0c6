"""The builder of images: who may use it, what it is allowed, and what a build is told."""

import shlex
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pytest

import versions
from apps.builds import Builds, BuildsArgs, spec
from apps.workflows import pods
from cluster.held import HeldReleases
from config import Charts, Images, Platform
from mlops.base import Base
from tests.unit import graph, platforms

KEY, CERTIFICATE = "tls:index/privateKey:PrivateKey", "tls:index/selfSignedCert:SelfSignedCert"
SECRET, DEPLOYMENT = "kubernetes:core/v1:Secret", "kubernetes:apps/v1:Deployment"
TEMPLATE = "kubernetes:argoproj.io/v1alpha1:WorkflowTemplate"
UPSTREAM = ("docker.io", "ghcr.io")
TARGET = "registry.registry.svc/models/digits"


@cache
def recorded(rotation: int = 1, authority: str = "authority") -> graph.Graph:
    """The component alone, on the namespaces that it needs."""

    def build() -> None:
        wanted = Platform(domain="mlops.example.org", rotation=rotation)
        names = {name: pulumi.Output.from_input(name) for name in ("builds", "workflows")}
        held = HeldReleases("held", pulumi.Output.secret(graph.KUBECONFIG), list(names))
        base = Base("test", wanted, Charts(), Images(), names, None, held)
        Builds("builds", BuildsArgs(base, pulumi.Output.from_input(authority), 10))

    return graph.run(build)


def data(name: str) -> dict[str, Any]:
    """What is in a Secret."""
    inputs: dict[str, Any] = graph.unwrapped(recorded().one(SECRET, name).inputs)
    return inputs["stringData"]  # type: ignore[no-any-return]


def pod(made: graph.Graph) -> dict[str, Any]:
    """The template of the daemon's pod."""
    inputs: dict[str, Any] = graph.unwrapped(made.one(DEPLOYMENT, "buildkitd").inputs)
    return inputs["spec"]["template"]  # type: ignore[no-any-return]


# -- who may build -----------------------------------------------------------------------------------------------


def test_each_side_trusts_one_certificate_and_no_authority() -> None:
    """Who may have certificates made, by the stack's authority or another, cannot build by that."""
    server, client = data("builds-builds-server-tls"), data("workflows-builds-client-tls")
    assert server["ca.crt"] == client["tls.crt"] != server["tls.crt"]
    assert client["ca.crt"] == server["tls.crt"]
    assert client["tls.key"] != server["tls.key"]
    made = recorded().of(CERTIFICATE)
    assert not [item for item in made.values() if item.inputs.get("isCaCertificate")]
    uses = {name: item.inputs["allowedUses"] for name, item in made.items()}
    assert uses["builds-server-certificate"] == ["digital_signature", "server_auth"]
    assert uses["builds-client-certificate"] == ["digital_signature", "client_auth"]
    settings = tomllib.loads(spec.settings(10, UPSTREAM, None))
    assert settings["grpc"]["tls"]["ca"] == "/run/tls/ca.crt"


def test_the_keys_are_secrets_and_the_daemons_is_in_its_namespace_only() -> None:
    """Steps of workflows see all Secrets of theirs."""
    found = recorded().of(SECRET)
    assert {name: item.inputs["metadata"]["namespace"] for name, item in found.items()} == {
        "builds-builds-server-tls": "builds",
        "workflows-builds-client-tls": "workflows",
    }
    assert all(graph.is_secret(item.inputs["stringData"]) for item in found.values())


def test_a_client_knows_the_daemon_by_the_name_at_which_it_asks() -> None:
    """A certificate for another name is refused."""
    [name] = recorded().one(CERTIFICATE, "builds-server-certificate").inputs["dnsNames"]
    assert f"--addr=tcp://{name}:1234" in spec.build_command(TARGET, "1", "base", "scanner")


def test_other_certificates_and_another_authority_start_the_daemon_again() -> None:
    """It reads them once."""
    marks = {pod(made)["metadata"]["annotations"]["leasehold/certificates"] for made in (recorded(), recorded())}
    assert len(marks) == 1
    assert pod(recorded(authority="another"))["metadata"]["annotations"]["leasehold/certificates"] not in marks


def test_a_rotation_makes_other_keys() -> None:
    """Both sides' at once."""
    assert not set(recorded(1).of(KEY)) & set(recorded(2).of(KEY))
    assert len(recorded(2).of(KEY)) == 2


# -- the daemon --------------------------------------------------------------------------------------------------


def test_the_daemon_is_not_root_and_has_two_rights_only() -> None:
    """They give it the numbers of users that files of images belong to."""
    [container] = pod(recorded())["spec"]["containers"]
    context = container["securityContext"]
    assert context["runAsNonRoot"]
    assert context["runAsUser"] == 1000
    assert context["readOnlyRootFilesystem"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["SETGID", "SETUID"]}
    assert "privileged" not in context
    assert pod(recorded())["spec"]["automountServiceAccountToken"] is False


def test_what_the_daemon_writes_is_in_bounded_volumes_of_its_own() -> None:
    """Its root is read-only, and a node's disk is others' too."""
    found = pod(recorded())["spec"]
    bounded = {item["name"]: item["emptyDir"]["sizeLimit"] for item in found["volumes"] if "emptyDir" in item}
    mounted = {item["name"]: item["mountPath"] for item in found["containers"][0]["volumeMounts"]}
    assert bounded == {"state": "20Gi", "runtime": "1Gi", "tmp": "1Gi"}
    assert {mounted[name] for name in bounded} == {spec.STATE, *spec.WRITABLE.values()}
    read_only = {item["name"] for item in found["containers"][0]["volumeMounts"] if item.get("readOnly")}
    assert read_only == set(mounted) - set(bounded)


def test_one_daemon_ends_before_another_starts() -> None:
    """Two would need the memory of two."""
    wanted = spec.daemon(spec.Daemon("image", "settings", "authority", "secret", "mark", 10))
    assert (wanted["replicas"], wanted["strategy"]) == (1, {"type": "Recreate"})
    [container] = wanted["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert container["startupProbe"]["exec"] == container["livenessProbe"]["exec"]
    assert container["startupProbe"]["exec"]["command"][1] in container["args"][1]


def test_its_image_is_the_one_of_the_catalogue() -> None:
    """A mirror has it then."""
    [container] = pod(recorded())["spec"]["containers"]
    assert container["image"] == versions.BUILDKIT.tagged
    assert versions.BUILDKIT in versions.IMAGES
    assert versions.BUILDKIT.tag.endswith("-rootless")


# -- its settings ------------------------------------------------------------------------------------------------


def test_the_collection_keeps_the_cache_below_its_bound() -> None:
    """The volume has room for one build more."""
    worker = tomllib.loads(spec.settings(10, UPSTREAM, None))["worker"]
    assert worker["oci"]["maxUsedSpace"] == "10000MB"
    assert worker["oci"]["reservedSpace"] == "5000MB"
    assert worker["oci"]["gc"]
    assert worker["containerd"] == {"enabled": False}


def test_images_are_pushed_to_a_registry_of_the_stacks_authority() -> None:
    """Passwords pass there."""
    registry = tomllib.loads(spec.settings(10, UPSTREAM, None))["registry"]
    assert registry == {"registry.registry.svc": {"ca": ["/run/authority/ca.crt"]}}


@pytest.mark.parametrize(
    ("mirror", "where", "plain"),
    [
        ("https://mirror.example.org", "mirror.example.org", None),
        ("https://mirror.example.org:8443/images/", "mirror.example.org:8443/images", None),
        ("http://192.0.2.1:5000/images", "192.0.2.1:5000/images", "192.0.2.1:5000"),
    ],
)
def test_a_mirror_is_asked_before_upstream(mirror: str, where: str, plain: str | None) -> None:
    """As nodes ask it; whether it is encrypted is a question of its host, not of its path."""
    registry = tomllib.loads(spec.settings(10, UPSTREAM, mirror))["registry"]
    assert {name: item["mirrors"] for name, item in registry.items() if "mirrors" in item} == {
        "docker.io": [where],
        "ghcr.io": [where],
    }
    assert [name for name, item in registry.items() if item.get("http")] == ([plain] if plain else [])


# -- a build -----------------------------------------------------------------------------------------------------


def test_a_build_is_told_all_that_it_needs() -> None:
    """The whole command: BuildKit's client ran it as it is here."""
    cache_ = f"type=registry,ref={TARGET}:buildcache"
    assert spec.build_command(
        TARGET, "run-7", "ghcr.io/mlflow/mlflow:v3@sha256:aa", "docker.io/docker/scanner:1@sha256:bb"
    ) == [
        "buildctl",
        "--addr=tcp://buildkitd.builds.svc:1234",
        "--tlscacert=/run/builds/ca.crt",
        "--tlscert=/run/builds/tls.crt",
        "--tlskey=/run/builds/tls.key",
        "build",
        "--progress=plain",
        "--frontend=dockerfile.v0",
        "--opt=filename=Dockerfile",
        "--local=context=/src",
        "--local=dockerfile=/src",
        "--opt=build-arg:BASE_IMAGE=ghcr.io/mlflow/mlflow:v3@sha256:aa",
        "--opt=attest:provenance=mode=max",
        "--opt=attest:sbom=generator=docker.io/docker/scanner:1@sha256:bb",
        f"--import-cache={cache_}",
        f"--export-cache={cache_},mode=max",
        f"--output=type=image,name={TARGET}:run-7,push=true",
        "--metadata-file=/out/metadata.json",
    ]


def test_what_lists_the_inside_of_an_image_is_pinned_by_digest_and_in_the_mirror() -> None:
    """It sees all of every image, and what it says is attested with it."""
    assert versions.SBOM_SCANNER in versions.IMAGES
    assert versions.SBOM_SCANNER.digest
    apps = platforms.recorded("apps")
    [template] = [item for name, item in apps.of(TEMPLATE).items() if name == "build-container-image"]
    said = str(graph.unwrapped(template.inputs)["spec"])
    assert f"attest:sbom=generator={Images().reference(versions.SBOM_SCANNER)}" in said


def test_a_step_finds_its_certificate_and_its_login_where_the_client_looks() -> None:
    """DOCKER_CONFIG is a folder with config.json, and the Secret's key has another name."""
    certificate, login = spec.client_mounts("registry-push")
    words = spec.build_command(TARGET, "1", "base", "scanner")
    files = [word.partition("=")[2] for word in words if word.startswith("--tls")]
    assert {file.rpartition("/")[0] for file in files} == {certificate["mountPath"]}
    assert {file.rpartition("/")[2] for file in files} == {"tls.crt", "tls.key", "ca.crt"}
    assert (login["mountPath"], login["subPath"]) == (f"{spec.LOGIN}/config.json", ".dockerconfigjson")
    assert all(mount["readOnly"] for mount in (certificate, login))


@pytest.mark.parametrize(
    ("said", "ended", "code"),
    [
        ("", 0, 0),
        ("error: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory", 1, 2),
        ("Dockerfile:1\nerror: failed to solve: dockerfile parse error on line 1: unknown instruction: FORM", 1, 2),
        (
            "error: failed to solve: registry.test/nobody:1: failed to resolve source metadata: nobody:1: not found",
            1,
            2,
        ),
        ("error: failed to solve: debian: failed to do request: dial tcp: i/o timeout", 1, 1),
        ('error: failed to solve: process "pip install it" did not complete successfully: exit code: 1', 1, 1),
        ("error: listing workers for Build: failed to list workers: Unavailable: connection error", 1, 1),
        ("importing cache: registry.test/model:buildcache: not found", 0, 0),
    ],
)
def test_a_build_is_not_tried_again_where_the_repository_is_wrong(
    tmp_path: Path, said: str, ended: int, code: int
) -> None:
    """The network may be better in a minute; a Dockerfile is not. What was said is told either way."""
    buildctl = tmp_path / "buildctl"
    buildctl.write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(said)} >&2\nexit {ended}\n")
    buildctl.chmod(0o755)
    command = pods.script(*spec.build_lines([str(buildctl)], str(tmp_path)))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (code, said)
