"""Keys and certificates: how strong, for how long, and whether they are looked at."""

import re
from collections.abc import Iterator

from .model import Resource, each
from .values import UNKNOWN, absent, at, number, walk

KEY = "tls:index/privateKey:PrivateKey"
SELF_SIGNED = "tls:index/selfSignedCert:SelfSignedCert"
ISSUED, SIGNED, AUTHORITY = 90 * 24.0, 398 * 24.0, 10 * 365 * 24.0
"""Hours that a certificate lives at the most: one that cert-manager renews, one that `up` renews, an authority."""
WEAKEST = 3072
"""Bits of an RSA key."""
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
UNCHECKED = re.compile(r"^(insecure_?skip_?verify|skip_?tls_?verify|insecure_?skip_?tls_?verify|tls_?insecure)$", re.I)


def hours(duration: object) -> float | None:
    """A duration of Kubernetes, such as 2160h0m0s, in hours."""
    found = DURATION.fullmatch(duration) if isinstance(duration, str) and duration else None
    if found is None:
        return None
    whole, minutes, seconds = (float(part or 0) for part in found.groups())
    return whole + minutes / 60 + seconds / 3600


@each("ask for 2160h or less")
def certificate_is_short(resource: Resource) -> Iterator[str]:
    """A certificate that cert-manager renews lives 90 days at the most."""
    asked = resource.at("spec", "duration")
    found = hours(asked)
    if resource.named("Certificate") and asked is not UNKNOWN and (found is None or found > ISSUED):
        yield "spec.duration is longer, or missing"


@each("set renewBefore to a third of the duration")
def certificate_is_renewed(resource: Resource) -> Iterator[str]:
    """A certificate is renewed well before it ends, with a new key."""
    if resource.named("Certificate"):
        if absent(resource.at("spec", "renewBefore")):
            yield "spec.renewBefore is missing"
        if resource.at("spec", "privateKey", "rotationPolicy") not in ("Always", UNKNOWN):
            yield "spec.privateKey.rotationPolicy is not Always"


@each("ask for fewer hours, and for earlyRenewalHours")
def self_signed_is_short(resource: Resource) -> Iterator[str]:
    """A certificate that the program signs itself lives 398 days at the most, an authority ten years."""
    life, longest = number(resource.at("validityPeriodHours")), SIGNED
    if resource.at("isCaCertificate") is True:
        longest = AUTHORITY
    if (
        resource.named(SELF_SIGNED)
        and life is not None
        and life > longest
        and resource.at("isCaCertificate") is not UNKNOWN
    ):
        yield f"{life:.0f} hours"


@each("use ED25519, ECDSA with P256, or RSA with 3072 bits")
def key_is_strong(resource: Resource) -> Iterator[str]:
    """A key that the program makes is not weak."""
    if not resource.named(KEY, "Certificate"):
        return
    path = () if resource.named(KEY) else ("spec", "privateKey")
    algorithm, asked = resource.at(*path, "algorithm"), resource.at(*path, "size" if path else "rsaBits")
    bits = number(asked)
    if algorithm == "RSA" and asked is not UNKNOWN and (bits or 2048) < WEAKEST:
        yield f"RSA with {bits or 2048:.0f} bits"
    if algorithm == "ECDSA" and (resource.at("ecdsaCurve") == "P224" or (path and (bits or 256) < 256)):
        yield "ECDSA with a curve that is too small"


@each("give the authority's certificate instead")
def certificates_are_checked(resource: Resource) -> Iterator[str]:
    """Nobody is told to accept any certificate."""
    for node in walk(resource.inputs):
        if UNCHECKED.match(node.key) and node.value in (True, "true"):
            yield f"{node.place} is true"


@each("name a BackendTLSPolicy's authority and host")
def backend_is_checked(resource: Resource) -> Iterator[str]:
    """The ingress knows whose certificate a service behind it must have."""
    if resource.named("BackendTLSPolicy"):
        wanted = resource.at("spec", "validation")
        if wanted is not UNKNOWN and any(absent(at(wanted, key)) for key in ("caCertificateRefs", "hostname")):
            yield "spec.validation is not complete"
