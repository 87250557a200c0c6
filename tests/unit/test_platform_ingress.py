"""The way in: what is open, which names lead where, and who must say who they are."""

import json
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pulumi
import pulumi_random as random
import pytest
import yaml

import config
import mlops.rules
from cluster.authority import Authority
from cluster.held import HeldReleases
from config import Charts, Images, Secrets
from mlops import acme, certificates, gateway_api, ingress, inventory, spaces
from mlops.base import Base
from mlops.certificates import Certificates, CertificatesArgs
from mlops.flows import WORLD
from mlops.ingress import Ingress, IngressArgs, guards, sso, traefik
from rehearsal.paths import PROJECT
from tests.environments import changed, complete, dev
from tests.unit import graph
from versions import CERT_MANAGER_CHART, OAUTH2_PROXY_CHART, TRAEFIK_CHART, Chart

RELEASE, SECRET = "kubernetes:helm.sh/v3:Release", "kubernetes:core/v1:Secret"
GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"
ROUTE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
CERTIFICATE, ISSUER = "kubernetes:cert-manager.io/v1:Certificate", "kubernetes:cert-manager.io/v1:ClusterIssuer"
MIDDLEWARE = "kubernetes:traefik.io/v1alpha1:Middleware"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
DOMAIN = "example.org"
ACME = {"tls": {"kind": "acme", "email": "ops@example.org"}}
SSO = {"sso": {"issuer": "https://id.example.org", "client_id": "leasehold", "email_domains": ["example.org"]}}
UPSTREAM = Path(os.environ.get("LEASEHOLD_CHARTS") or PROJECT.parent / "shared" / "charts")


class Parts(NamedTuple):
    """What a test's own routes are made of."""

    ingress: Ingress
    certificates: Certificates
    parent: pulumi.Resource


def platform(way_in: dict[str, Any] | None = None) -> config.Platform:
    return config.Platform.model_validate({"domain": DOMAIN, "ingress": way_in or {}})


def recorded(use: Callable[[Parts], Any], way_in: dict[str, Any] | None = None) -> graph.Graph:
    """The graph of the ingress alone, with what `use` asks of it."""

    def build() -> None:
        anchor = random.RandomId("anchor", byte_length=8)
        wanted = platform(way_in)
        names = {space.name: pulumi.Output.from_input(space.name) for space in inventory.spaces(wanted)}
        secrets = Secrets(sso_client_secret=pulumi.Output.secret("client-secret"))
        held = HeldReleases("held", "kubeconfig", list(names))
        base = Base("test", wanted, Charts(), Images(), names, anchor, held, secrets)
        made = Certificates("certificates", CertificatesArgs(base, Authority("authority", "test")))
        way = Ingress("ingress", IngressArgs(base, made))
        pulumi.export("used", use(Parts(way, made, anchor)))

    return graph.run(build)


def mlflow(parts: Parts) -> str:
    return parts.ingress.route("mlflow", "ingress", "mlflow", 80, parts.parent)


@cache
def usual() -> graph.Graph:
    """What most environments have, with one route."""
    return recorded(mlflow)


def ports(way_in: dict[str, Any] | None = None) -> set[int]:
    values = traefik.values(platform(way_in), Images())
    return {port["hostPort"] for port in values["ports"].values() if "hostPort" in port}


def names_of(dependencies: Iterable[str]) -> set[str]:
    return {urn.rpartition("::")[2] for urn in dependencies}


def test_nodes_listen_at_443_only_and_at_80_where_an_authority_asks_there() -> None:
    """Whatever else listened would be open at the bastion, whose security group lets 80 and 443 in."""
    assert ports() == {443}
    assert ports(ACME) == {80, 443}


def test_no_connection_to_a_pod_is_kept_and_none_takes_long() -> None:
    """A lost node's pods stay behind their Services for most of a minute: on a connection to one, requests hang."""
    assert traefik.values(platform(), Images())["additionalArguments"] == [
        "--serverstransport.forwardingtimeouts.dialtimeout=1s",
        "--serverstransport.maxidleconnsperhost=-1",
    ]


def test_nothing_is_said_to_strangers_and_no_secret_is_logged() -> None:
    """A dashboard names every service; queries and headers have signatures and codes."""
    values = traefik.values(platform(), Images())
    assert values["api"] == {"dashboard": False, "insecure": False}
    assert values["tlsOptions"]["default"] == {"minVersion": "VersionTLS12", "sniStrict": True}
    fields = values["accessLog"]["fields"]
    assert {fields["headers"]["defaultMode"], fields["queryParameters"]["defaultMode"]} == {"drop"}
    assert values["global"] == {"checkNewVersion": False, "sendAnonymousUsage": False}


