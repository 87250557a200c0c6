"""Certificates: who signs them, how long they last, and what cert-manager runs."""

from typing import Any

import pulumi

import config
import versions
from cluster.authority import Authority
from cluster.held import HeldReleases
from config import Charts, Images
from mlops import certificates
from mlops.base import Base
from mlops.certificates import Certificates, CertificatesArgs
from tests.unit import graph

SECRET, ISSUER = "kubernetes:core/v1:Secret", "kubernetes:cert-manager.io/v1:ClusterIssuer"
PLATFORM = config.Platform.model_validate({"domain": "example.org"})


def recorded() -> graph.Graph:
    """The graph of the certificates alone."""

    def build() -> None:
        names = {space.name: pulumi.Output.from_input(space.name) for space in certificates.spaces(PLATFORM)}
        held = HeldReleases("held", "kubeconfig", list(names))
        base = Base("test", PLATFORM, Charts(), Images(), names, None, held)
        Certificates("certificates", CertificatesArgs(base, Authority("authority", "test")))

    return graph.run(build)


def images(values: Any) -> set[str]:
    """Every image in a chart's values."""
    if not isinstance(values, dict):
        return set()
    if "repository" in values:
        return {f"{values['repository']}:{values['tag']}"}
    return {image for item in values.values() for image in images(item)}


def test_the_stacks_authority_signs_and_its_key_is_a_secret() -> None:
    """Whoever has the ca_certificate output can check every service; whoever has the key could be any of them."""
    found = recorded()
    secret = found.one(SECRET, "cert-manager-leasehold-authority").inputs
    assert secret["type"] == "kubernetes.io/tls"
    assert graph.is_secret(secret["stringData"])
    assert graph.unwrapped(secret["stringData"])["tls.key"] == "private-authority-key"
    issuer = found.one(ISSUER, "leasehold-issuer").inputs
    assert issuer["spec"] == {"ca": {"secretName": secret["metadata"]["name"]}}
    assert issuer["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Ready"}


def test_a_certificate_is_renewed_a_month_before_its_end_with_a_new_key() -> None:
    """A month is left to notice that renewing does not work; a stolen key is of no use after it."""
    spec = certificates.certificate("registry-tls", "leasehold", ["registry.registry.svc"], ["127.0.0.1"])
    assert (spec["duration"], spec["renewBefore"]) == ("2160h0m0s", "720h0m0s")
    assert spec["privateKey"]["rotationPolicy"] == "Always"
    assert spec["ipAddresses"] == ["127.0.0.1"]
    assert "ipAddresses" not in certificates.certificate("x-tls", "leasehold", ["x"])


def test_every_image_is_from_the_catalogue_and_takes_a_digest() -> None:
    """A chart's own default would be pulled past the mirror's digests."""
    known = {image.tagged for image in versions.CERT_MANAGER_IMAGES}
    assert images(certificates.values(PLATFORM, Images())) == known
    digest = f"sha256:{'0' * 64}"
    pinned = images(certificates.values(PLATFORM, Images(digests=dict.fromkeys(known, digest))))
    assert pinned == {f"{name}@{digest}" for name in known}


def test_the_definitions_stay_when_the_release_goes() -> None:
    """Without them every certificate would go, and with those the names of every service."""
    values = certificates.values(PLATFORM, Images())
    assert values["crds"] == {"enabled": True, "keep": True}


def test_cert_manager_needs_no_rights_in_kube_system() -> None:
    """Its replicas agree who works by an object of their own namespace."""
    assert certificates.values(PLATFORM, Images())["global"]["leaderElection"] == {"namespace": certificates.SPACE}
