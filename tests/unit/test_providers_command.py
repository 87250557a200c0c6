"""Remote commands against a real sshd: pinned keys, a hop, retries, bounds, and nothing secret in errors."""

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rehearsal.protocol import Call, Props, ProviderError, Result
from rehearsal.providers import ssh
from rehearsal.providers.command import Command, without
from rehearsal.providers.tls import PrivateKey

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
URN = "urn:pulumi:dev::leasehold::command:remote:Command::ready"
CANARY = "canary-5f1c9d"

pytestmark = pytest.mark.skipif(not Path(SSHD).exists(), reason="no sshd: apt-get install openssh-server")


def new_key() -> Props:
    return PrivateKey().create(Call("urn::key"), {"algorithm": "ED25519"}).outputs


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Server:
    """One sshd of ours on a loopback port."""

    folder: Path
    port: int
    host_key: Props
    login: Props
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir()
        for name, text in (("host", self.host_key["privateKeyOpenssh"]), ("people", self.login["publicKeyOpenssh"])):
            (self.folder / name).touch(0o600)
            (self.folder / name).write_text(text)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own, from its service unit
        settings = {
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "people",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "yes",
        }
        options = [f"-o{key}={value}" for key, value in settings.items()]
        command = [SSHD, "-D", "-f", "/dev/null", "-p", str(self.port), "-oListenAddress=127.0.0.1", *options]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise AssertionError("sshd did not start")

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(5)

    def connection(self, **more: Any) -> Props:
        return {
            "host": "127.0.0.1",
            "port": float(self.port),
            "user": getpass.getuser(),
            "privateKey": self.login["privateKeyOpenssh"],
            "hostKey": self.host_key["publicKeyOpenssh"],
            "dialErrorLimit": 1,
            **more,
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("ssh") / "a", free_port(), new_key(), new_key())
    made.start()
    made.wait()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def bastion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("ssh") / "b", free_port(), new_key(), new_key())
    made.start()
    made.wait()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the user has in place must not matter; a socket that hangs would."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))


def create(connection: Props, command: str = "true", timeout: float = 20.0, **more: Any) -> Result:
    provider, call = Command(), Call(URN, timeout=timeout)
    return provider.create(call, provider.check(call, {"connection": connection, "create": command, **more}))


def test_runs_and_trims_one_newline(server: Server) -> None:
    made = create(server.connection(), "echo out; echo; echo err >&2")
    assert (made.outputs["stdout"], made.outputs["stderr"]) == ("out\n", "err")
    assert made.id.startswith("ready")
    assert made.outputs["connection"]["perDialTimeout"] == 15


def test_stdin_reaches_the_command_and_ends(server: Server) -> None:
    assert create(server.connection(), "wc -c", stdin="x" * 200_000).outputs["stdout"] == "200000"
    assert create(server.connection(), "cat").outputs["stdout"] == ""


def test_update_and_delete_run_their_own_commands(server: Server, tmp_path: Path) -> None:
    provider, call, log = Command(), Call(URN, timeout=20), tmp_path / "log"
    verbs = {verb: f"echo {verb} >> {log}; echo {verb}" for verb in ("create", "update", "delete")}
    news = provider.check(call, {"connection": server.connection(), **verbs})
    made = provider.create(call, news)
    changed = provider.update(call, Result(made.id, made.outputs, news), {**news, "stdin": "x"})
    assert (changed.id, changed.outputs["stdout"]) == (made.id, "update")
    provider.delete(call, changed)
    again = provider.update(call, made, {key: value for key, value in news.items() if key != "update"})
    assert again.outputs["stdout"] == "create"
    assert log.read_text().split() == ["create", "update", "delete", "create"]


def test_without_commands_nothing_is_dialled() -> None:
    provider, call = Command(), Call(URN, timeout=1)
    news = provider.check(call, {"connection": {"host": "192.0.2.1"}})
    made = provider.create(call, news)
    assert provider.read(call, made) == made
    assert provider.update(call, made, news).outputs["stdout"] == ""
    provider.delete(call, made)


def test_a_swapped_host_key_is_refused_before_any_command(server: Server, tmp_path: Path) -> None:
    """The machine behind the address is not ours: not one byte of the command may reach it."""
    marker = tmp_path / "ran"
    key = new_key()["publicKeyOpenssh"]
    with pytest.raises(ProviderError, match="host key mismatch") as caught:
        create(server.connection(hostKey=key), f"touch {marker}", stdin=CANARY)
    text = str(caught.value)
    assert f"127.0.0.1:{server.port}" in text
    assert "after 2 attempts" in text
    assert not any(part in text for part in (key.split()[1], server.host_key["publicKeyOpenssh"].split()[1], CANARY))
    assert not marker.exists()


