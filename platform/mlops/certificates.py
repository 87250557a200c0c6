"""Certificates: cert-manager, the stack's own authority in it, and a public one where the environment wants that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.helm.v3 import Release

import versions
from cluster.authority import Authority
from cluster.peers import API_PORTS
from config import Acme, Images, Platform
from mlops import acme, credentials
from mlops.base import Base
from mlops.flows import API, Flow
from mlops.pods import resources
from mlops.scrapes import Scrape
from mlops.spaces import Space
from versions import CERT_MANAGER_CHART, Chart

SPACE = "cert-manager"
ISSUER = "leasehold"
PUBLIC = "leasehold-public"
"""ClusterIssuers: the stack's own authority, and the public one."""
API_VERSION = "cert-manager.io/v1"
WEBHOOK_PORT = 10250
METRICS_PORT = 9402
# Renewed after two months: a month is left to notice that it does not work. Written as Go prints it.
LIFETIME, RENEWED_BEFORE = "2160h0m0s", "720h0m0s"
READY = {"pulumi.com/waitFor": "condition=Ready"}

FLOWS: tuple[Flow, ...] = (
    Flow(SPACE, API, API_PORTS, "certificates are objects of the cluster"),
    Flow(API, SPACE, (WEBHOOK_PORT,), "the API asks whether such an object is valid"),
    Flow("monitoring", SPACE, (METRICS_PORT,), "metrics"),
)
SCRAPES: tuple[Scrape, ...] = (
    Scrape(
        "cert-manager",
        SPACE,
        {"app.kubernetes.io/instance": "cert-manager", "app.kubernetes.io/component": "controller"},
        "http-metrics",
        of="pods",
    ),
)


def spaces(config: Platform) -> tuple[Space, ...]:  # noqa: ARG001  the same in every profile
    """Its namespace; while versions change, each pod is there twice."""
    return (Space(SPACE, cpu="500m", memory="1536Mi", pods=10),)


def values(config: Platform, images: Images) -> dict[str, Any]:
    """The chart's values."""
    parts = ("controller", "webhook", "cainjector", "startupapicheck", "acmesolver")
    image = {
        part: {"repository": found.name, "tag": images.tag(found)}
        for part, found in zip(parts, versions.CERT_MANAGER_IMAGES, strict=True)
    }
    chosen: dict[str, Any] = {
        # Certificates outlive the release: without their definition they would go, and their names with them.
        "crds": {"enabled": True, "keep": True},
        "global": {"leaderElection": {"namespace": SPACE}},
        "image": image["controller"],
        "resources": resources("10m", "64Mi", "256Mi"),
        "webhook": {"image": image["webhook"], "resources": resources("10m", "32Mi", "128Mi")},
        "cainjector": {"image": image["cainjector"], "resources": resources("10m", "64Mi", "256Mi")},
        # The hook that ends when the webhook answers: the first issuer comes right after the release.
        "startupapicheck": {"image": image["startupapicheck"], "resources": resources("10m", "32Mi", "128Mi")},
        "acmesolver": {"image": image["acmesolver"]},
    }
    return {**chosen, **acme.values()} if isinstance(config.ingress.tls, Acme) else chosen


def example_values(config: Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """The chart, and what it is given in an environment without digests."""
    return [(CERT_MANAGER_CHART, values(config, Images()))]


def own_issuer(secret: pulumi.Input[str]) -> dict[str, Any]:
    """The spec of the issuer that signs with a key of ours."""
    return {"ca": {"secretName": secret}}


def certificate(
    secret: str, issuer: pulumi.Input[str], names: Sequence[str], addresses: Sequence[str] = ()
) -> dict[str, Any]:
    """The spec of a server's certificate, with a new key each time."""
    spec: dict[str, Any] = {
        "secretName": secret,
        "duration": LIFETIME,
        "renewBefore": RENEWED_BEFORE,
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
        "dnsNames": list(names),
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": issuer},
    }
    return {**spec, "ipAddresses": list(addresses)} if addresses else spec


@dataclass(frozen=True)
class CertificatesArgs:
    """What certificates need."""

    base: Base
    authority: Authority


class Certificates(pulumi.ComponentResource):
    """cert-manager with its issuers."""

    release: Release
    issuer: pulumi.Output[str]
    """ClusterIssuer of the stack's own authority, known when it works: for names inside the cluster."""
    public: pulumi.Output[str]
    """ClusterIssuer for names that the world sees: a public authority, or the stack's own."""

    def __init__(self, name: str, args: CertificatesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; `opts` gives the provider."""
        super().__init__("leasehold:platform:Certificates", name, None, opts)
        self._base, base = args.base, args.base
        chosen = values(base.config, base.images)
        self.release = base.release("cert-manager", CERT_MANAGER_CHART, SPACE, chosen, self)
        pair = {"tls.crt": args.authority.certificate, "tls.key": args.authority.private_key}
        secret = credentials.secret(base, "leasehold-authority", SPACE, pair, self, type_="kubernetes.io/tls")
        self.issuer = self._issuer(ISSUER, own_issuer(secret))
        tls = base.config.ingress.tls
        self.public = self._issuer(PUBLIC, acme.issuer(tls)) if isinstance(tls, Acme) else self.issuer
        self.register_outputs({})

    def _issuer(self, name: str, spec: Mapping[str, Any]) -> pulumi.Output[str]:
        made = CustomResource(
            f"{name}-issuer",
            api_version=API_VERSION,
            kind="ClusterIssuer",
            metadata={"name": name, "annotations": READY},
            spec=dict(spec),
            # The chart brings the definition.
            opts=self._base.under(self, [self.release]),
        )
        known: pulumi.Output[str] = made.id.apply(lambda _: name)
        return known

    def certify(
        self,
        name: str,
        space: str,
        names: Sequence[str],
        parent: pulumi.Resource,
        addresses: Sequence[str] = (),
        *,
        issuer: pulumi.Output[str] | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> pulumi.Output[str]:
        """Have a server's certificate made and renewed; returns the name of its Secret, known when it is there.

        Without an `issuer` it is the stack's own authority, which certifies names and addresses inside the cluster.
        """
        secret = f"{name}-tls"
        made = CustomResource(
            f"{space}-{name}-certificate",
            api_version=API_VERSION,
            kind="Certificate",
            metadata={"name": name, "namespace": self._base.spaces[space], "annotations": READY},
            spec=certificate(secret, self.issuer if issuer is None else issuer, names, addresses),
            opts=self._base.under(parent, after),
        )
        known: pulumi.Output[str] = made.id.apply(lambda _: secret)
        return known
