"""The registry of container images: builds push to it, nodes and people pull from it.

Owns its pods, accounts and certificate, and the collection of what was deleted. Images are in the object store, where
there is one: its backup has them too. Nodes are told of it before it exists (cluster/registries.py): they reach it at
a port of their own, so that no name outside the cluster has to lead there.
"""

from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

import pulumi
import pulumi_random as random
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps.v1 import StatefulSet
from pulumi_kubernetes.batch.v1 import CronJob
from pulumi_kubernetes.core.v1 import ConfigMap, PersistentVolumeClaim, Service, ServiceAccount
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget
from pulumi_kubernetes.rbac.v1 import Role, RoleBinding

import config
import versions
from cluster.peers import API_PORTS
from mlops import credentials, gateway_api, quantities, services, texts
from mlops.base import Base
from mlops.certificates import Certificates
from mlops.flows import API, NODES, Flow
from mlops.ingress import Ingress
from mlops.registry import spec
from mlops.registry.spec import METRICS_PORT, NAME, PORT, PULL, PUSH, SERVICE_PORT
from mlops.scrapes import Scrape
from mlops.services import S3, Keys, Login
from mlops.spaces import Space

CLAIM = "registry-data"
AUTHORITY = "leasehold-authority"
"""ConfigMap with the certificate that the ingress trusts."""
FLOWS: tuple[Flow, ...] = (
    Flow("ingress", NAME, (PORT,), "people and builds outside push and pull"),
    Flow(NODES, NAME, (PORT,), "the nodes' runtime pulls, by a port of the node"),
    Flow("workflows", NAME, (PORT,), "builds push"),
    Flow("monitoring", NAME, (METRICS_PORT,), "metrics"),
    Flow(NAME, "object-store", (9000,), "images are objects"),
    Flow(NAME, API, API_PORTS, "the Job that restarts its pods"),
)
SCRAPES: tuple[Scrape, ...] = (Scrape(NAME, NAME, {"app.kubernetes.io/name": NAME}, "metrics", of="pods"),)


def readers(config: config.Platform) -> int:
    """Pods that are pulled from: with a volume of one node, another one would help nobody."""
    return spec.READERS if config.object_store.enabled and config.profile == "default" else 1


def spaces(config: config.Platform) -> tuple[Space, ...]:
    """Its namespace."""
    size = 0 if config.object_store.enabled else config.registry.storage_gb
    return (Space(NAME, cpu="500m", memory="1536Mi", pods=8, storage=f"{size}Gi"),)


def _when(made: pulumi.CustomResource, name: str) -> pulumi.Output[str]:
    """A name that is known when something is there."""
    return made.id.apply(lambda _: name)


def script() -> str:
    """What the restarting Job runs."""
    return (resources.files("mlops.registry") / "scripts" / "restart.py").read_text()


@dataclass(frozen=True)
class RegistryArgs:
    """What the registry needs."""

    base: Base
    certificates: Certificates
    authority: pulumi.Output[str]
    """Certificate of the authority that certifies it, PEM."""
    ingress: Ingress
    s3: S3 | None
    """None: images are in a volume."""
    keys: Keys | None