def test_a_host_key_of_another_type_is_a_mismatch_too(server: Server) -> None:
    other = PrivateKey().create(Call("urn::key"), {"algorithm": "ECDSA", "ecdsaCurve": "P256"}).outputs
    with pytest.raises(ProviderError, match="host key mismatch"):
        create(server.connection(hostKey=other["publicKeyOpenssh"], dialErrorLimit=0))


def test_through_a_proxy_both_keys_are_pinned(server: Server, bastion: Server, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    assert create(server.connection(proxy=bastion.connection()), "echo $SSH_CONNECTION").outputs["stdout"]
    wrong = new_key()["publicKeyOpenssh"]
    with pytest.raises(ProviderError, match=r"proxy .*host key mismatch"):
        create(server.connection(proxy=bastion.connection(hostKey=wrong)), f"touch {marker}")
    with pytest.raises(ProviderError, match=f":{server.port}: host key mismatch"):
        create(server.connection(hostKey=wrong, proxy=bastion.connection()), f"touch {marker}")
    with pytest.raises(ProviderError, match="the proxy could not reach it"):
        create(server.connection(port=free_port(), proxy=bastion.connection()), f"touch {marker}")
    assert not marker.exists()


def test_a_failing_command_says_how_without_stdin(server: Server) -> None:
    with pytest.raises(ProviderError) as caught:
        create(server.connection(), f"cat >&2; echo broken >&2; exit 3 # {CANARY}", stdin=f"{CANARY}\nmore-{CANARY}\n")
    text = str(caught.value)
    assert "exited with status 3" in text
    assert "broken" in text
    assert CANARY not in text
    assert server.login["privateKeyOpenssh"].splitlines()[2] not in text


def test_a_command_ended_by_a_signal(server: Server) -> None:
    with pytest.raises(ProviderError, match="was ended by KILL"):
        create(server.connection(), "kill -9 $$")


def test_login_refused(server: Server) -> None:
    with pytest.raises(ProviderError, match="refused the login"):
        create(server.connection(privateKey=new_key()["privateKeyOpenssh"]))


def test_dials_until_sshd_is_up(tmp_path: Path) -> None:
    late = Server(tmp_path / "late", free_port(), new_key(), new_key())
    timer = threading.Timer(0.3, late.start)
    timer.start()
    try:
        assert create(late.connection(dialErrorLimit=-1), "echo up").outputs["stdout"] == "up"
    finally:
        timer.join()
        late.stop()


def test_the_limit_ends_dialling() -> None:
    connection = {"host": "127.0.0.1", "port": free_port(), "dialErrorLimit": 2}
    with pytest.raises(ProviderError, match=r"cannot connect to root@127.0.0.1.*after 3 attempts"):
        create(connection)


def test_the_timeout_ends_dialling() -> None:
    begun = time.monotonic()
    with pytest.raises(ProviderError, match=r"took more than 0\.3 s"):
        create({"host": "127.0.0.1", "port": free_port(), "dialErrorLimit": -1}, timeout=0.3)
    assert time.monotonic() - begun < 2


def test_a_silent_host_is_given_up() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(ProviderError, match="no answer within"):
            create({"host": "127.0.0.1", "port": sock.getsockname()[1], "dialErrorLimit": 0, "perDialTimeout": 0.3})


def test_the_timeout_ends_a_command(server: Server) -> None:
    begun = time.monotonic()
    with pytest.raises(ProviderError, match="took more than"):
        create(server.connection(), "sleep 30", timeout=0.5)
    assert time.monotonic() - begun < 3


def test_an_interrupt_ends_a_command(server: Server) -> None:
    call, provider = Call(URN, timeout=30), Command()
    threading.Timer(0.3, call.cancel.set).start()
    begun = time.monotonic()
    with pytest.raises(ProviderError, match="interrupted"):
        provider.create(call, provider.check(call, {"connection": server.connection(), "create": "sleep 30"}))
    assert time.monotonic() - begun < 3


def test_bad_keys_are_named_before_dialling() -> None:
    for name in ("privateKey", "hostKey"):
        with pytest.raises(ProviderError, match="cannot be read") as caught:
            create({"host": "192.0.2.1", name: CANARY})
        assert CANARY not in str(caught.value)


def test_secrets_do_not_show_in_representations(server: Server) -> None:
    host = ssh.Host.of(server.connection(password=CANARY))
    assert CANARY not in repr(host)
    assert "PRIVATE" not in repr(host)


def test_short_lines_of_stdin_do_not_garble_errors() -> None:
    assert without("exit 1 at line 12 secret", "1\n12\nsecret\n") == "exit 1 at line 12 [stdin]"
