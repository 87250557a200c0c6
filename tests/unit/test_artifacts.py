"""What machines of a rehearsal download: archives, packages, digests, and the server that has them."""

import hashlib
import http.client
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import versions
from rehearsal import arguments
from rehearsal.cloud import CloudError
from rehearsal.environment import EnvironmentFile, Unreadable
from rehearsal.kubernetes import artifacts, build, charts, debs, images, mirror, pack, programs, server, tars
from rehearsal.kubernetes.build import Binary
from rehearsal.kubernetes.gpu import nvidia_container_runtime as runtime
from rehearsal.kubernetes.tars import File, Folder, Link
from rehearsal.paths import Root
from rehearsal.pulumi_cli import PulumiCli

RELEASE = "v1.36.4+k3s1"


def test_an_archive_depends_on_its_content_only(tmp_path: Path) -> None:
    """Its digest is part of the configuration: another time or order must not reinstall a cluster."""
    (tmp_path / "b").write_text("b")
    first = tars.packed({"x/b": File(tmp_path / "b"), "a": File("a")})
    (tmp_path / "b").touch()
    assert tars.packed({"a": File("a"), "x/b": File(tmp_path / "b")}) == first


def test_an_archive_has_folders_above_files_and_modes() -> None:
    """dpkg and containerd want a folder before what is in it."""
    packed = tars.packed({"usr/bin/x": File("x"), "tmp": Folder(0o1777), "bin/sh": Link("busybox")}, "./")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        found = {member.name: member for member in archive.getmembers()}
    assert list(found) == ["./bin", "./bin/sh", "./tmp", "./usr", "./usr/bin", "./usr/bin/x"]
    assert (found["./tmp"].mode, found["./usr/bin/x"].mode) == (0o1777, 0o755)
    assert found["./bin/sh"].linkname == "busybox"


def test_an_images_archive_names_its_images_and_shares_layers(tmp_path: Path) -> None:
    """containerd checks every digest, and imports what the manifest names."""
    base = {"bin/sh": File("shell")}
    found = [
        images.Image(("example.org/a:1",), (base,), (), ("sh",)),
        images.Image(("example.org/b:1",), (base, {"b": File("b")}), ("/b",)),
    ]
    images.write(tmp_path / "images.tar", found)
    with tarfile.open(tmp_path / "images.tar") as archive:
        content = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    manifest = json.loads(content["manifest.json"])
    assert [entry["RepoTags"] for entry in manifest] == [["example.org/a:1"], ["example.org/b:1"]]
    assert manifest[0]["Layers"] == manifest[1]["Layers"][:1]
    for entry in manifest:
        config = json.loads(content[entry["Config"]])
        digests = [f"sha256:{hashlib.sha256(content[layer]).hexdigest()}" for layer in entry["Layers"]]
        assert config["rootfs"]["diff_ids"] == digests


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_dpkg_reads_the_packages(tmp_path: Path) -> None:
    """The machines install them with dpkg."""
    for package in debs.nvidia_toolkit("1.2.3"):
        file = tmp_path / package.file
        file.write_bytes(debs.render(package))
        said = subprocess.run(
            ["dpkg-deb", "-f", file, "Package", "Version"], capture_output=True, text=True, check=True
        )
        assert said.stdout == f"Package: {package.name}\nVersion: 1.2.3-1\n"
        subprocess.run(["dpkg-deb", "-x", file, tmp_path / "root"], check=True)
    tool = tmp_path / "root/usr/bin/nvidia-ctk"
    assert "version 1.2.3" in subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout


def test_the_packages_are_those_that_the_product_downloads() -> None:
    """A name that differs would be fetched from upstream, or not at all."""
    wanted = {artifact.path for artifact in (*versions.nvidia_toolkit(), *versions.k3s(RELEASE))}
    assert wanted <= set(artifacts.paths([RELEASE]))


def test_addresses_are_quoted() -> None:
    """A plus sign is part of every release of k3s."""
    assert artifacts.url("http://192.0.2.1:8", f"k3s/{RELEASE}/k3s") == "http://192.0.2.1:8/k3s/v1.36.4%2Bk3s1/k3s"