class Registry(pulumi.ComponentResource):
    """A registry whose pulling accounts cannot push."""

    host: str
    """Begins the name of every image."""
    service: services.Service

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install it; `opts` gives the provider."""
        super().__init__("leasehold:platform:Registry", name, None, opts)
        self._base, self._s3 = args.base, args.s3
        self.host = args.base.config.host(NAME)
        self._passwords = {user: self._password(user) for user in (PUSH, PULL)}
        self._guards(args)
        claim = None if args.s3 else self._claim()
        count = readers(args.base.config)
        mounted = self._settings()
        for kind, replicas in ((PUSH, 1), (PULL, count)):
            self._server(kind, replicas, mounted, claim)
        self._services()
        self._restarts(spec.pods(count))
        self.service = self._routes(args)
        self.register_outputs({})

    def pull_secret(self, base: Base, space: str) -> pulumi.Output[str]:
        """A Secret of a namespace of `base` with which its pods pull images, and can do nothing else."""
        return self._login(PULL, base, space)

    def push_secret(self, base: Base, space: str) -> pulumi.Output[str]:
        """A Secret of a namespace of `base` with which its builds push."""
        return self._login(PUSH, base, space)

    def _login(self, user: str, base: Base, space: str) -> pulumi.Output[str]:
        hosts = [host for host in spec.hosts(self.host) if not host.endswith(".local")]
        text = self._passwords[user].result.apply(lambda password: spec.docker_config(hosts, user, password))
        data = {".dockerconfigjson": text}
        name, kind = f"registry-{user}", "kubernetes.io/dockerconfigjson"
        return credentials.secret(base, name, space, data, self, type_=kind)

    def _metadata(self, name: str) -> dict[str, Any]:
        return {"name": name, "namespace": self._base.spaces[NAME]}

    def _password(self, user: str) -> random.RandomPassword:
        """Its hash is made once with it: a hash has a random part, and would differ at every run."""
        return random.RandomPassword(
            f"{NAME}-{user}",
            length=credentials.LENGTH,
            special=False,
            keepers={"generation": str(self._base.config.rotation)},
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _guards(self, args: RegistryArgs) -> None:
        """What its pods mount before they can start: accounts, keys, and the certificate."""
        base = self._base
        hashes = pulumi.Output.all(**{user: made.bcrypt_hash for user, made in self._passwords.items()})
        files = {kind: hashes.apply(partial(spec.accounts, kind)) for kind in (PUSH, PULL)}
        credentials.secret(base, f"{NAME}-htpasswd", NAME, files, self)
        for user, made in self._passwords.items():
            known: dict[str, pulumi.Input[str]] = {"username": user, "password": made.result}
            credentials.secret(base, f"{NAME}-{user}-login", NAME, known, self, type_="kubernetes.io/basic-auth")
        signing = random.RandomId(f"{NAME}-signing", byte_length=32, opts=pulumi.ResourceOptions(parent=self))
        server: dict[str, pulumi.Input[str]] = {"REGISTRY_HTTP_SECRET": signing.hex}
        if args.keys is not None:
            server["REGISTRY_STORAGE_S3_ACCESSKEY"] = args.keys.access_key
            server["REGISTRY_STORAGE_S3_SECRETKEY"] = args.keys.secret_key
        credentials.secret(base, f"{NAME}-server", NAME, server, self)
        self._certificate = args.certificates.certify(NAME, NAME, spec.hosts(self.host), self, ["127.0.0.1"])

    def _claim(self) -> pulumi.Output[str]:
        base = self._base
        size = {"requests": {"storage": quantities.gigabytes(base.config.registry.storage_gb)}}
        wanted: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": size}
        if base.config.storage_class:
            wanted["storageClassName"] = base.config.storage_class
        made = PersistentVolumeClaim(
            CLAIM,
            # Some classes make a volume only when a pod wants it: nobody waits for it here.
            metadata={**self._metadata(CLAIM), "annotations": {"pulumi.com/skipAwait": "true"}},
            spec=wanted,
            opts=pulumi.ResourceOptions.merge(base.under(self), pulumi.ResourceOptions(protect=True)),
        )
        return _when(made, CLAIM)

    def _settings(self) -> pulumi.Output[str]:
        """The ConfigMap of both kinds' settings; other settings are another one, so that the pods start again."""
        settings = {kind: spec.settings(kind, self._s3) for kind in (PUSH, PULL)}
        return texts.kept(self._base, NAME, f"{NAME}-settings", settings, self)

    def _server(self, kind: str, replicas: int, mounted: pulumi.Output[str], claim: pulumi.Output[str] | None) -> None:
        image = self._base.images.reference(versions.REGISTRY)
        servers = spec.Servers(kind, image, replicas, str(self._base.config.rotation))
        # The pods' namespace is known when their Secrets are there: the certificate is the last of them.
        namespace = pulumi.Output.all(self._base.spaces[NAME], self._certificate).apply(lambda known: str(known[0]))
        StatefulSet(
            spec.workload(kind),
            metadata={"name": spec.workload(kind), "namespace": namespace, "labels": spec.labels(kind)},
            spec=spec.server(servers, mounted, claim),
            opts=self._base.under(self),
        )
        if replicas > 1:
            name = f"{spec.workload(kind)}-budget"
            metadata = self._metadata(spec.workload(kind))
            PodDisruptionBudget(name, metadata=metadata, spec=spec.budget(kind), opts=self._base.under(self))

    def _services(self) -> None:
        port = self._base.config.registry.node_port
        for name, wanted in ((spec.front(PUSH), spec.service(PUSH)), (spec.front(PULL), spec.service(PULL, port))):
            # A Service is there before its pods are: nobody waits for them here.
            annotations = {"pulumi.com/skipAwait": "true"}
            Service(
                f"{NAME}-service-{name}",
                metadata={**self._metadata(name), "annotations": annotations},
                spec=wanted,
                opts=self._base.under(self),
            )

    def _restarts(self, pods: list[str]) -> None:
        base, name = self._base, f"{NAME}-restart"
        under = base.under(self)
        account = ServiceAccount(name, metadata=self._metadata(name), automount_service_account_token=False, opts=under)
        Role(name, metadata=self._metadata(name), rules=spec.role(pods), opts=under)
        RoleBinding(
            name,
            metadata=self._metadata(name),
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": base.spaces[NAME]}],
            opts=under,
        )
        called = _when(account, name)
        image, schedule = base.images.reference(versions.PYTHON), base.config.registry.collect
        CronJob(
            name,
            metadata=self._metadata(name),
            spec=spec.restarts(image, schedule, script(), pods, called),
            opts=under,
        )

    def _encrypted(self, kind: str, authority: ConfigMap, ingress: Ingress) -> pulumi.Output[str]:
        """Name of a Service, known when the ingress knows how to speak TLS to it."""
        policy = CustomResource(
            f"{NAME}-{kind}-backend-tls",
            api_version=gateway_api.API_VERSION,
            kind="BackendTLSPolicy",
            metadata=self._metadata(spec.workload(kind)),
            spec=spec.backend_tls(kind, _when(authority, AUTHORITY)),
            # The ingress brings the definition.
            opts=self._base.under(self, ingress.definitions),
        )
        return _when(policy, spec.front(kind))

    def _routes(self, args: RegistryArgs) -> services.Service:
        under = self._base.under(self)
        authority = ConfigMap(
            f"{NAME}-authority",
            metadata=self._metadata(AUTHORITY),
            data={"ca.crt": args.authority},
            opts=under,
        )
        writer, reader = (self._encrypted(kind, authority, args.ingress) for kind in (PUSH, PULL))
        url = args.ingress.route(NAME, NAME, reader, SERVICE_PORT, self, matches=[spec.VERSION_2])
        args.ingress.route(NAME, NAME, writer, SERVICE_PORT, self, part="changes", matches=spec.changes())
        login = Login(url, PUSH, f"{NAME}/{NAME}-{PUSH}-login", "password")
        return services.Service(NAME, url, login, health="/v2/")
