"""Generated keys, checked with OpenSSH's own tool."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from rehearsal.protocol import Call
from rehearsal.providers.tls import PrivateKey

CALL = Call("urn:pulumi:dev::leasehold::tls:index/privateKey:PrivateKey::key")


@pytest.mark.parametrize(
    "inputs",
    [
        {"algorithm": "ED25519"},
        {"algorithm": "RSA"},
        {"algorithm": "ECDSA", "ecdsaCurve": "P256"},
    ],
)
def test_forms_agree(inputs: dict[str, str], tmp_path: Path) -> None:
    made = PrivateKey().create(CALL, inputs)
    out = made.outputs
    assert all(out[key].endswith("\n") for key in out if key.startswith(("private", "publicKeyP", "publicKeyO")))
    file = tmp_path / "key"
    file.touch(0o600)
    file.write_text(out["privateKeyOpenssh"])
    public = subprocess.run(["ssh-keygen", "-y", "-f", file], check=True, capture_output=True, text=True).stdout
    assert public.split()[:2] == out["publicKeyOpenssh"].split()
    file.write_text(out["publicKeyOpenssh"])
    for kind in ("md5", "sha256"):
        done = subprocess.run(["ssh-keygen", "-l", "-E", kind, "-f", file], check=True, capture_output=True, text=True)
        printed = done.stdout.split()[1].removeprefix("MD5:")
        assert printed == out[f"publicKeyFingerprint{kind.capitalize()}"]
    for form in ("privateKeyPem", "privateKeyPemPkcs8"):
        key = load_pem_private_key(out[form].encode(), None)
        assert key.public_key() == load_pem_public_key(out["publicKeyPem"].encode())
    assert len(made.id) == 40


def test_keys_differ_and_live_in_the_state_only() -> None:
    provider = PrivateKey()
    one, two = (provider.create(CALL, {"algorithm": "ED25519"}) for _ in range(2))
    assert one.id != two.id
    assert provider.read(CALL, one) == one
    provider.delete(CALL, one)
    assert provider.find(CALL, {}) is None


def test_the_default_curve_has_no_openssh_form() -> None:
    outputs = PrivateKey().create(CALL, {"algorithm": "ECDSA"}).outputs
    assert outputs["publicKeyOpenssh"] == ""
    assert outputs["privateKeyPem"].startswith("-----BEGIN EC PRIVATE KEY-----")
