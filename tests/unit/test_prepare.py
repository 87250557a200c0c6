"""The preparation's rendering, and its functions on real files: downloads, blank volumes, copies."""

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from shutil import which

import pytest

from cluster import drain, prepare, step

LIB = "set -- key\n{variables}\n{lib}\n{parts}\n{call}\n"


def bash(folder: Path, call: str, *parts: str, **variables: step.Value) -> subprocess.CompletedProcess[str]:
    """Run functions of the scripts with another root; `finish` and systemd are not reached."""
    lib = step.read("lib.sh").replace("/var/lib/leasehold", str(folder))
    for name in ("secrets", "results"):
        (folder / name).mkdir(exist_ok=True)
    known: dict[str, step.Value] = {"host": "node1", "step": "try", **variables}
    functions = "\n".join(step.read(part) for part in parts)
    text = LIB.format(variables="\n".join(step.assignments(known)), lib=lib, parts=functions, call=call)
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "file").write_bytes(b"content")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "mirror"))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_what_was_pinned_is_fetched_once(tmp_path: Path, mirror: str) -> None:
    """The second run asks nobody."""
    call = f"fetch a/b {mirror}/file {sha256(b'content').hexdigest()} {tmp_path}/to/file"
    assert "done: try: fetched a/b" in bash(tmp_path, call).stdout
    assert (tmp_path / "to" / "file").read_bytes() == b"content"
    assert bash(tmp_path, call).stdout == ""


def test_a_wrong_checksum_is_permanent_and_leaves_nothing(tmp_path: Path, mirror: str) -> None:
    """Nothing that was not pinned may get the name under which it would be run."""
    done = bash(tmp_path, f"fetch a/b {mirror}/file {'0' * 64} {tmp_path}/to/file")
    assert done.returncode == 65
    assert f"a/b: checksum is {sha256(b'content').hexdigest()}, expected {'0' * 64}: refused" in done.stderr
    assert not list((tmp_path / "to").iterdir())


def test_a_download_that_was_cut_is_resumed_or_begun_anew(tmp_path: Path, mirror: str) -> None:
    """This server knows no ranges, so the partial file is thrown away."""
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "file.partial").write_bytes(b"other")
    bash(tmp_path, f"fetch a/b {mirror}/file {sha256(b'content').hexdigest()} {tmp_path}/to/file")
    assert (tmp_path / "to" / "file").read_bytes() == b"content"


BLANK, OURS, THEIRS, NOISE = "blank", "ours", "theirs", "noise"


@pytest.mark.skipif(not which("mkfs.ext4") or not which("blkid"), reason="needs e2fsprogs and util-linux")
@pytest.mark.parametrize("kind", [BLANK, OURS, THEIRS, NOISE])
def test_only_a_blank_volume_is_formatted(tmp_path: Path, kind: str) -> None:
    """On a file in place of a device: the tools are the same."""
    device = tmp_path / "device"
    with device.open("wb") as file:
        file.truncate(16 * 2**20)
        if kind == NOISE:
            file.seek(500_000)
            file.write(b"\x01")
    if kind in (OURS, THEIRS):
        label = "leasehold" if kind == OURS else "family"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-L", label, str(device)], check=True)
    before = device.read_bytes()
    call = f"blockdev() {{ stat -c %s $2; }}\nformat_if_blank node1-data {device}"
    done = bash(tmp_path, call, "volumes.sh")
    if kind == BLANK:
        assert "done: try: volume node1-data formatted" in done.stdout
    else:
        assert device.read_bytes() == before
        assert done.returncode == (0 if kind == OURS else 65)
    if kind == THEIRS:
        assert f"volume node1-data: {device} holds data that is not ours (family ext4)" in done.stderr


def test_a_copy_counts_as_the_same_only_when_it_is(tmp_path: Path) -> None:
    """The original is removed on this word."""
    for side in ("a", "b"):
        (tmp_path / side / "folder").mkdir(parents=True)
    (tmp_path / "a" / "folder" / "file").write_text("one")
    subprocess.run(["cp", "-a", f"{tmp_path}/a/.", f"{tmp_path}/b"], check=True)
    call = f"same_content {tmp_path}/a {tmp_path}/b && echo same || echo different"
    assert bash(tmp_path, call, "volumes.sh").stdout == "same\n"
    (tmp_path / "b" / "folder" / "file").write_text("two")
    assert bash(tmp_path, call, "volumes.sh").stdout == "different\n"


def test_the_key_of_the_vpn_is_in_stdin_only() -> None:
    """A script is stored on the machine and in the state."""
    text = prepare.script(prepare.Preparation(host="node1", address="192.168.1.11", tailscale_tag="tag:leasehold"))
    assert "tskey" not in text
    assert prepare.secrets("tskey-1") == '{"tailscale_auth_key": "tskey-1"}'
    assert prepare.secrets(None) == "{}"


def test_names_with_shell_characters_stay_words(tmp_path: Path) -> None:
    """Rendered values are quoted."""
    assert bash(tmp_path, 'printf %s "$odd"', odd="a'b $(x)").stdout == "a'b $(x)"
    assert subprocess.run(["bash", "-n"], input=drain.script("node1"), text=True, check=False).returncode == 0