def test_one_gateway_and_one_certificate_serve_every_host_of_the_domain() -> None:
    """A new service needs no new certificate, and none that names it in public logs."""
    found = recorded(lambda parts: [mlflow(parts), parts.ingress.route("s3", "ingress", "store", 9000, parts.parent)])
    [gateway] = found.of(GATEWAY).values()
    [listener] = gateway.inputs["spec"]["listeners"]
    assert (listener["protocol"], listener["port"], listener["hostname"]) == ("HTTPS", 8443, f"*.{DOMAIN}")
    [certificate] = found.of(CERTIFICATE).values()
    assert certificate.inputs["spec"]["dnsNames"] == [f"*.{DOMAIN}"]
    assert listener["tls"]["certificateRefs"][0]["name"] == certificate.inputs["spec"]["secretName"]
    assert {route.inputs["spec"]["hostnames"][0] for route in found.of(ROUTE).values()} == {
        f"mlflow.{DOMAIN}",
        f"s3.{DOMAIN}",
    }


def test_only_the_platforms_namespaces_take_host_names() -> None:
    """Elsewhere whoever may write a route could take over a service's name, and its users' passwords."""
    listener = gateway_api.encrypted("*.example.org", "tls", 8443)
    assert listener["allowedRoutes"]["namespaces"] == {
        "from": "Selector",
        "selector": {"matchLabels": gateway_api.ROUTES},
    }
    ours = inventory.spaces(platform())
    assert ours
    assert all(gateway_api.ROUTES.items() <= spaces.labels(space).items() for space in ours)


def test_browsers_are_told_to_ask_by_https_only_even_when_refused() -> None:
    """The header comes before the guard, which answers by itself."""
    found = recorded(
        lambda parts: parts.ingress.route(
            "x", "ingress", "x", 80, parts.parent, guard=parts.ingress.protect("x", "ingress", parts.parent)
        )
    )
    [rule] = found.one(ROUTE, "ingress-x-route").inputs["spec"]["rules"]
    first, second = rule["filters"]
    assert first["responseHeaderModifier"]["set"][0]["name"] == "Strict-Transport-Security"
    assert second["extensionRef"] == {"group": "traefik.io", "kind": "Middleware", "name": "x"}


def test_a_guard_wants_a_generated_password_that_does_not_reach_the_service() -> None:
    """A user interface without accounts of its own is open otherwise; its log would have the password."""
    logins = []

    def use(parts: Parts) -> pulumi.Output[str]:
        guard = parts.ingress.protect("prometheus", "ingress", parts.parent)
        logins.append(guard.login("https://prometheus.example.org"))
        return guard.middleware

    found = recorded(use)
    [middleware] = found.of(MIDDLEWARE).values()
    basic = middleware.inputs["spec"]["basicAuth"]
    assert basic["removeHeader"] is True
    secret = found.one(SECRET, f"ingress-{basic['secret']}")
    assert secret.inputs["type"] == guards.BASIC
    assert graph.is_secret(secret.inputs["stringData"])
    assert graph.unwrapped(secret.inputs["stringData"]) == {
        "username": "admin",
        "password": "password-ingress-prometheus-guard",
    }
    [login] = logins
    assert login is not None
    assert (login.secret, login.key) == ("ingress/prometheus-login", "password")


def test_with_single_sign_on_the_proxy_is_asked_before_every_request() -> None:
    """Then there is no password to hand around, and none in the cluster."""
    guard: list[guards.Guard] = []

    def use(parts: Parts) -> pulumi.Output[str]:
        guard.append(parts.ingress.protect("prometheus", "ingress", parts.parent))
        return guard[0].middleware

    found = recorded(use, SSO)
    assert guard[0].login("https://x") is None
    asked = found.one(MIDDLEWARE, "ingress-prometheus-guard").inputs["spec"]["forwardAuth"]
    assert asked["address"] == "http://oauth2-proxy.ingress.svc.cluster.local:80/"
    assert {"Cookie", "Authorization"} <= set(asked["authRequestHeaders"])
    assert asked["trustForwardHeader"] is False
    assert found.one(ROUTE, "ingress-login-route").inputs["spec"]["hostnames"] == [f"login.{DOMAIN}"]


