"""The releases repository over HTTP, with git's own server, and over SSH, with a server of its own."""

import base64
import getpass
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from apps.delivery.releases import Answer
from apps.delivery.repository import (
    Login,
    Remote,
    RepositoryError,
    SshKey,
)
from apps.delivery.repository import git as program
from tests.unit.test_delivery_releases import (
    ONE,
    built,
)
from tests.unit.test_delivery_repository import PLAIN, commits, deliver, git, make, releases

TOKEN = "hunter2-of-the-test"
BACKEND = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()) / (
    "git-http-backend"
)
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make(tmp_path / "releases.git")


@dataclass
class Http:
    """Git's own server behind a small one for HTTP, which wants a login."""

    url: str
    lose: int = 0
    """So many answers to pushes get lost, after the push."""
    asked: int = 0


@contextmanager
def serving(folder: Path) -> Iterator[Http]:
    """Serve the repositories in a folder."""
    expected = "Basic " + base64.b64encode(f"robot:{TOKEN}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            http.asked += 1
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="releases"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            variables = {
                **PLAIN,
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": "robot",
                "CONTENT_LENGTH": str(len(body)),
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            out = subprocess.run([BACKEND], input=body, env=variables, capture_output=True, check=True).stdout
            if http.lose and self.command == "POST" and path.endswith("git-receive-pack"):
                http.lose -= 1
                self.close_connection = True
                return
            head, _, content = out.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve  # noqa: N815  names of the base class

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http = Http(f"http://127.0.0.1:{server.server_port}/releases.git")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield http
    finally:
        server.shutdown()
        server.server_close()


needs_backend = pytest.mark.skipif(not BACKEND.exists(), reason="git has no http-backend here")


def by_http(http: Http, tmp_path: Path, token: str = TOKEN) -> Remote:
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    return Remote(http.url, login=Login("robot", str(file)), unencrypted=True, seconds=20)


@needs_backend
def test_over_http_the_token_comes_from_its_file(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in no argument, no variable and no address."""
    git(bare, "config", "http.receivepack", "true")
    told: list[object] = []
    real = program.run

    def run(variables: Mapping[str, str], words: Sequence[str], *more: Any) -> program.Ran:
        told.append((variables, words))
        return real(variables, words, *more)

    monkeypatch.setattr(program, "run", run)
    with serving(tmp_path) as http:
        plans = deliver(releases(by_http(http, tmp_path)), *built(ONE))
    assert [plan.answer for plan in plans] == [Answer.CHANGED] * 2
    assert commits(bare) == 2
    assert told
    assert TOKEN not in repr(told)


@needs_backend
def test_a_push_whose_answer_got_lost_has_one_effect(bare: Path, tmp_path: Path) -> None:
    """The server has it, the client knows nothing: it reads again, finds its own commit and is content."""
    git(bare, "config", "http.receivepack", "true")
    with serving(tmp_path) as http:
        at = releases(by_http(http, tmp_path))
        http.lose = 1
        plan = at.change(built(ONE)[0])
        assert (http.lose, plan.answer, commits(bare)) == (0, Answer.CHANGED, 1)
        assert at.change(built(ONE)[0]).answer is Answer.REPEATED
    assert commits(bare) == 1


@needs_backend
def test_a_wrong_token_is_said_to_be_wrong(bare: Path, tmp_path: Path) -> None:
    """Nobody is asked for a password: there is no terminal, and nothing waits."""
    assert bare.is_dir()
    with serving(tmp_path) as http, pytest.raises(RepositoryError) as caught:
        releases(by_http(http, tmp_path, "wrong-one")).state()
    assert "Authentication failed" in str(caught.value)
    assert f"see that {tmp_path}/token may read and write there: `git ls-remote {http.url}`" in str(caught.value)
    assert "wrong-one" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up() -> None:
    """Git, and what it started for HTTP, end with the time that they have."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        remote = Remote(f"http://127.0.0.1:{silent.getsockname()[1]}/x", unencrypted=True, seconds=1)
        began = time.monotonic()
        with pytest.raises(RepositoryError, match="no answer within 1 s; see whether it answers, `git ls-remote"):
            releases(remote).state()
        assert time.monotonic() - began < 20


@dataclass(frozen=True)
class Ssh:
    """A server for SSH of the test's own."""

    url: str
    key: SshKey


@pytest.fixture
def ssh(bare: Path, tmp_path: Path) -> Iterator[Ssh]:
    """Serve a repository to one key."""
    if SSHD is None or not Path("/run/sshd").is_dir():
        pytest.skip("no sshd here, or nothing that made /run/sshd")
    for name in ("host", "deploy"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}")
    options = {
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "deploy.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "PermitRootLogin": "yes",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    command = [SSHD, "-D", "-e", "-f", "/dev/null", "-p", str(port), "-o", "ListenAddress=127.0.0.1", *words]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        key = SshKey(str(tmp_path / "deploy"), str(tmp_path / "known"))
        yield Ssh(f"ssh://{getpass.getuser()}@127.0.0.1:{port}{bare}", key)
    finally:
        server.terminate()
        server.wait(10)


def test_over_ssh_a_deploy_key_changes_what_runs(bare: Path, ssh: Ssh) -> None:
    """The usual way: a key for one repository, and the server's key pinned."""
    at = releases(Remote(ssh.url, ssh=ssh.key, seconds=20))
    assert at.change(built(ONE)[0]).answer is Answer.CHANGED
    assert commits(bare) == 1


def test_over_ssh_another_server_is_refused(ssh: Ssh, tmp_path: Path) -> None:
    """Its key is not the one that was pinned: nothing is shown to it."""
    (tmp_path / "known").write_text("")
    with pytest.raises(RepositoryError, match=r"Host key verification failed.*compare `ssh-keyscan 127.0.0.1`"):
        releases(Remote(ssh.url, ssh=ssh.key, seconds=20)).state()
