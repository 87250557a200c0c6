"""Certificates that their own key signs, made here and kept in the state: tls:index/selfSignedCert:SelfSignedCert."""

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rehearsal.protocol import Call, Diff, Props, ProviderError, Result, Unknown
from rehearsal.providers.compare import Prop, check_names
from rehearsal.providers.generated import Generated

SERIAL_BITS = 128
# What the published provider takes, and the extension's member that it means.
USAGES = {
    "digital_signature": "digital_signature",
    "content_commitment": "content_commitment",
    "key_encipherment": "key_encipherment",
    "data_encipherment": "data_encipherment",
    "key_agreement": "key_agreement",
    "cert_signing": "key_cert_sign",
    "crl_signing": "crl_sign",
}
PURPOSES = {
    "any_extended": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email_protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp_signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}
# In the order in which Go writes them.
NAMES = {
    "country": NameOID.COUNTRY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizationalUnit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "locality": NameOID.LOCALITY_NAME,
    "province": NameOID.STATE_OR_PROVINCE_NAME,
    "streetAddresses": NameOID.STREET_ADDRESS,
    "postalCode": NameOID.POSTAL_CODE,
    "commonName": NameOID.COMMON_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
PROPS = {
    prop.name: prop
    for prop in (
        Prop("privateKeyPem", force_new=True, required=True),
        Prop("allowedUses", force_new=True, required=True),
        Prop("validityPeriodHours", force_new=True, required=True),
        Prop("earlyRenewalHours", default=0),
        Prop("isCaCertificate", force_new=True, default=False),
        Prop("maxPathLength", force_new=True),
        Prop("setSubjectKeyId", force_new=True, default=False),
        Prop("setAuthorityKeyId", force_new=True, default=False),
        *(Prop(name, force_new=True) for name in ("subject", "dnsNames", "ipAddresses", "uris")),
    )
}
REQUIRED = [prop.name for prop in PROPS.values() if prop.required]
RENEWAL = "readyForRenewal"


class SelfSignedCert(Generated):
    """A certificate; near its end it is replaced by a new one."""

    props = PROPS

    def check(self, call: Call, news: Props) -> Props:
        """See the protocol."""
        label = f"SelfSignedCert {call.urn.rsplit('::', 1)[-1]}"
        check_names(label, PROPS, REQUIRED, news)
        for name, allowed in (("allowedUses", {*USAGES, *PURPOSES}), ("subject", set(NAMES))):
            strange = _texts(news.get(name)) - allowed
            if strange:
                raise ProviderError(
                    f"{label}: {name} {', '.join(sorted(strange))} is not supported by the rehearsal; "
                    f"use {', '.join(sorted(allowed))}"
                )
        if news.get("isCaCertificate") is True and not news.get("subject"):
            raise ProviderError(f"{label}: an authority's certificate needs a subject; give commonName")
        return {name: value for name, value in news.items() if value is not None}

    def create(self, call: Call, news: Props) -> Result:
        """The id is the serial number."""
        inputs = {name: prop.default for name, prop in PROPS.items() if prop.default is not None} | news
        key = _key(call, inputs["privateKeyPem"])
        start = datetime.now(UTC)
        end = start + timedelta(hours=int(inputs["validityPeriodHours"]))
        made = certificate(key, inputs, start, end)
        outputs = {
            "keyAlgorithm": _algorithm(key),
            "certPem": made.public_bytes(serialization.Encoding.PEM).decode(),
            "validityStartTime": _time(start),
            "validityEndTime": _time(end),
            RENEWAL: False,
        }
        return Result(str(made.serial_number), {**inputs, **outputs})

    def diff(self, call: Call, olds: Result, news: Props) -> Diff:
        """Every change but that of the renewal's hours makes another one, and so does its end."""
        found = super().diff(call, olds, news)
        if not _ended(olds.outputs, news):
            return found
        return Diff((*found.changed, RENEWAL), (*found.replaces, RENEWAL), found.delete_before_replace)

    def update(self, call: Call, olds: Result, news: Props) -> Result:  # noqa: ARG002  the protocol's signature
        """Only the renewal's hours change in place."""
        return Result(olds.id, {**olds.outputs, **news})


def certificate(key: Any, inputs: Props, start: datetime, end: datetime) -> x509.Certificate:
    """A certificate signed by its own key, with the extensions that Go writes."""
    name = x509.Name(list(_names(inputs.get("subject") or {})))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() >> (159 - SERIAL_BITS))
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension, critical in _extensions(key, inputs):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _extensions(key: Any, inputs: Props) -> Iterator[tuple[x509.ExtensionType, bool]]:
    uses, authority = set(inputs["allowedUses"]), bool(inputs["isCaCertificate"])
    if uses & set(USAGES):
        absent = {"encipher_only": False, "decipher_only": False}
        yield x509.KeyUsage(**{member: use in uses for use, member in USAGES.items()}, **absent), True
    if purposes := [PURPOSES[use] for use in inputs["allowedUses"] if use in PURPOSES]:
        yield x509.ExtendedKeyUsage(purposes), False
    length = inputs.get("maxPathLength") if authority else None
    # As in Go, where 0 is the same as not set.
    yield x509.BasicConstraints(authority, int(length) if length else None), True
    if authority or inputs["setSubjectKeyId"]:
        yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    if inputs["setAuthorityKeyId"]:
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False
    others: list[x509.GeneralName] = [x509.DNSName(item) for item in inputs.get("dnsNames") or []]
    others += [x509.IPAddress(ipaddress.ip_address(item)) for item in inputs.get("ipAddresses") or []]
    others += [x509.UniformResourceIdentifier(item) for item in inputs.get("uris") or []]
    if others:
        yield x509.SubjectAlternativeName(others), False


def _names(subject: Props) -> Iterator[x509.NameAttribute[str]]:
    for key, oid in NAMES.items():
        given = subject.get(key)
        for value in given if isinstance(given, list) else [given]:
            if value:
                yield x509.NameAttribute(oid, value)


def _texts(value: Any) -> set[str]:
    """Members of a list, or keys of a map, that are known."""
    return {item for item in value if isinstance(item, str)} if isinstance(value, list | dict) else set()


def _key(call: Call, pem: str) -> Any:
    try:
        return serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        label = f"SelfSignedCert {call.urn.rsplit('::', 1)[-1]}"
        raise ProviderError(f"{label}: privateKeyPem is no private key in PEM; give one") from None


def _algorithm(key: Any) -> str:
    kinds = {rsa.RSAPrivateKey: "RSA", ec.EllipticCurvePrivateKey: "ECDSA", ed25519.Ed25519PrivateKey: "ED25519"}
    return next(name for kind, name in kinds.items() if isinstance(key, kind))


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _ended(outputs: Props, news: Props) -> bool:
    early = news.get("earlyRenewalHours") or 0
    if isinstance(early, Unknown):
        return False
    return datetime.fromisoformat(outputs["validityEndTime"]) - timedelta(hours=early) <= datetime.now(UTC)