def test_the_proxy_has_no_default_secret_and_lets_in_the_named_domains_only() -> None:
    """The chart's own defaults are placeholders, and everybody who can log in."""
    found = recorded(mlflow, SSO)
    release = found.one(RELEASE, sso.NAME).inputs
    assert release["values"]["config"] == {
        "existingSecret": sso.NAME,
        "emailDomains": ["example.org"],
        "upstreams": ["static://202"],
    }
    arguments = release["values"]["extraArgs"]
    assert arguments["redirect-url"] == f"https://login.{DOMAIN}/oauth2/callback"
    assert (arguments["cookie-secure"], arguments["code-challenge-method"]) == ("true", "S256")
    data = found.one(SECRET, f"ingress-{sso.NAME}").inputs["stringData"]
    assert graph.is_secret(data)
    assert graph.unwrapped(data) == {
        "client-id": "leasehold",
        "client-secret": "client-secret",
        "cookie-secret": "password-sso-cookie",
    }


def test_a_service_that_knows_its_users_is_asked_with_their_credentials() -> None:
    """Some of its pages are open by themselves; through the ingress none is."""
    address = "http://mlflow.mlflow.svc:5000/who"
    found = recorded(lambda parts: parts.ingress.ask("mlflow", "ingress", address, parts.parent).middleware)
    asked = found.one(MIDDLEWARE, "ingress-mlflow-guard").inputs["spec"]["forwardAuth"]
    assert asked["address"] == address
    assert asked["maxResponseBodySize"] == guards.ANSWER_BYTES
    assert "Authorization" in asked["authRequestHeaders"]


def test_a_public_authority_certifies_each_host_after_it_can_ask_it() -> None:
    """HTTP-01 knows no wildcards, and its question must find the gateway that answers it."""
    found = recorded(
        lambda parts: [mlflow(parts), parts.ingress.route("s3", "ingress", "store", 9000, parts.parent)], ACME
    )
    assert {tuple(c.inputs["spec"]["dnsNames"]) for c in found.of(CERTIFICATE).values()} == {
        (f"mlflow.{DOMAIN}",),
        (f"s3.{DOMAIN}",),
    }
    issuers = {c.inputs["spec"]["issuerRef"]["name"] for c in found.of(CERTIFICATE).values()}
    assert issuers == {certificates.PUBLIC}
    asked = f"{acme.GATEWAY}-gateway"
    assert all(asked in names_of(c.request.dependencies) for c in found.of(CERTIFICATE).values())
    plain = found.one(GATEWAY, asked).inputs["spec"]["listeners"]
    assert [(one["protocol"], one["allowedRoutes"]["namespaces"]["from"]) for one in plain] == [("HTTP", "Same")]
    solver = found.one(ISSUER, f"{certificates.PUBLIC}-issuer").inputs["spec"]["acme"]["solvers"][0]
    assert solver["http01"]["gatewayHTTPRoute"]["parentRefs"][0]["name"] == acme.GATEWAY
    assert set(found.of(GATEWAY)) == {asked, "leasehold-mlflow-gateway", "leasehold-s3-gateway"}
    values = found.one(RELEASE, "cert-manager").inputs["values"]
    assert values["config"]["gatewayAPI"] == {"enabled": True}


def test_port_80_is_in_the_flows_only_where_a_public_authority_asks() -> None:
    """The network policy says the same as the pods' ports."""
    asked = {flow for flow in inventory.flows(platform(ACME)) if flow.source == WORLD}
    usual = {flow for flow in inventory.flows(platform()) if flow.source == WORLD}
    assert [(flow.target, flow.ports) for flow in asked - usual] == [("ingress", (acme.PORT,))]
    assert {flow.ports for flow in usual if flow.target == "ingress"} == {(traefik.SECURE_PORT,)}


def test_a_route_waits_for_the_gateway_and_that_for_its_certificate_and_traefik() -> None:
    """A URL that is handed on answers."""
    found = usual()
    route, gateway = found.one(ROUTE, "ingress-mlflow-route"), found.one(GATEWAY, "leasehold-gateway")
    assert "leasehold-gateway" in names_of(route.request.dependencies)
    assert {"ingress-leasehold-certificate", "traefik"} <= names_of(gateway.request.dependencies)
    assert gateway.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Programmed"}
    certificate = found.one(CERTIFICATE, "ingress-leasehold-certificate")
    assert certificate.inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Ready"}
    assert "leasehold-issuer" in names_of(certificate.request.dependencies)


def test_traefik_and_cert_manager_do_not_wait_for_each_other() -> None:
    """They use each other's objects, not each other."""
    found = usual()
    assert "cert-manager" not in names_of(found.one(RELEASE, "traefik").request.dependencies)
    assert "traefik" not in names_of(found.one(RELEASE, "cert-manager").request.dependencies)


