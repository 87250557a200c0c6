"""BuildKit without root: it makes an image of a checkout and pushes it, for whoever holds one certificate.

Owns the daemon, its cache and both sides' certificates. A build runs what a repository says, so it runs here and not
where the pipeline's passwords are; the client lends the registry's login for one push.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_tls as tls
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Service

import versions
from apps.builds import spec
from apps.builds.spec import CLIENT, HOST, NAME, SERVER
from apps.inventory import BUILDS as SPACE
from mlops import credentials
from mlops.argo.accounts import SPACE as WORKFLOWS
from mlops.base import Base

YEAR = 365 * 24
LIFETIME, RENEWED_BEFORE = 10 * YEAR, YEAR
"""Hours. Whoever never rotates has a year in which any `pulumi up` makes new ones."""


@dataclass(frozen=True)
class BuildsArgs:
    """What builds need."""

    base: Base
    authority: pulumi.Output[str]
    """Certificate of the authority that certifies the registry, PEM."""
    cache_gb: int


@dataclass(frozen=True)
class _Side:
    """One side of every connection: a certificate that its own key signs, since the other side knows it."""

    key: pulumi.Output[str]
    """PEM; a secret."""
    certificate: pulumi.Output[str]


class Builds(pulumi.ComponentResource):
    """A daemon that builds images."""

    client: pulumi.Output[str]
    """Secret in the namespace of workflows by which its pods may build, known when the daemon answers."""

    def __init__(self, name: str, args: BuildsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Start it; `opts` gives the provider."""
        super().__init__("leasehold:apps:Builds", name, None, opts)
        self._base, base = args.base, args.base
        server, client = self._side("server", "server_auth", HOST), self._side("client", "client_auth", "pipeline")
        served = self._pair(SERVER, SPACE, server, client)
        upstream = {image.registry for image in versions.IMAGES}
        text = spec.settings(args.cache_gb, sorted(upstream), base.images.mirror)
        image = base.images.reference(versions.BUILDKIT)
        known = pulumi.Output.all(server.certificate, client.certificate, args.authority)
        daemon = Deployment(
            NAME,
            metadata=self._metadata(NAME),
            spec=spec.daemon(
                spec.Daemon(
                    image,
                    self._config(f"{NAME}-{_mark(text)}", f"{NAME}.toml", text),
                    self._config("leasehold-authority", "ca.crt", args.authority),
                    served,
                    known.apply(lambda texts: _mark(*texts)),
                    args.cache_gb,
                )
            ),
            opts=base.under(self),
        )
        front = Service(
            f"{NAME}-service",
            # A Service is there before its pod is: who waits for the pod is below.
            metadata={**self._metadata(NAME), "annotations": {"pulumi.com/skipAwait": "true"}},
            spec=spec.service(),
            opts=base.under(self),
        )
        given = self._pair(CLIENT, WORKFLOWS, client, server)
        self.client = pulumi.Output.all(given, daemon.id, front.id).apply(lambda known: str(known[0]))
        self.register_outputs({})

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._base.spaces[SPACE]}

    def _config(self, name: str, key: str, text: pulumi.Input[str]) -> pulumi.Output[str]:
        made = ConfigMap(f"{SPACE}-{key}", metadata=self._metadata(name), data={key: text}, opts=self._base.under(self))
        known: pulumi.Output[str] = made.id.apply(lambda _: name)
        return known

    def _side(self, side: str, use: str, host: str) -> _Side:
        """A key and its certificate.

        Not by cert-manager: the daemon reads its certificate once, and would serve one that has ended. And an authority
        could be had to certify others.
        """
        under = pulumi.ResourceOptions(parent=self)
        # A key of another generation is another resource: nothing else would make a new one.
        generation = self._base.config.rotation
        key = tls.PrivateKey(f"{SPACE}-{side}-key-{generation}", algorithm="ECDSA", ecdsa_curve="P256", opts=under)
        made = tls.SelfSignedCert(
            f"{SPACE}-{side}-certificate",
            private_key_pem=key.private_key_pem,
            validity_period_hours=LIFETIME,
            early_renewal_hours=RENEWED_BEFORE,
            allowed_uses=["digital_signature", use],
            dns_names=[host],
            subject={"common_name": f"leasehold builds, {side}", "organization": "leasehold"},
            opts=under,
        )
        return _Side(pulumi.Output.secret(key.private_key_pem), made.cert_pem)

    def _pair(self, name: str, space: str, own: _Side, other: _Side) -> pulumi.Output[str]:
        """A Secret of one side: its key and certificate, and the only certificate that the other side may have."""
        data: dict[str, pulumi.Input[str]] = {
            "tls.crt": own.certificate,
            "tls.key": own.key,
            "ca.crt": other.certificate,
        }
        return credentials.secret(self._base, name, space, data, self, type_="kubernetes.io/tls")


def _mark(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:10]
