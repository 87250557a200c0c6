"""How releases run in each environment."""

import re
from dataclasses import dataclass

from ..checks import matches, name

IMAGE = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
CPU = re.compile(r"[0-9]+(\.[0-9]+)?|[1-9][0-9]*m")
MEMORY = re.compile(r"[1-9][0-9]*(Ki|Mi|Gi|k|M|G)?")


@dataclass(frozen=True)
class Quantities:
    """Of cores and of memory."""

    cpu: str
    memory: str

    def __post_init__(self) -> None:
        """Refuse what Kubernetes would refuse only after the commit."""
        matches("cpu", self.cpu, CPU, "a number of cores, like 2 or 500m")
        matches("memory", self.memory, MEMORY, "a number of bytes, like 256Mi")


@dataclass(frozen=True)
class Environment:
    """One environment."""

    name: str
    namespace: str
    replicas: int | None
    """Pods; None where an autoscaler says how many."""
    requests: Quantities
    limits: Quantities

    def __post_init__(self) -> None:
        """Refuse an environment that serves nothing."""
        name("name", self.name)
        name("namespace", self.namespace)
        if self.replicas is not None and self.replicas < 1:
            raise ValueError(f"replicas = {self.replicas}: must be 1 or more, or null where an autoscaler decides")


@dataclass(frozen=True)
class Route:
    """How production's requests come in."""

    gateway: str
    """Name of the Gateway."""
    gateway_namespace: str
    listener: str | None
    """Name of the Gateway's listener; None: all that take the host names."""
    hostnames: tuple[str, ...]
    canary_weight: int
    """Percent of production's requests that the canary answers."""
    guard: str | None = None
    """Traefik's Middleware in production's namespace that every request must pass; None: the server knows who asks."""

    def __post_init__(self) -> None:
        """Refuse a route that nobody finds, or that gives most requests to the canary."""
        name("gateway", self.gateway)
        name("gateway_namespace", self.gateway_namespace)
        if self.guard is not None:
            name("guard", self.guard)
        if not self.hostnames:
            raise ValueError("hostnames is empty: name the hosts of production")
        for host in self.hostnames:
            matches("hostnames", host, HOST, "the name of a host in lower case")
        if not 0 <= self.canary_weight <= 50:
            raise ValueError(f"canary_weight = {self.canary_weight}: must be from 0 to 50 percent")


@dataclass(frozen=True)
class Settings:
    """All environments."""

    application: str
    """Name of the deployment, the service and the route in each namespace."""
    image: str
    """REGISTRY/NAME, without a tag: a release has a digest."""
    pull_secrets: tuple[str, ...]
    """Names of Secrets with the registry's login."""
    service_port: int
    start_seconds: int
    """So long may a pod take until it serves."""
    environments: tuple[Environment, ...]
    """The gate's first, production last."""
    route: Route | None
    """None: nothing routes to production but its Service."""

    def __post_init__(self) -> None:
        """Refuse what could not be told apart or reached."""
        name("application", self.application)
        matches("image", self.image, IMAGE, "REGISTRY/NAME without a tag or digest")
        for secret in self.pull_secrets:
            name("pull_secrets", secret)
        if not 1 <= self.service_port <= 65535:
            raise ValueError(f"service_port = {self.service_port}: must be from 1 to 65535")
        if self.start_seconds < 1:
            raise ValueError(f"start_seconds = {self.start_seconds}: must be 1 or more")
        for key in ("name", "namespace"):
            values = [getattr(environment, key) for environment in self.environments]
            if len(values) < 2 or len(set(values)) < len(values):
                raise ValueError(f"environments: give two or more, each with a {key} of its own, not {values}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the environments, in order."""
        return tuple(environment.name for environment in self.environments)
