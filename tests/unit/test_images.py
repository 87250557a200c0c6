"""Images of the rehearsal's platform: what they are made of, and the registry that gives them to machines."""

import hashlib
import http.client
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import config
import versions
from rehearsal import mirrors
from rehearsal.images import catalogue, changes, mirror, oci, recipe, server, store, wheels
from rehearsal.images.oci import Layer, Start
from rehearsal.images.recipe import Recipe
from rehearsal.kubernetes import charts
from rehearsal.kubernetes.tars import File
from rehearsal.paths import PROJECT

PLATFORM = {"cluster": {"kind": "k3s"}, "platform": {"domain": "mlops.example.org"}}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


# -- documents and layers ----------------------------------------------------------------------------------------


def test_an_images_documents_refer_to_each_other_by_digest() -> None:
    """A runtime checks every one of them."""
    described = oci.text(oci.config(Start(("/x",), user="26"), ["sha256:content"]))
    digest = f"sha256:{hashlib.sha256(described).hexdigest()}"
    manifest = oci.manifest(digest, len(described), [Layer("sha256:packed", 7, "sha256:content")])
    assert manifest["config"] == {"mediaType": oci.CONFIG, "digest": digest, "size": len(described)}
    assert manifest["layers"] == [{"mediaType": oci.LAYER, "digest": "sha256:packed", "size": 7}]
    assert json.loads(described)["rootfs"]["diff_ids"] == ["sha256:content"]
    assert json.loads(described)["config"]["User"] == "26"


def test_a_layer_has_what_is_new_what_differs_and_what_is_gone(tmp_path: Path) -> None:
    """What was there before is in the layer below."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for name in ("same", "other", "gone"):
        (root / "etc" / name).write_text(name)
    (root / "old").mkdir()
    (root / "old/file").write_text("")
    before = changes.snapshot(root)
    (root / "etc/other").write_text("changed")
    (root / "etc/gone").unlink()
    (root / "old/file").unlink()
    (root / "old").rmdir()
    (root / "usr").mkdir()
    (root / "usr/link").symlink_to("/etc/other")
    changes.write(tmp_path / "layer.tar", root, before, 0)
    with tarfile.open(tmp_path / "layer.tar") as archive:
        names = archive.getnames()
    assert names == ["etc", "etc/other", "usr", "usr/link", "etc/.wh.gone", ".wh.old"]


def test_a_layer_does_not_know_when_it_was_built(tmp_path: Path) -> None:
    """Its digest is part of the configuration; but a package's own times stay, for compiled Python names them."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "made").write_text("made")
    (root / "packaged").write_text("packaged")
    os.utime(root / "packaged", (5, 5))
    changes.write(tmp_path / "first.tar", root, {}, 1000)
    os.utime(root / "made", (4000, 4000))
    os.utime(root, (4000, 4000))
    changes.write(tmp_path / "second.tar", root, {}, 3000)
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    with tarfile.open(tmp_path / "first.tar") as archive:
        assert {member.name: member.mtime for member in archive} == {"made": 0, "packaged": 5}


def test_a_program_keeps_what_it_may_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder without root needs newuidmap; only root may set the attribute, so it is only said here."""
    root, right = tmp_path / "root", b"\x01\0\0\x02\x80\0\0\0" + bytes(12)
    root.mkdir()
    for name in ("newuidmap", "other"):
        (root / name).write_text(name)
    monkeypatch.setattr(os, "listxattr", lambda path: [changes.CAPABILITIES] if path.name == "newuidmap" else [])
    monkeypatch.setattr(os, "getxattr", lambda _, name: {changes.CAPABILITIES: right}[name])
    changes.write(tmp_path / "layer.tar", root, {}, 0)
    with tarfile.open(tmp_path / "layer.tar") as archive:
        found = {member.name: member.pax_headers.get("SCHILY.xattr.security.capability") for member in archive}
    assert found == {"newuidmap": right.decode("utf-8", "surrogateescape"), "other": None}


def test_what_a_runtime_mounts_is_in_no_layer(tmp_path: Path) -> None:
    """Device nodes cannot be made in every machine."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/null").write_text("")
    assert list(changes.snapshot(tmp_path)) == ["dev"]


