"""Generated keys, checked with OpenSSH's own tool."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from rehearsal.protocol import UNKNOWN, Call, ProviderError, Result
from rehearsal.providers.certificate import SelfSignedCert
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


AUTHORITY = {
    "allowedUses": ["cert_signing", "crl_signing", "digital_signature"],
    "isCaCertificate": True,
    "setSubjectKeyId": True,
    "subject": {"commonName": "leasehold test", "organization": "leasehold"},
    "validityPeriodHours": 24,
}


@pytest.mark.parametrize("kind", [{"algorithm": "ECDSA", "ecdsaCurve": "P256"}, {"algorithm": "ED25519"}])
def test_an_authority_certifies_by_openssl_s_own_judgement(kind: dict[str, str], tmp_path: Path) -> None:
    key = PrivateKey().create(CALL, kind).outputs
    provider = SelfSignedCert()
    news = provider.check(CALL, {**AUTHORITY, "privateKeyPem": key["privateKeyPem"]})
    made = provider.create(CALL, news)
    file = tmp_path / "ca.pem"
    file.write_text(made.outputs["certPem"])
    subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", file, file], check=True, capture_output=True)
    words = ["openssl", "x509", "-noout", "-text", "-in", str(file)]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    for found in ("CA:TRUE", "Certificate Sign", "Subject Key Identifier", "O = leasehold, CN = leasehold test"):
        assert found in text
    assert made.outputs["keyAlgorithm"] == kind["algorithm"]
    assert int(made.id) < 2**128
    assert not provider.diff(CALL, Result(made.id, made.outputs, news), news).changed


def test_a_certificate_is_made_anew_for_another_key_and_at_its_end_only() -> None:
    key = PrivateKey().create(CALL, {"algorithm": "ED25519"}).outputs["privateKeyPem"]
    provider = SelfSignedCert()
    news = {**AUTHORITY, "privateKeyPem": key}
    made = provider.create(CALL, news)
    olds = Result(made.id, made.outputs, news)
    assert provider.diff(CALL, olds, {**news, "privateKeyPem": UNKNOWN}).replaces == ("privateKeyPem",)
    early = {**news, "earlyRenewalHours": 1}
    assert (provider.diff(CALL, olds, early).changed, provider.diff(CALL, olds, early).replaces) == (
        ("earlyRenewalHours",),
        (),
    )
    assert provider.diff(CALL, olds, {**news, "earlyRenewalHours": 24}).replaces == ("readyForRenewal",)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"allowedUses": ["everything"]}, "everything"),
        ({"subject": None}, "needs a subject"),
        ({"privateKeyPemWo": "x"}, "privateKeyPemWo"),
        ({"privateKeyPem": "canary"}, "no private key"),
    ],
)
def test_a_certificate_that_cannot_be_made_is_refused_without_its_key(change: dict[str, object], word: str) -> None:
    with pytest.raises(ProviderError, match=word) as caught:
        SelfSignedCert().create(CALL, SelfSignedCert().check(CALL, {**AUTHORITY, "privateKeyPem": "x", **change}))
    assert "canary" not in str(caught.value)
