"""What one cloud keeps about itself: ports, passwords, its network. A file that only its owner can read."""

import hashlib
import ipaddress
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rehearsal.cloud.errors import CloudError
from rehearsal.cloud.process import free_ports, run

SERVICES = ("keystone", "placement", "nova", "neutron", "cinder", "blazar", "glance")
POOL = ipaddress.ip_network("198.18.0.0/15")  # for tests between networks (RFC 2544): nobody's address


@dataclass(frozen=True)
class State:
    """Everything chosen once per root."""

    network: str
    """The external network: a /24."""
    ports: dict[str, int] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def gateway(self) -> str:
        """The cloud's end of the link to this computer."""
        return str(ipaddress.ip_network(self.network)[1])

    @property
    def host(self) -> str:
        """This computer's end of the link."""
        return str(ipaddress.ip_network(self.network)[2])

    def port(self, service: str) -> int:
        """Its port on 127.0.0.1."""
        return self.ports[service]

    @property
    def keystone(self) -> str:
        """The identity endpoint."""
        return f"http://127.0.0.1:{self.port('keystone')}/v3"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _routes() -> list[ipaddress.IPv4Network]:
    found = []
    for route in json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]) or "[]"):
        if route.get("dst", "default") != "default":
            found.append(ipaddress.IPv4Network(route["dst"], strict=False))
    return found


def free_network(name: str) -> str:
    """A /24 that no route of this computer covers; where to look first follows from `name`."""
    routes = _routes()
    count = POOL.num_addresses // 256
    first = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    subnets = list(POOL.subnets(new_prefix=24))
    for step in range(count):
        candidate = subnets[(first + step) % count]
        if isinstance(candidate, ipaddress.IPv4Network) and not any(candidate.overlaps(r) for r in routes):
            return str(candidate)
    raise CloudError(f"every /24 of {POOL} has a route on this computer: remove one (ip route), then try again")


def new_ports(state: State) -> State:
    """The same state on other ports. Those of processes of others stay: they are on an address of the cloud's own."""
    names = ("mariadb", *SERVICES)
    return replace(state, ports={**state.ports, **dict(zip(names, free_ports(len(names)), strict=True))})


def load(path: Path) -> State | None:
    """What was saved, None when there is nothing."""
    try:
        return State(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise CloudError(f"{path} is damaged: end the cloud (`down`) and remove its folder") from error


def save(path: Path, state: State) -> None:
    """Keep it, readable by the owner only."""
    write_private(path, json.dumps(asdict(state), indent=1))


def make(name: str) -> State:
    """A new cloud's state: a free network, free ports, new passwords."""
    names = ("database", "admin", "service", "tenant")
    return new_ports(State(free_network(name), {}, {n: secrets.token_urlsafe(24) for n in names}))