@pytest.mark.usefixtures("cache")
def test_a_layer_is_made_once() -> None:
    """Rehearsals share what takes minutes."""
    calls = []

    def make(target: Path) -> None:
        calls.append(target)
        with tarfile.open(target, "w"):
            pass

    first = store.layer("key", make)
    assert store.layer("key", make) == first
    assert store.layer("other", make) == first
    assert len(calls) == 2
    assert f"sha256:{hashlib.sha256(store.blob(first.digest).read_bytes()).hexdigest()}" == first.digest


@pytest.mark.usefixtures("cache")
def test_a_layer_whose_blob_is_gone_is_made_again() -> None:
    """A user may empty the cache by hand."""

    def make(target: Path) -> None:
        target.write_bytes(b"x" * 1024)

    first = store.layer("key", make)
    store.blob(first.digest).unlink()
    assert store.layer("key", make) == first
    assert store.blob(first.digest).exists()


def test_scripts_start_with_the_environments_python() -> None:
    """They were installed by the Python of another computer."""
    assert wheels.started(b"#!/home/me/.venv/bin/python\nimport x\n") == b"#!/opt/venv/bin/python\nimport x\n"
    long = b"#!/bin/sh\n'''exec' '/very/long/python' \"$0\" \"$@\"\n' '''\nimport x\n"
    assert wheels.started(long) == b"#!/opt/venv/bin/python\nimport x\n"
    assert wheels.started(b"#!/bin/sh\necho\n") == b"#!/bin/sh\necho\n"


# -- the catalogue -----------------------------------------------------------------------------------------------


def test_the_rehearsals_mlflow_is_the_one_that_the_platform_names() -> None:
    """Clients and database schemas are of one version."""
    assert versions.MLFLOW.tag.startswith(f"v{wheels.version('mlflow', 'mlflow')}")


def test_every_recipe_is_for_an_image_of_the_platform() -> None:
    """A name that changed would leave a recipe that nobody pulls, and an image that nobody made."""
    assert catalogue.recipes().keys() - {catalogue.TOOLS} <= {image.tagged for image in versions.IMAGES}


def test_what_few_environments_run_is_made_for_those_alone() -> None:
    """Their packages are hundreds of megabytes, which every rehearsal would build and serve."""
    parts = {"load_test": {"bodies": [{}]}, "exploration": {"image": "ghcr.io/team/page:1"}, "ray": {}}
    more = catalogue.recipes({**PLATFORM, "apps": parts}).keys() - catalogue.recipes(PLATFORM).keys()
    assert more == {versions.LOCUST.tagged, "ghcr.io/team/page:1", versions.RAY.tagged}
    own = {"ray": {"image": "ghcr.io/team/ray:1"}}
    assert "ghcr.io/team/ray:1" in catalogue.recipes({**PLATFORM, "apps": own})
    assert "ghcr.io/team/page:1" in mirror.expected({**PLATFORM, "apps": parts})["images"]["digests"]
    assert any("Locust" in part.reason for part in mirror.parts({**PLATFORM, "apps": parts}))


@pytest.mark.parametrize("apps", [None, "text", {"ray": None, "load_test": "x"}, {"exploration": {}}])
def test_a_file_that_is_wrong_is_refused_by_the_program_and_not_by_its_images(apps: object) -> None:
    """The program names the key and the remedy."""
    assert mirror.expected({**PLATFORM, "apps": apps})


@pytest.mark.parametrize(("lock", "image"), [("locust", versions.LOCUST), ("ray", versions.RAY)])
def test_what_is_rehearsed_is_of_the_version_that_is_named(lock: str, image: versions.Image) -> None:
    """Another release might take other words."""
    assert image.tag.partition("-")[0] == wheels.version(lock, lock)


