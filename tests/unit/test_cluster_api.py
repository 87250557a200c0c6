"""The client of the Kubernetes API: every credential of a kubeconfig, and errors without one."""

import base64
import json
import ssl
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from cluster.api import Api, ApiError
from rehearsal.protocol import Call
from rehearsal.providers.certificate import certificate
from rehearsal.providers.kubernetes import api
from rehearsal.providers.tls import PEM, PLAIN, PrivateKey, generate

CALL = Call("urn:pulumi:dev::leasehold::tls:index/privateKey:PrivateKey::key")


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = {"path": self.path, "token": self.headers["Authorization"], "accept": self.headers["Accept"]}
        refused = self.path.startswith("/no")
        body = json.dumps({"message": "not you"} if refused else said).encode()
        self.send_response(403 if refused else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


def pair() -> tuple[bytes, bytes]:
    """A certificate and its key."""
    key = generate("ECDSA", "P256", 0)
    inputs = {"allowedUses": ["server_auth"], "isCaCertificate": True, "setSubjectKeyId": True}
    more = {"setAuthorityKeyId": False, "subject": {"commonName": "test"}, "dnsNames": ["api.test"]}
    start = datetime.now(UTC) - timedelta(minutes=1)
    made = certificate(key, {**inputs, **more}, start, start + timedelta(hours=1)).public_bytes(PEM)
    return made, key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Its cluster entry of a kubeconfig."""
    made, key = pair()
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(made + key)
    web = HTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    authority = base64.b64encode(made).decode()
    where = f"https://127.0.0.1:{web.server_port}"
    yield {"server": where, "certificate-authority-data": authority, "tls-server-name": "api.test"}
    web.shutdown()


def kubeconfig(cluster: dict[str, Any], **user: Any) -> str:
    context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
    parts = {"clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "c", "user": user}]}
    return json.dumps({**parts, "contexts": [context], "current-context": "c"})


def test_the_server_is_verified_by_the_name_that_the_kubeconfig_gives(server: dict[str, str]) -> None:
    assert Api(kubeconfig(server, token="t")).call("GET", "/a", {"b": "c"})["path"] == "/a?b=c"
    wrong = kubeconfig({**server, "tls-server-name": "other.test"}, token="canary")
    with pytest.raises(ApiError, match="does not answer") as caught:
        Api(wrong).call("GET", "/a")
    assert "canary" not in str(caught.value)


def test_a_credential_may_come_from_a_program(server: dict[str, str], tmp_path: Path) -> None:
    """Managed clusters hand out short-lived tokens that way."""
    program = tmp_path / "login"
    program.write_text('#!/bin/sh\necho "{\\"status\\": {\\"token\\": \\"$WHO-$1\\"}}"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    entry = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "args": ["x"]}
    text = kubeconfig(server, exec={**entry, "env": [{"name": "WHO", "value": "me"}]})
    assert Api(text).call("GET", "/")["token"] == "Bearer me-x"
    with pytest.raises(ApiError, match="gave no credential"):
        Api(kubeconfig(server, exec={**entry, "command": "/nowhere/login"}))


def test_a_certificate_of_the_client_is_read_and_a_bad_one_not_shown(server: dict[str, str]) -> None:
    key = PrivateKey().create(CALL, {"algorithm": "ED25519"}).outputs["privateKeyPem"]
    bad = {"client-certificate-data": "Y2FuYXJ5", "client-key-data": base64.b64encode(key.encode()).decode()}
    with pytest.raises(ApiError, match="cannot be read") as caught:
        Api(kubeconfig(server, **bad))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("client", [Api, lambda text: api.Api(api.parse(text))], ids=["program", "provider"])
def test_a_key_of_the_client_has_no_name_on_this_computer(
    client: Callable[[str], object], server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL reads it from a file: what is killed in that moment would leave it behind."""
    named: list[list[Path]] = []
    load = ssl.SSLContext.load_cert_chain

    def loaded(context: ssl.SSLContext, *files: str) -> None:
        named.append(list(tmp_path.iterdir()))
        load(context, *files)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", loaded)
    given = zip(("client-certificate-data", "client-key-data"), pair(), strict=True)
    client(kubeconfig(server, **{key: base64.b64encode(text).decode() for key, text in given}))
    assert named == [[]]


def test_a_refusal_has_the_server_s_words_and_its_status(server: dict[str, str]) -> None:
    with pytest.raises(ApiError, match="not you") as caught:
        Api(kubeconfig(server)).call("GET", "/no", brief=True)
    assert caught.value.status == 403
