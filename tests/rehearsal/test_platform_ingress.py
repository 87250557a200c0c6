"""The way in, from outside: one port, certificates of the stack's authority, and nobody without a name."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
from cryptography import x509

from tests.environments import dev
from tests.rehearsal.cluster import until
from tests.rehearsal.services import Platform

DOMAIN = dev()["platform"]["domain"]
SCRATCH = "ingress-test"
GUARDED = ("prometheus", "alertmanager")
"""Services without accounts of their own."""


def served(platform: Platform, host: str, *, context: ssl.SSLContext | None = None) -> x509.Certificate:
    """The certificate that a client is shown which asks for a host."""
    context = context or ssl.create_default_context(cafile=str(platform.authority))
    with (
        socket.create_connection((platform.address, 443), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def careless() -> ssl.SSLContext:
    """A client that believes everybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture(scope="module")
def space(platform: Platform) -> Iterator[str]:
    """A namespace that is not the platform's."""
    platform.kubectl.run("create", "namespace", SCRATCH)
    yield SCRATCH
    platform.kubectl.run("delete", "namespace", SCRATCH, "--wait=false")


def manifest(kind: str, version: str, name: str, spec: dict[str, Any]) -> str:
    """An object of the scratch namespace."""
    metadata = {"name": name, "namespace": SCRATCH}
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})


def test_every_service_shows_a_certificate_of_the_stacks_authority(platform: Platform) -> None:
    """The output ca_certificate is all that a client must trust."""
    for url in platform.outputs["endpoints"].values():
        host = str(url).removeprefix("https://").partition("/")[0]
        if host.endswith(f".{DOMAIN}"):
            names = served(platform, host).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == [f"*.{DOMAIN}"]
    stranger = platform.session()
    stranger.verify = True
    with pytest.raises(requests.exceptions.SSLError):
        stranger.get(f"https://mlflow.{DOMAIN}/", timeout=10)


def test_a_name_that_nobody_took_is_not_found(platform: Platform) -> None:
    """And nothing says which names there are."""
    answer = platform.session().get(f"https://nobody.{DOMAIN}/", timeout=10)
    assert (answer.status_code, "traefik" in answer.text.lower()) == (404, False)


def test_who_names_no_host_of_ours_gets_no_certificate(platform: Platform) -> None:
    """A scan of addresses learns nothing of the stack, and no default certificate is ever believed."""
    with pytest.raises(ssl.SSLError):
        served(platform, "elsewhere.example.com", context=careless())


def test_old_versions_of_tls_are_refused(platform: Platform) -> None:
    """Those before 1.2 are broken."""
    old = careless()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        served(platform, f"mlflow.{DOMAIN}", context=old)


def test_port_80_and_the_pods_other_ports_do_not_answer(platform: Platform) -> None:
    """Plain HTTP would carry a password before anybody could say that it must not."""
    for port in (80, 8443, 9100):
        with pytest.raises(OSError, match=r"timed out|refused|unreachable"):
            socket.create_connection((platform.address, port), 2).close()


def test_what_has_no_accounts_wants_the_generated_password(platform: Platform) -> None:
    """Whoever reaches Prometheus reads everything that runs here."""
    for name in GUARDED:
        user, password = platform.password(name)
        # Not the start page: Prometheus' pages are in its releases only, not in its module.
        url = platform.outputs["health"][name]
        session = platform.session()
        refused = [session.get(url, timeout=10, auth=auth) for auth in (None, (user, "admin"), ("", password))]
        assert [answer.status_code for answer in refused] == [401] * 3, name
        assert all("max-age" in answer.headers["Strict-Transport-Security"] for answer in refused)
        assert session.get(url, timeout=10, auth=(user, password)).status_code < 400


def test_nobody_else_takes_a_host_name(platform: Platform, space: str) -> None:
    """A route of somebody's own namespace could collect the passwords of a service's users."""
    spec = {
        "parentRefs": [{"name": "leasehold", "namespace": "ingress", "sectionName": "https"}],
        "hostnames": [f"taken.{DOMAIN}"],
        "rules": [{"backendRefs": [{"name": "anything", "port": 80}]}],
    }
    platform.kubectl.apply(manifest("HTTPRoute", "gateway.networking.k8s.io/v1", "taken", spec))

    def refused() -> bool:
        status = platform.kubectl.get("httproute", "taken", "-n", space).get("status", {})
        conditions = [c for parent in status.get("parents", []) for c in parent["conditions"]]
        return any(c["type"] == "Accepted" and c["status"] == "False" for c in conditions)

    until("Traefik to refuse the route", refused, 20)
    assert platform.session().get(f"https://taken.{DOMAIN}/", timeout=10).status_code == 404


def test_a_lost_certificate_is_made_again_and_served(platform: Platform) -> None:
    """Traefik takes the new one without a restart."""
    host = f"mlflow.{DOMAIN}"
    before = served(platform, host).serial_number
    platform.kubectl.run("delete", "secret", "leasehold-tls", "-n", "ingress")

    def another() -> bool:
        # For some seconds there is none.
        with suppress(OSError):
            return served(platform, host).serial_number != before
        return False

    until("another certificate to be served", another, 60)


def test_a_certificate_is_renewed_before_its_end_with_a_new_key(platform: Platform, space: str) -> None:
    """Nobody remembers it after two months."""
    spec = {
        "secretName": "short",
        "duration": "1h0m0s",
        # Due a quarter of a minute after it was issued.
        "renewBefore": "59m45s",
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "dnsNames": ["short.example.org"],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "leasehold"},
    }
    platform.kubectl.apply(manifest("Certificate", "cert-manager.io/v1", "short", spec))

    def data() -> dict[str, str]:
        found: dict[str, str] = platform.kubectl.get("secret", "short", "-n", space)["data"]
        return found

    def renewed() -> dict[str, str]:
        found = data()
        assert found["tls.crt"] != first["tls.crt"]
        return found

    first = until("the certificate to be issued", data, 30)
    second = until("it to be renewed", renewed, 90)
    assert second["tls.key"] != first["tls.key"]
    assert second["ca.crt"] == first["ca.crt"]