def test_the_page_is_rehearsed_with_the_packages_that_its_example_pins() -> None:
    """Whoever builds the image gets what was tried."""
    locks = (wheels.lock("streamlit"), PROJECT / "examples/exploration/requirements.lock")
    first, second = ([line for line in lock.read_text().splitlines() if "==" in line] for lock in locks)
    assert first
    assert first == second


def test_no_file_hides_debians_links() -> None:
    """/bin and /lib are links into /usr there: a layer that has such a folder would leave no shell to find."""
    found = [made for made in catalogue.recipes().values() if made.base]
    paths = [path for made in found for path in (*made.programs, *made.files)]
    assert paths
    assert not [path for path in paths if path.startswith(("bin/", "sbin/", "lib/", "lib64/"))]


def test_the_key_of_an_installed_package_is_in_no_image() -> None:
    """Everybody who has the image would have it."""
    assert "etc/ssl/private/*" in catalogue.POSTGRES.left_out


def test_every_lock_pins_its_packages_by_hash() -> None:
    """What is installed is what was reviewed."""
    for file in sorted((PROJECT / "rehearsal/images").glob("*.in")):
        words = [line for line in file.with_suffix(".lock").read_text().splitlines() if "==" in line]
        assert words
        assert all(line.endswith("\\") for line in words if not line.lstrip().startswith("#"))


# -- the registry ------------------------------------------------------------------------------------------------

NAMES = {"quay.io/a/b:1": f"sha256:{'1' * 64}", "docker.io/a/b:1": f"sha256:{'2' * 64}"}


@pytest.mark.parametrize(
    ("path", "digit"),
    [
        ("/v2/a/b/manifests/1?ns=quay.io", "1"),
        ("/v2/a/b/manifests/1?ns=docker.io", "2"),
        (f"/v2/a/b/manifests/sha256:{'2' * 64}", "2"),
        (f"/v2/a/b/manifests/sha256%3A{'2' * 64}", "2"),
        (f"/v2/a/b/blobs/sha256:{'3' * 64}?ns=quay.io", "3"),
        (f"/v2/a/b/manifests/sha256:{'2' * 64}?ns=quay.io", None),
        (f"/v2/a/c/blobs/sha256:{'3' * 64}", None),
        ("/v2/a/b/manifests/2", None),
        ("/v2/a/b/blobs/../../../etc/passwd", None),
        ("/v2/a/b/manifests/..%2F..%2Fetc%2Fpasswd", None),
        ("/etc/passwd", None),
    ],
)
def test_the_registry_finds_an_image_as_its_own_registry_would(path: str, digit: str | None) -> None:
    """It stands in for all of them, and offers nothing but what is in its list."""
    assert server.found(path, NAMES) == (f"sha256:{digit * 64}" if digit else None)


@pytest.fixture
def asked(cache: Path) -> Iterator[http.client.HTTPConnection]:
    """A registry with one small image, x.org/small:1."""
    files = {"hello": File("hello")}
    made = Recipe("real", "hello", Start(("/hello",)), files=files)
    mirror.offer({"x.org/small:1": recipe.make(made, lambda _: None)}, cache / "names.json")
    running = server.server("127.0.0.1", 0, store.folder(), cache / "names.json")
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield http.client.HTTPConnection("127.0.0.1", running.server_address[1])
    running.shutdown()
    running.server_close()