def test_everything_goes_with_the_cluster() -> None:
    """Destroy and outages never ask an API that is gone."""
    found = recorded(mlflow, SSO)
    objects = [r for r in found.resources.values() if r.type.startswith("kubernetes:")]
    assert len(objects) > 15
    assert all(item.request.deletedWith.endswith("::anchor") for item in objects)


def test_definitions_come_before_what_watches_them_and_can_be_left_to_the_cluster() -> None:
    """Traefik gives up its watch of kinds that are not there; a second set of definitions is refused by the API."""
    found = usual()
    definitions = set(found.of(DEFINITION))
    assert "httproutes.gateway.networking.k8s.io" in definitions
    assert definitions <= names_of(found.one(RELEASE, "traefik").request.dependencies)
    assert recorded(mlflow, {"gateway_api": False}).of(DEFINITION) == {}


def test_a_k3s_that_brings_the_definitions_is_not_given_them_again() -> None:
    """The second creation of an object is an error of the API, in the middle of a deployment."""
    tree = changed(dev(), {"cluster.version": "v1.37.0+k3s1"})
    environment, problems = config.validate(complete(tree), [mlops.rules.check])
    assert environment is None
    assert [problem.key for problem in problems] == ["platform.ingress.gateway_api"]
    off = changed(tree, {"platform.ingress.gateway_api": False})
    assert config.validate(complete(off), [mlops.rules.check])[1] == []


def bare(value: Any, *, named: bool = False) -> Any:
    """A definition without descriptions; a field that is called so stays."""
    if isinstance(value, list):
        return [bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: bare(item, named=key == "properties" and not named)
        for key, item in value.items()
        if named or key != "description" or not isinstance(item, str)
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Path(gateway_api.__file__).parent / "definitions", UPSTREAM / "gateway-api" / "v1.6.1"),
        (PROJECT / "rehearsal/charts/traefik/crds", UPSTREAM / "traefik" / TRAEFIK_CHART.version),
        (PROJECT / "rehearsal/charts/cert-manager/definitions", UPSTREAM / "cert-manager" / CERT_MANAGER_CHART.version),
    ],
    ids=["gateway-api", "traefik", "cert-manager"],
)
def test_definitions_are_upstreams_without_descriptions(ours: Path, theirs: Path) -> None:
    """A hand-made one would accept what the real one refuses."""
    if not theirs.exists():
        pytest.skip("no facts about published charts: name their folder in LEASEHOLD_CHARTS")
    loader = yaml.CSafeLoader
    upstream = {
        file["spec"]["names"]["plural"]: bare({key: item for key, item in file.items() if key != "status"})
        for file in (yaml.load(path.read_text(), loader) for path in (theirs / "crds").glob("*.yaml"))  # noqa: S506
    }
    assert {file.stem: json.loads(file.read_text()) for file in ours.glob("*.json")} == upstream


def keys(values: Any, default: Any, path: str = "") -> list[str]:
    """Keys of the values that the defaults do not have; what is empty there takes anything."""
    if not isinstance(values, dict) or not default:
        return []
    found = [f"{path}{key}" for key in values if key not in default]
    return found + [
        deep for key in values if key in default for deep in keys(values[key], default[key], f"{path}{key}.")
    ]


@pytest.mark.parametrize("chart", [CERT_MANAGER_CHART, TRAEFIK_CHART, OAUTH2_PROXY_CHART], ids=lambda chart: chart.name)
def test_the_stand_in_has_the_charts_name_and_says_what_it_is(chart: Chart) -> None:
    """A rehearsal that ran something else under a published name would prove nothing."""
    folder = PROJECT / "rehearsal" / "charts" / chart.name
    about = yaml.safe_load((folder / "Chart.yaml").read_text())
    assert (about["name"], about["version"], about["appVersion"]) == (chart.name, chart.version, chart.app)
    assert "Stand-in" in about["description"]
    assert json.loads((folder / "values.schema.json").read_text())["additionalProperties"] is False


@pytest.mark.parametrize("way_in", [{}, ACME, SSO], ids=["own", "acme", "sso"])
def test_the_stand_ins_know_every_value_that_is_set(way_in: dict[str, Any]) -> None:
    """They refuse what they do not honour; this says it before a deployment does."""
    wanted = platform(way_in)
    allowed = {"ports.websecure.hostPort", "ports.web.hostPort"}
    for chart, values in (*certificates.example_values(wanted), *ingress.example_values(wanted)):
        default = yaml.safe_load((PROJECT / "rehearsal" / "charts" / chart.name / "values.yaml").read_text())
        assert set(keys(values, default)) <= allowed, chart.name
