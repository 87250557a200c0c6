"""The environment: one frozen tree for the whole stack, and the only reader of Pulumi's configuration.

Single-source rules: what exists elsewhere in the tree is derived, never repeated; every field says what it
means, its unit and its default. A bad environment is refused in one pass that names all that is wrong.
"""

import copy
import difflib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal

import pulumi
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PROJECT = "leasehold"
REFERENCE = "docs/configuration.md"
PRIVATE_KEY = "ssh_private_key"

# -- fields ------------------------------------------------------------------------------------------------------

HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
OPENSSH_KEY = re.compile(r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,3}( [^\n]*)?")


def _host_name(value: str) -> str:
    if not HOST_NAME.fullmatch(value):
        raise ValueError("a host name has 1 to 63 lower-case letters, digits and inner hyphens")
    return value


def _public_key(value: str) -> str:
    if not OPENSSH_KEY.fullmatch(value.strip()):
        raise ValueError("one line of OpenSSH public key: type and base64 text")
    return value.strip()


def _utc(value: object) -> datetime:
    try:
        return datetime.strptime(str(value), "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError('a time in UTC, as "YYYY-MM-DD HH:MM"') from None


def _network(value: object) -> IPv4Network:
    """Say what is wrong with a CIDR; pydantic's own text does not, and it takes numbers for addresses."""
    try:
        return IPv4Network(str(value))
    except ValueError as error:
        raise ValueError(f"an IPv4 network such as 192.168.1.0/24 ({error})") from None


def _address(value: object) -> IPv4Address:
    try:
        return IPv4Address(str(value))
    except ValueError:
        raise ValueError("an IPv4 address such as 192.168.1.11") from None


HostName = Annotated[str, AfterValidator(_host_name)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
Time = Annotated[datetime, BeforeValidator(_utc)]
Network = Annotated[IPv4Network, BeforeValidator(_network)]
Address = Annotated[IPv4Address, BeforeValidator(_address)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?$")]
Role = Literal["server", "agent"]
WEEK = 7 * 24


class Model(BaseModel):
    """A part of the environment: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# -- infra -------------------------------------------------------------------------------------------------------


class Site(Model):
    """An OpenStack site: one region, one login, one private network, one bastion."""

    kind: Literal["kvm", "baremetal"] = Field(
        "kvm", description="kvm: leases reserve flavors; baremetal: leases reserve whole hosts"
    )
    region: str = Field(description="region as the site's catalogue names it, such as KVM@TACC")
    cloud: str | None = Field(None, description="entry of clouds.yaml; none: OS_CLOUD, or the OS_* variables")
    external_network: str = Field("public", description="network that floating IPs come from")
    shared_network: str | None = Field(
        None, description="site's routed network, every node has a port on it; none: a router of our own"
    )
    private_cidr: Network = Field(description="the stack's own network, IPv4 CIDR of /8 to /28")
    dns_servers: tuple[Address, ...] = Field((), description="name servers of the private network")
    bastion: HostName = Field(description="node with the floating IP, through which all others are reached")
    floating_ip: Address | None = Field(None, description="floating IP you already hold; none: one is allocated")
    zones: tuple[str, ...] = Field((), description="availability zones; nodes without a zone are spread over them")
    standard_lease_cap_hours: int = Field(180 * 24, ge=1, description="longest lease without GPU, hours")
    gpu_lease_cap_hours: int = Field(WEEK, ge=1, description="longest lease of GPU flavors or bare metal, hours")


class Lease(Model):
    """Reserved capacity with an end; at the end Blazar deletes the servers on it."""

    site: str | None = Field(None, description="name of a site; none: the only one")
    flavor: str | None = Field(None, description="flavor to reserve (kvm)")
    node_type: str | None = Field(None, description="node type of the hosts to reserve (baremetal)")
    count: int = Field(1, ge=1, le=1000, description="number of instances or hosts")
    start: Time | None = Field(None, description='UTC, "YYYY-MM-DD HH:MM"; none: now')
    end: Time | None = Field(None, description='UTC, "YYYY-MM-DD HH:MM"; or give hours')
    hours: int | None = Field(None, ge=1, description="length in hours, from the start; or give end")
    adopt: str | None = Field(None, description="name or id of a lease you already hold: used, never deleted")

    def ends(self, now: datetime) -> datetime:
        """When it ends, if it is made at a time."""
        return self.end or (self.start or now) + timedelta(hours=self.hours or 0)


class Node(Model):
    """A machine. Its name is the key it stands under."""

    role: Role = Field(description="server: control plane and data store (an odd number); agent: workloads")
    address: Address = Field(description="fixed address in the site's private_cidr")
    image: str = Field(description="image name or id; a name is not followed when the site publishes it anew")
    lease: str | None = Field(None, description="lease the node sits on; or give flavor")
    flavor: str | None = Field(None, description="flavor without a reservation; or give lease")
    site: str | None = Field(None, description="name of a site; none: the lease's, or the only one")
    zone: str | None = Field(None, description="availability zone; none: spread over the site's zones")
    volumes: tuple[str, ...] = Field((), description="names of data volumes, attached in this order")
    labels: dict[Label, str] = Field({}, description="Kubernetes node labels")
    gpu: bool = Field(False, description="the node has an NVIDIA GPU: it sits on a lease of GPU nodes only")
    formerly: tuple[HostName, ...] = Field((), description="earlier names: renaming keeps the machine")


class Volume(Model):
    """A data volume: protected, never replaced, and independent of the node it is attached to."""

    size_gb: int = Field(ge=1, le=64_000, description="size in GiB; it may grow, never shrink")
    type: str | None = Field(None, description="volume type; none: the site's default")
    site: str | None = Field(None, description="name of a site; none: the only one")
    zone: str | None = Field(None, description="availability zone of the volume; none: the site's default")


class Access(Model):
    """Who may reach the machines. Nothing else is open."""

    admin_cidrs: tuple[Network, ...] = Field(min_length=1, description="networks that may reach SSH")
    public_cidrs: tuple[Network, ...] = Field((), description="networks that may reach ports 80 and 443")
    authorized_keys: tuple[PublicKey, ...] = Field((), description="OpenSSH public keys of people who log in")
    user: str = Field("cc", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="login user of the image, with sudo")


class OpenStackInfra(Model):
    """Machines made at OpenStack sites."""

    kind: Literal["openstack"]
    sites: dict[HostName, Site] = Field(min_length=1, description="name to site")
    leases: dict[HostName, Lease] = Field({}, description="name to lease")
    nodes: dict[HostName, Node] = Field(min_length=1, description="host name to node")
    volumes: dict[HostName, Volume] = Field({}, description="name to data volume")
    access: Access

    def site_of(self, part: Lease | Node | Volume) -> str:
        """Name of the site of a part: its own, its lease's, or the only one; "" when that is unknown."""
        lease = self.leases.get(part.lease or "") if isinstance(part, Node) else None
        named = part.site or (lease.site if lease else None)
        return named or (next(iter(self.sites)) if len(self.sites) == 1 else "")


class Machine(Model):
    """A machine that you already have: it is told its name, its neighbours, and nothing else."""

    role: Role = Field(description="server: control plane and data store (an odd number); agent: workloads")
    address: Address = Field(description="address at which SSH answers, from here or from the bastion")
    private_address: Address | None = Field(None, description="address for the other nodes; none: address")
    host_key: PublicKey = Field(description="the machine's SSH host key, one line: it is pinned")
    user: str = Field("cc", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="login user with sudo")
    port: int = Field(22, ge=1, le=65535, description="SSH port")
    labels: dict[Label, str] = Field({}, description="Kubernetes node labels")
    gpu: bool = Field(False, description="the machine has an NVIDIA GPU")


class HostsInfra(Model):
    """Machines that exist already."""

    kind: Literal["hosts"]
    machines: dict[HostName, Machine] = Field(min_length=1, description="host name to machine")
    bastion: HostName | None = Field(None, description="machine through which the others are reached; none: directly")
    private_key_file: Path | None = Field(
        None, description=f"file of the private key for login; none: the secret {PROJECT}:{PRIVATE_KEY}"
    )


Infra = Annotated[OpenStackInfra | HostsInfra, Field(discriminator="kind")]


class Environment(Model):
    """Everything that Pulumi.<stack>.yaml says, but for secrets."""

    infra: Infra


@dataclass(frozen=True)
class Settings:
    """What the program is built from."""

    environment: Environment
    stack: str
    private_key: pulumi.Output[str] | None
    """Login key for machines that exist already; a secret."""


# -- problems ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with an environment."""

    key: str
    value: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        """One line: key path, value, rule, remedy."""
        return " ".join(f"{self.key} = {self.value}: {self.rule}; {self.remedy}".split())


class BadEnvironment(pulumi.RunError):
    """The environment is refused; nothing was created."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Say all problems, sorted by key, and where the keys are explained."""
        self.problems = sorted(set(problems))
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} problem(s) in the environment (keys: {REFERENCE}):\n{lines}")


PLACEHOLDERS: Mapping[str, Any] = {
    "access": {"admin_cidrs": ["192.0.2.0/24"]},
    "address": "0.0.0.0",  # noqa: S104  no listener: an address that no rule accepts
    "admin_cidrs": ["192.0.2.0/24"],
    "bastion": "unknown",
    "end": "2999-01-01 00:00",
    "host_key": "ssh-ed25519 AAAA",
    "image": "unknown",
    "private_cidr": "0.0.0.0/0",
    "region": "unknown",
    "role": "agent",
    "size_gb": 1,
}
"""What stands in for a required value that is wrong, while the rest of the environment is checked."""

Rule = Callable[[Environment], Iterator[Problem]]


def shown(value: object) -> str:
    """Render a value on one line, shortened. Anything that looks like key material is withheld."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if "PRIVATE KEY" in text:
        return "[withheld]"
    return text if len(text) <= 60 else text[:57] + "..."


def validate(raw: Mapping[str, Any], rules: Sequence[Rule] = ()) -> tuple[Environment | None, list[Problem]]:
    """Check a raw tree and every rule in one pass.

    What is wrong is left out and the rest is checked again, so that one mistake does not hide the others.
    Returns the environment only when nothing is wrong.
    """
    problems: list[Problem] = []
    damaged: set[tuple[int | str, ...]] = set()
    tree: Any = copy.deepcopy(dict(raw))
    while True:
        try:
            environment = Environment.model_validate(tree)
            break
        except ValidationError as error:
            found = [(_location(tree, e["loc"]), e) for e in error.errors()]
            paths = {path for path, _ in found}
            # A list that is too short only because its elements are wrong is no second mistake.
            inner = damaged | paths
            fresh = [(p, e) for p, e in found if p not in damaged and not any(p == i[: len(p)] for i in inner - {p})]
            problems += [_problem(tree, path, e) for path, e in fresh]
            if paths <= damaged or False in [_repair(tree, p) for p in sorted(paths, key=len, reverse=True)]:
                return None, problems
            damaged |= paths
    problems += [p for rule in rules for p in rule(environment) if not _follows_from(damaged, p)]
    return (None if problems else environment), problems


def _follows_from(damaged: set[tuple[int | str, ...]], problem: Problem) -> bool:
    """Whether a rule is broken only because of a value that was wrong by itself."""
    key = tuple(problem.key.split("."))
    for path in damaged:
        steps = tuple(str(step) for step in path)
        itself, reference = key[: len(steps)] == steps, steps[-1] == problem.value
        counted = steps[: len(key)] == key and (len(steps) == len(key) + 1 or steps[-1] == "role")
        if itself or reference or counted:
            return True
    return False


def _location(tree: Any, location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Pydantic's location without the tags of unions and the `[key]` marks, which are in no file."""
    kind = _lookup(tree, ("infra", "kind"))
    tagged = location[:2] == ("infra", kind)
    return tuple(s for i, s in enumerate(location) if s != "[key]" and not (tagged and i == 1))


def _lookup(tree: Any, path: Sequence[int | str]) -> Any:
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _repair(tree: Any, path: tuple[int | str, ...]) -> bool:
    """Put something harmless where something wrong stands; False where nothing fits."""
    parent, name = _lookup(tree, path[:-1]), path[-1] if path else ""
    if isinstance(parent, dict) and name in PLACEHOLDERS:
        parent[name] = copy.deepcopy(PLACEHOLDERS[str(name)])
    elif isinstance(parent, dict) and len(path) > len(("infra", "kind")):
        parent.pop(name, None)
    elif isinstance(parent, list):
        parent[:] = [value for index, value in enumerate(parent) if index != name]
    else:
        return parent is None
    return True


def _problem(tree: Any, path: tuple[int | str, ...], error: Any) -> Problem:
    key = ".".join(str(step) for step in path)
    parent, name = path[:-1], str(path[-1]) if path else ""
    model = _model_at(tree, parent)
    description = _description(model, name) or _description(_model_at(tree, parent[:-1]), str((parent or ("",))[-1]))
    remedy = f"give {description}" if description else f"see {REFERENCE}"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, list(model.model_fields) if model else [], n=1)
        return Problem(key, shown(error["input"]), "unknown key", f"did you mean {near[0]}?" if near else "remove it")
    if error["type"] == "missing":
        return Problem(key, "(missing)", "required", remedy)
    if error["type"].startswith("union_tag"):
        value = _lookup(tree, (*path, "kind"))
        return Problem(f"{key}.kind", shown(value), "one of openstack and hosts", "say where the machines come from")
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(key, shown(error["input"]), message[:1].lower() + message[1:], remedy)


def _model_at(tree: Any, path: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that describes what stands at a path of the tree."""
    models: dict[tuple[str, ...], type[BaseModel]] = {
        (): Environment,
        ("infra", "sites", "*"): Site,
        ("infra", "leases", "*"): Lease,
        ("infra", "nodes", "*"): Node,
        ("infra", "volumes", "*"): Volume,
        ("infra", "machines", "*"): Machine,
        ("infra", "access"): Access,
    }
    kind = _lookup(tree, ("infra", "kind"))
    models[("infra",)] = HostsInfra if kind == "hosts" else OpenStackInfra
    steps = tuple(str(step) for step in path)
    return models.get(steps) or models.get((*steps[:-1], "*"))


def _description(model: type[BaseModel] | None, name: str) -> str | None:
    field = model.model_fields.get(name) if model else None
    return field.description if field else None


# -- loading -----------------------------------------------------------------------------------------------------


def load(rules: Sequence[Rule] = ()) -> Settings:
    """Read the stack's configuration, check every rule and freeze it.

    Raises BadEnvironment with every problem found.
    """
    config = pulumi.Config(PROJECT)
    raw = {name: config.get_object(name) for name in Environment.model_fields if config.get(name) is not None}
    environment, problems = validate(raw, rules)
    problems += [*_stray_keys(), *_key_problems(environment)]
    if environment is None or problems:
        raise BadEnvironment(problems)
    return Settings(environment, pulumi.get_stack(), _private_key(environment.infra))


def _stray_keys() -> Iterator[Problem]:
    """Top-level keys of ours that nothing reads: Pulumi itself says nothing of them."""
    known = [*Environment.model_fields, PRIVATE_KEY]
    for key in {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}:
        namespace, _, name = key.partition(":")
        if namespace == PROJECT and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield Problem(name, "(set)", "unknown key", f"did you mean {near[0]}?" if near else "remove it")


def _key_problems(environment: Environment | None) -> Iterator[Problem]:
    """A machine that exists already can be reached only with a private key that we are given."""
    infra = environment.infra if environment else None
    if not isinstance(infra, HostsInfra):
        return
    if infra.private_key_file is None:
        if pulumi.Config(PROJECT).get(PRIVATE_KEY) is None:
            remedy = f"set infra.private_key_file, or run: pulumi config set --secret {PRIVATE_KEY} < KEYFILE"
            yield Problem(PRIVATE_KEY, "(missing)", "infra.kind hosts needs a login key", remedy)
        elif not pulumi.runtime.config.is_config_secret(f"{PROJECT}:{PRIVATE_KEY}"):
            remedy = f"run: pulumi config set --secret {PRIVATE_KEY} < KEYFILE"
            yield Problem(PRIVATE_KEY, "[withheld]", "a private key is never stored in clear", remedy)
    elif not os.access(infra.private_key_file.expanduser(), os.R_OK):
        key, value = "infra.private_key_file", str(infra.private_key_file)
        yield Problem(key, value, "not a readable file", "give the path of an OpenSSH private key")


def _private_key(infra: OpenStackInfra | HostsInfra) -> pulumi.Output[str] | None:
    if not isinstance(infra, HostsInfra):
        return None
    if infra.private_key_file is None:
        return pulumi.Config(PROJECT).require_secret(PRIVATE_KEY)
    return pulumi.Output.secret(infra.private_key_file.expanduser().read_text())