def get(asked: http.client.HTTPConnection, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    asked.request(method, path)
    answer = asked.getresponse()
    return answer, answer.read()


def test_a_runtime_pulls_an_image_by_tag_then_by_digest(asked: http.client.HTTPConnection) -> None:
    """As containerd does: a HEAD for the digest, the manifest, then its blobs, each of which it checks."""
    head, body = get(asked, "/v2/small/manifests/1?ns=x.org", "HEAD")
    digest = head.headers["Docker-Content-Digest"]
    assert (head.status, body, head.headers["Content-Type"]) == (200, b"", oci.MANIFEST)
    answer, body = get(asked, f"/v2/small/manifests/{digest}?ns=x.org")
    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == digest
    assert answer.headers["Content-Type"] == oci.MANIFEST
    manifest = json.loads(body)
    for part in (manifest["config"], *manifest["layers"]):
        answer, body = get(asked, f"/v2/small/blobs/{part['digest']}?ns=x.org")
        assert (answer.status, len(body)) == (200, part["size"])
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == part["digest"]


def test_an_interrupted_pull_goes_on_where_it_was_cut(asked: http.client.HTTPConnection) -> None:
    """Layers are large."""
    manifest = json.loads(get(asked, "/v2/small/manifests/1")[1])
    path = f"/v2/small/blobs/{manifest['layers'][0]['digest']}"
    whole = get(asked, path)[1]
    asked.request("GET", path, headers={"Range": "bytes=5-"})
    answer = asked.getresponse()
    assert (answer.status, answer.read()) == (206, whole[5:])


def test_the_registry_says_that_it_is_one_and_what_it_has_not(asked: http.client.HTTPConnection) -> None:
    """A runtime then asks the next, or says which image is missing."""
    assert get(asked, "/v2/")[0].status == 200
    answer, body = get(asked, "/v2/small/manifests/2?ns=x.org")
    assert (answer.status, json.loads(body)["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    answer, body = get(asked, f"/v2/small/blobs/sha256:{'0' * 64}")
    assert (answer.status, json.loads(body)["errors"][0]["code"]) == (404, "BLOB_UNKNOWN")


def test_a_running_registry_offers_what_is_added(asked: http.client.HTTPConnection, cache: Path) -> None:
    """A second `up` may need more images; the machines' connections stay."""
    before = json.loads((cache / "names.json").read_text())
    mirror.offer({**before, "y.org/more:1": before["x.org/small:1"]}, cache / "names.json")
    assert get(asked, "/v2/more/manifests/1?ns=y.org")[0].status == 200


# -- the configuration -------------------------------------------------------------------------------------------


def test_the_program_accepts_what_the_rehearsal_gives_it() -> None:
    """Before anything is made, the environment is checked with placeholders."""
    given = mirrors.expected(PLATFORM)
    assert given.keys() == {"artifacts", "charts", "images"}
    assert config.Images.model_validate(given["images"]).digest(versions.MLFLOW) == f"sha256:{'0' * 64}"
    assert config.Charts.model_validate(given["charts"]).mirror == charts.PLACEHOLDER


def test_an_environment_that_says_where_its_images_are_keeps_it() -> None:
    """The file says what it means; and a cluster alone pulls nothing from here."""
    assert mirror.expected({**PLATFORM, "images": {"mirror": "https://registry.example.org"}}) == {}
    assert mirror.expected({"cluster": {"kind": "k3s"}}) == {}
    assert charts.expected({**PLATFORM, "charts": {"mirror": "/srv/charts"}}) == {}


def test_the_report_says_of_every_image_what_it_really_is() -> None:
    """A stand-in that is not named as one would be taken for proof."""
    text = " ".join(part.name for part in mirror.parts(PLATFORM))
    assert all(name.rpartition("/")[2] in text for name in catalogue.recipes())
    assert mirror.parts({"cluster": {"kind": "k3s"}}) == []


def test_the_folder_of_charts_has_each_chart_once(tmp_path: Path) -> None:
    """A chart that went, or an older version, must not be installed."""
    (tmp_path / "old-1.0.0.tgz").write_text("")
    given = charts.config(tmp_path)
    names = {file.name for file in tmp_path.iterdir()}
    assert given["mirror"] == str(tmp_path)
    assert given["digests"].keys() == names
    assert versions.DEVICE_PLUGIN.file in names
    assert "old-1.0.0.tgz" not in names
    assert len(names) == len(list((PROJECT / "rehearsal/charts").glob("*/Chart.yaml")))