def test_a_chart_is_packed_the_same_every_time(tmp_path: Path) -> None:
    """Its digest decides whether a release is upgraded."""
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("name: toy\nversion: 1.0.0\n")
    (tmp_path / "templates/x.yaml").write_text("a: 1\n")
    name, content = charts.packed(tmp_path)
    assert name == "toy-1.0.0.tgz"
    assert charts.packed(tmp_path) == (name, content)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert {"toy/Chart.yaml", "toy/templates/x.yaml"} <= set(archive.getnames())


def test_the_executable_holds_the_stand_in_and_its_programs(tmp_path: Path) -> None:
    """It is one file, started by the Python of the machine."""
    (tmp_path / "bin.tar.zst").write_bytes(b"packed")
    pack.write(tmp_path / "k3s", RELEASE, tmp_path / "bin.tar.zst")
    assert (tmp_path / "k3s").read_bytes().startswith(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(tmp_path / "k3s") as archive:
        names = set(archive.namelist())
        assert archive.read("VERSION") == RELEASE.encode()
        assert archive.read("bin.tar.zst") == b"packed"
    assert {"__main__.py", "k3s/__main__.py", "k3s/names.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(("README.md", "install.sh"))]


def test_a_label_makes_another_program() -> None:
    """An upgrade is rehearsed with the same sources under another version."""
    old, new = build.kubernetes("v1.36.4")[0], build.kubernetes("v1.36.5")[0]
    assert old.key != new.key
    assert "k8s.io/component-base/version.gitVersion=v1.36.5" in new.flags


def test_an_added_file_makes_another_program() -> None:
    """Without it in the key, a page that changes would stay as it was built."""
    argo = programs.ARGO_WORKFLOWS[-1]
    assert argo.added
    assert replace(argo, added={path: f"{text}!" for path, text in argo.added.items()}).key != argo.key


def test_every_program_has_its_graph_pinned_by_checksum() -> None:
    """Without go.sum, what a proxy sends would be trusted."""
    tables = [*vars(build).values(), *vars(programs).values(), build.kubernetes()]
    binaries = [one for value in tables for one in (value if isinstance(value, tuple) else (value,))]
    for binary in (one for one in binaries if isinstance(one, Binary)):
        assert (binary.folder / "go.mod").exists(), binary.name
        assert (binary.folder / "go.sum").exists(), binary.name


def test_a_missing_compiler_is_a_sentence_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian 12 has none that is new enough."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(CloudError, match=r"there is no Go compiler: install Go 1\.26 or newer"):
        build.go()


# -- the server --------------------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    """A server of a folder with one file of ten bytes."""
    (tmp_path / "served/k3s").mkdir(parents=True)
    (tmp_path / "served/k3s/a+b").write_bytes(b"0123456789")
    (tmp_path / "secret").write_text("not served")
    handler = partial(server.Handler, directory=str(tmp_path / "served"))
    running = server.Server(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def _get(url: str, **headers: str) -> tuple[int, bytes]:
    address, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", f"/{path}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_server_sends_files_and_the_rest_of_files(base: str) -> None:
    """A download that was cut goes on where it ended."""
    file = artifacts.url(base, "k3s/a+b")
    assert _get(file) == (200, b"0123456789")
    assert _get(file, Range="bytes=4-") == (206, b"456789")
    assert _get(file, Range="bytes=10-")[0] == 416


def test_the_server_lists_nothing_and_leaves_its_folder_never(base: str) -> None:
    """It is read by machines that run other people's programs."""
    assert _get(f"{base}/k3s/")[0] == 404
    assert _get(f"{base}/../secret")[0] == 404
    assert _get(f"{base}/%2e%2e/secret")[0] == 404


# -- the runtime of NVIDIA's stand-in ----------------------------------------------------------------------------

GPUS = {"0": "GPU-a", "1": "GPU-b"}
NUMBERS = {f"/dev/nvidia{name}": (1, 3) for name in ("0", "1", "ctl", "-uvm")}


def spec(*environment: str) -> dict[str, Any]:
    """A container's configuration."""
    return {"process": {"env": ["PATH=/bin", *environment]}, "linux": {"resources": {}}}


@pytest.mark.parametrize("value", [None, "", "void"])
def test_a_container_that_asks_for_no_gpu_gets_nothing(value: str | None) -> None:
    """Every container of a node with the runtime as its default passes through it."""
    assert runtime.asked(spec(*([f"NVIDIA_VISIBLE_DEVICES={value}"] if value is not None else []))) is None


@pytest.mark.parametrize(
    ("wanted", "indexes"), [("all", ["0", "1"]), ("none", []), ("GPU-b", ["1"]), ("0,GPU-b", ["0", "1"])]
)
def test_gpus_are_chosen_by_index_or_uuid(wanted: str, indexes: list[str]) -> None:
    """The device plugin names UUIDs, people name indexes."""
    assert runtime.chosen(wanted, GPUS) == indexes


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    """A container that starts without its GPU would fail later, and less clearly."""
    with pytest.raises(LookupError, match="GPU-c"):
        runtime.chosen("GPU-c", GPUS)


def test_a_container_gets_the_driver_and_its_own_gpu() -> None:
    """Once, however often its configuration is written."""
    config = spec()
    for _ in range(2):
        runtime.edit(config, ["1"], NUMBERS)
    assert [mount["destination"] for mount in config["mounts"]] == ["/usr/bin/nvidia-smi"]
    paths = [device["path"] for device in config["linux"]["devices"]]
    assert paths == ["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"]
    assert len(config["linux"]["resources"]["devices"]) == 3


def test_only_commands_that_make_a_container_have_a_bundle() -> None:
    """`runc kill` and `runc state` pass unchanged."""
    assert runtime.bundle(["--root", "/r", "create", "--bundle", "/b", "id"]) == Path("/b")
    assert runtime.bundle(["run", "--bundle=/b", "id"]) == Path("/b")
    assert runtime.bundle(["kill", "id", "9"]) is None


# -- the configuration -------------------------------------------------------------------------------------------


def test_an_environment_with_a_mirror_of_its_own_keeps_it() -> None:
    """The file says what it means."""
    cluster = {"kind": "k3s"}
    assert mirror.expected({"cluster": cluster, "artifacts": {"source": "https://mirror.example.org"}}) == {}
    assert mirror.expected({}) == {}
    assert f"k3s/{versions.K3S}/k3s" in mirror.expected({"cluster": cluster})["artifacts"]["digests"]


def test_the_release_that_is_asked_for_is_made() -> None:
    """What cannot be a release is refused by the program, not by the rehearsal."""
    assert mirror.releases({"cluster": {"kind": "k3s", "version": "v1.36.5+k3s1"}}) == ("v1.36.5+k3s1",)
    assert mirror.releases({"cluster": {"kind": "k3s", "version": "../../x"}}) == ()
    assert mirror.releases({"cluster": {"kind": "kubespray"}}) == ()


def test_the_pulumi_cli_gets_a_copy_with_the_configuration_beside_the_file(tmp_path: Path) -> None:
    """The user's file stays as it is; what the CLI wrote into the copy stays too."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text("config:\n  leasehold:cluster: {kind: k3s}\n")
    before = file.read_text()
    pulumi = PulumiCli(Root(tmp_path / "root"), "x", file, {"leasehold:artifacts": {"source": None}})
    copy = pulumi.file()
    copy.write_text(copy.read_text() + "encryptionsalt: v1:abc\n")
    found = yaml.safe_load(pulumi.file().read_text())
    assert found["encryptionsalt"] == "v1:abc"
    assert set(found["config"]) == {"leasehold:cluster", "leasehold:artifacts"}
    assert file.read_text() == before
    assert PulumiCli(Root(tmp_path / "root"), "x", file).file() == file


def test_configuration_of_one_run_is_given_as_pulumi_does() -> None:
    """`leasehold:restore=latest` is not written into the file; a key without namespace is the project's."""
    found = arguments.key_values(["leasehold:restore=latest", "restore=a=b"])
    assert found == {"leasehold:restore": "a=b"}
    assert arguments.parser().parse_args(["rehearse", "--config", "leasehold:restore=latest"]).config == [
        "leasehold:restore=latest"
    ]
    with pytest.raises(Unreadable, match="KEY=VALUE"):
        arguments.key_values(["restore"])


def test_a_cluster_that_exists_needs_no_cloud(tmp_path: Path) -> None:
    """There is nothing to make at a site."""
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text("config:\n  leasehold:cluster: {kind: existing, kubeconfig_file: /x}\n")
    assert not EnvironmentFile.read(file).needs_cloud
