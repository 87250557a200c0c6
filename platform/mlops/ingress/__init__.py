"""The one way in from outside: HTTPS by host name, to services that know who asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource

from cluster.peers import API_PORTS
from config import Acme, Images, Platform
from mlops import acme, credentials, gateway_api
from mlops.base import Base
from mlops.certificates import Certificates
from mlops.flows import API, WORLD, Flow
from mlops.ingress import guards, sso, traefik
from mlops.ingress.guards import Guard
from mlops.scrapes import Scrape
from mlops.spaces import Space
from versions import TRAEFIK_CHART, Chart

SPACE = gateway_api.SPACE
GATEWAY = "leasehold"
PROGRAMMED = {"pulumi.com/waitFor": "condition=Programmed"}

FLOWS: tuple[Flow, ...] = (
    Flow(WORLD, SPACE, (traefik.SECURE_PORT,), "HTTPS from outside, by port 443 of the nodes"),
    Flow(SPACE, API, API_PORTS, "routes and certificates are objects of the cluster"),
    Flow("monitoring", SPACE, (traefik.METRICS_PORT,), "metrics"),
)
SCRAPES: tuple[Scrape, ...] = (Scrape("traefik", SPACE, {"app.kubernetes.io/name": "traefik"}, "metrics", of="pods"),)


def spaces(config: Platform) -> tuple[Space, ...]:  # noqa: ARG001  the same in every profile
    """Its namespace. There are as many pods as nodes, so its quota is that of a large cluster."""
    reason = "Traefik's pods take port 443 of their node, which no other level allows"
    return (Space(SPACE, cpu="20", memory="100Gi", pods=400, level="privileged", why=reason),)


def example_values(config: Platform) -> list[tuple[Chart, dict[str, Any]]]:
    """The chart, and what it is given in an environment without digests."""
    return [(TRAEFIK_CHART, traefik.values(config, Images())), *sso.example_values(config)]


@dataclass(frozen=True)
class IngressArgs:
    """What the ingress needs."""

    base: Base
    certificates: Certificates


class Ingress(pulumi.ComponentResource):
    """Traefik, its gateways, and the routes that other parts ask for."""

    def __init__(self, name: str, args: IngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; `opts` gives the provider."""
        super().__init__("leasehold:platform:Ingress", name, None, opts)
        self._base, self._certificates = args.base, args.certificates
        base, config = args.base, args.base.config
        # Traefik's watches, and every object below, need the definitions.
        self._definitions = self._define() if config.ingress.gateway_api else []
        self._release = base.release(
            traefik.NAME,
            TRAEFIK_CHART,
            SPACE,
            traefik.values(config, base.images),
            self,
            after=self._definitions,
        )
        self._object("leasehold-class", "GatewayClass", {"name": gateway_api.CLASS}, gateway_api.gateway_class())
        self._entrances: dict[str, pulumi.Output[str]] = {}
        self._asked: list[pulumi.Resource] = []
        if isinstance(config.ingress.tls, Acme):
            self._asked = [self._gateway(acme.GATEWAY, gateway_api.plain(acme.PORT))]
        wanted = config.ingress.sso
        self._sso = sso.install(base, wanted, self) if wanted else None
        if self._sso is not None:
            self.route(sso.LABEL, SPACE, sso.NAME, sso.PORT, self)
        self.register_outputs({})

    @property
    def definitions(self) -> Sequence[pulumi.Resource]:
        """What an object of the Gateway API must come after; none where the cluster brings the definitions."""
        return tuple(self._definitions)

    def route(
        self,
        label: str,
        space: str,
        service: pulumi.Input[str],
        port: int,
        parent: pulumi.Resource,
        *,
        base: Base | None = None,
        guard: Guard | None = None,
        part: str = "",
        matches: Sequence[Mapping[str, Any]] = (gateway_api.EVERYTHING,),
        filters: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Lead the host name LABEL.DOMAIN to a service of a namespace; returns its URL.

        Without a guard, the service itself must refuse whoever it does not know. Several services may share a host:
        each gets a `part` of the requests, those of its `matches`. More `filters` come after the guard. Another `base`
        knows other namespaces.
        """
        base = base or self._base
        host = self._base.config.host(label)
        filters = [*([gateway_api.middleware(guard.middleware)] if guard else []), *filters]
        name = f"{label}-{part}" if part else label
        CustomResource(
            f"{space}-{name}-route",
            api_version=gateway_api.API_VERSION,
            kind="HTTPRoute",
            metadata={"name": name, "namespace": base.spaces[space]},
            spec=gateway_api.route(self.entrance(label), host, service, port, filters, matches=matches),
            opts=base.under(parent),
        )
        return f"https://{host}"

    def protect(self, name: str, space: str, parent: pulumi.Resource, *, base: Base | None = None) -> Guard:
        """A guard for services of a namespace without accounts: a generated password, or single sign-on."""
        base = base or self._base
        if self._sso is not None:
            return Guard(self._middleware(base, name, space, guards.ask(self._sso, sso.ANSWERS), parent))
        password = credentials.password(base, f"{space}-{name}-guard", parent)
        data: dict[str, pulumi.Input[str]] = {"username": guards.USER, "password": password}
        secret = credentials.secret(base, f"{name}-login", space, data, parent, type_=guards.BASIC)
        return Guard(self._middleware(base, name, space, guards.basic(secret), parent), f"{space}/{name}-login")

    def lasting(
        self, guard: Guard, name: str, space: str, parent: pulumi.Resource, *, base: Base | None = None
    ) -> Guard:
        """The same guard, after which a request meets another pod where one is lost. The server speaks HTTP/1.1."""
        base = base or self._base
        again = self._middleware(base, f"{name}-again", space, guards.again(), parent)
        return self._joined(guard, again, f"{name}-lasting", space, parent=parent, base=base)

    def lending(
        self, guard: Guard, name: str, space: str, address: pulumi.Input[str], *, parent: pulumi.Resource, base: Base
    ) -> Guard:
        """The same guard, after which a request has the `Authorization` that a URL inside the cluster answers with."""
        lent = self._middleware(base, f"{name}-lent", space, guards.ask(address, ["Authorization"]), parent)
        return self._joined(guard, lent, f"{name}-known", space, parent=parent, base=base)

    def _joined(
        self,
        guard: Guard,
        after: pulumi.Output[str],
        name: str,
        space: str,
        *,
        parent: pulumi.Resource,
        base: Base,
    ) -> Guard:
        """A guard, and a Middleware after it."""
        joined = guards.both(guard.middleware, after)
        return replace(guard, middleware=self._middleware(base, name, space, joined, parent))

    def ask(self, name: str, space: str, address: pulumi.Input[str], parent: pulumi.Resource) -> Guard:
        """A guard that asks a URL inside the cluster about each request, for services that know whom they let in."""
        return Guard(self._middleware(self._base, name, space, guards.ask(address), parent))

    def _middleware(
        self, base: Base, name: str, space: str, spec: Mapping[str, Any], parent: pulumi.Resource
    ) -> pulumi.Output[str]:
        made = CustomResource(
            f"{space}-{name}-guard",
            api_version=guards.API_VERSION,
            kind="Middleware",
            metadata={"name": name, "namespace": base.spaces[space]},
            spec=dict(spec),
            # Its chart brings the definition.
            opts=base.under(parent, [self._release]),
        )
        known: pulumi.Output[str] = made.id.apply(lambda _: name)
        return known

    def entrance(self, label: str) -> pulumi.Output[str]:
        """The Gateway of a host name's routes: one for all, or each its own with ACME, which has no wildcards."""
        alone = isinstance(self._base.config.ingress.tls, Acme)
        name = f"{GATEWAY}-{label}" if alone else GATEWAY
        if name not in self._entrances:
            self._entrances[name] = self._encrypted(name, self._base.config.host(label if alone else "*"))
        return self._entrances[name]

    def _encrypted(self, name: str, host: str) -> pulumi.Output[str]:
        public = self._certificates.public
        # The authority asks the host by the gateway that answers it.
        secret = self._certificates.certify(name, SPACE, [host], self, issuer=public, after=self._asked)
        made = self._gateway(name, gateway_api.encrypted(host, secret, traefik.SECURE_PORT))
        known: pulumi.Output[str] = made.id.apply(lambda _: name)
        return known

    def _gateway(self, name: str, listener: Mapping[str, Any]) -> CustomResource:
        metadata = {"name": name, "namespace": self._base.spaces[SPACE], "annotations": PROGRAMMED}
        # Traefik says that it serves one, which is what is waited for.
        return self._object(f"{name}-gateway", "Gateway", metadata, gateway_api.gateway(listener), self._release)

    def _define(self) -> list[pulumi.Resource]:
        return [
            CustomResource(
                definition["metadata"]["name"],
                api_version=definition["apiVersion"],
                kind=definition["kind"],
                metadata=definition["metadata"],
                spec=definition["spec"],
                opts=self._base.under(self),
            )
            for definition in gateway_api.definitions()
        ]

    def _object(
        self, name: str, kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any], *after: pulumi.Resource
    ) -> CustomResource:
        return CustomResource(
            name,
            api_version=gateway_api.API_VERSION,
            kind=kind,
            metadata=dict(metadata),
            spec=dict(spec),
            opts=self._base.under(self, [*self._definitions, *after]),
        )
