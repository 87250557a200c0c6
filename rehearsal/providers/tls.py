"""Key pairs, made here and kept in the state: tls:index/privateKey:PrivateKey."""

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rehearsal.protocol import Call, Props, ProviderError, Result
from rehearsal.providers.compare import Prop, check_names
from rehearsal.providers.generated import Generated

Key = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "P224": ec.SECP224R1,
    "P256": ec.SECP256R1,
    "P384": ec.SECP384R1,
    "P521": ec.SECP521R1,
}
PROPS = {
    prop.name: prop
    for prop in (
        Prop("algorithm", force_new=True, required=True),
        Prop("ecdsaCurve", force_new=True, default="P224"),
        Prop("rsaBits", force_new=True, default=2048),
    )
}
PUBLIC_EXPONENT = 65537
SMALLEST_RSA = 1024
PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()


class PrivateKey(Generated):
    """A key pair."""

    props = PROPS

    def check(self, call: Call, news: Props) -> Props:
        """See the protocol."""
        label = f"PrivateKey {call.urn.rsplit('::', 1)[-1]}"
        check_names(label, PROPS, ["algorithm"], news)
        for name, allowed in (("algorithm", ("ED25519", "ECDSA", "RSA")), ("ecdsaCurve", tuple(CURVES))):
            if isinstance(news.get(name), str) and news[name] not in allowed:
                raise ProviderError(f"{label}: {name} {news[name]} is not known; use one of {', '.join(allowed)}")
        if isinstance(news.get("rsaBits"), int | float) and news["rsaBits"] < SMALLEST_RSA:
            raise ProviderError(f"{label}: rsaBits {news['rsaBits']} is too small; use {SMALLEST_RSA} or more")
        return dict(news)

    def create(self, call: Call, news: Props) -> Result:  # noqa: ARG002
        """See the protocol."""
        inputs = {name: prop.default if news.get(name) is None else news[name] for name, prop in PROPS.items()}
        outputs = published(generate(inputs["algorithm"], inputs["ecdsaCurve"], int(inputs["rsaBits"])))
        return Result(outputs.pop("id"), {**inputs, **outputs})


def generate(algorithm: str, curve: str, bits: int) -> Key:
    """A new key."""
    if algorithm == "RSA":
        return rsa.generate_private_key(PUBLIC_EXPONENT, bits)
    if algorithm == "ECDSA":
        return ec.generate_private_key(CURVES[curve]())
    return ed25519.Ed25519PrivateKey.generate()


def published(key: Key) -> Props:
    """Id and outputs, byte for byte in the published provider's formats (every text ends with a newline)."""
    public = key.public_key()
    traditional = not isinstance(key, ed25519.Ed25519PrivateKey)
    form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    outputs: Props = {
        "id": hashlib.sha1(public.public_bytes(serialization.Encoding.DER, spki), usedforsecurity=False).hexdigest(),
        "privateKeyPem": key.private_bytes(PEM, form, PLAIN).decode(),
        "privateKeyPemPkcs8": key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN).decode(),
        "publicKeyPem": public.public_bytes(PEM, spki).decode(),
    }
    return outputs | _openssh(key, public)


def _openssh(key: Key, public: Any) -> Props:
    """OpenSSH forms; it has none for the curve P-224."""
    names = ("privateKeyOpenssh", "publicKeyOpenssh", "publicKeyFingerprintMd5", "publicKeyFingerprintSha256")
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP224R1):
        return dict.fromkeys(names, "")
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    blob = base64.b64decode(line.split()[1])
    md5 = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    sha256 = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    private = key.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, PLAIN).decode()
    pairs = ":".join(md5[place : place + 2] for place in range(0, len(md5), 2))
    return dict(zip(names, (private, f"{line}\n", pairs, f"SHA256:{sha256}"), strict=True))
