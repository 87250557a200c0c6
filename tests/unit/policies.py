"""Cases of the policy's rules, written down in `policy_cases`, and recorded graphs as rules see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from leasehold_policy import SUBJECTS, Resource, Secret
from tests.environments import dev, existing, machines_only, two_sites
from tests.unit import graph, platforms

CASES = Path(__file__).parent / "policy_cases"
KINDS: Mapping[str, str] = {
    "GroupRule": "openstack:networking/secGroupRule:SecGroupRule",
    "Port": "openstack:networking/port:Port",
    "FloatingIp": "openstack:networking/floatingIp:FloatingIp",
    "Server": "openstack:compute/instance:Instance",
    "Volume": "openstack:blockstorage/volume:Volume",
    "Bucket": "openstack:objectstorage/container:Container",
    "Command": "command:remote:Command",
    "Lease": "pulumi-python:dynamic/infra:Lease",
    "Password": "random:index/randomPassword:RandomPassword",
    "RandomString": "random:index/randomString:RandomString",
    "RandomPet": "random:index/randomPet:RandomPet",
    "PrivateKey": "tls:index/privateKey:PrivateKey",
    "SelfSigned": "tls:index/selfSignedCert:SelfSignedCert",
    "Provider": "pulumi:providers:openstack",
    "Release": "kubernetes:helm.sh/v3:Release",
    "Cluster": "kubernetes:postgresql.cnpg.io/v1:Cluster",
    "ObjectStore": "kubernetes:barmancloud.cnpg.io/v1:ObjectStore",
}
"""Short names of types; every other one is a kind of Kubernetes."""
UNITS = {"m": 60.0, "s": 1.0, "h": 3600.0}


class _Loader(yaml.SafeLoader):
    """Knows `!secret`."""


def _secret(loader: Any, node: yaml.Node) -> Secret:
    if isinstance(node, yaml.MappingNode):
        return Secret(loader.construct_mapping(node, deep=True))
    return Secret(loader.construct_scalar(node))


_Loader.add_constructor("!secret", _secret)


@dataclass(frozen=True)
class Cases:
    """The stacks that a rule refuses, and those that it accepts."""

    fails: tuple[tuple[Resource, ...], ...]
    passes: tuple[tuple[Resource, ...], ...]


@cache
def cases() -> dict[tuple[str, str], Cases]:
    """All cases, by subject and rule."""
    found = {}
    for subject in SUBJECTS:
        name = subject.__name__.rpartition(".")[2]
        tree = yaml.load((CASES / f"{name}.yaml").read_text(), _Loader)  # noqa: S506  a safe loader with one tag more
        for rule, given in tree.items():
            found[name, rule] = Cases(*(tuple(map(_stack, given[key])) for key in ("fails", "passes")))
    return found


def _stack(case: Mapping[str, Any]) -> tuple[Resource, ...]:
    return tuple(_resource(title, inputs) for title, inputs in case.items())


def _resource(title: str, inputs: Mapping[str, Any]) -> Resource:
    kind, _, name = title.partition(" ")
    given = {key: value for key, value in inputs.items() if not key.startswith("$")}
    type_ = KINDS.get(kind, f"kubernetes:any/v1:{kind}")
    return Resource(type_, name or kind.lower(), given, inputs.get("$protect", False), inputs.get("$timeouts", {}))


def of_graph(recorded: graph.Graph) -> list[Resource]:
    """Recorded registrations as rules see them."""
    return [
        Resource(
            found.type,
            found.name,
            {key: _marked(value) for key, value in found.inputs.items()},
            found.request.protect,
            {field.name: _seconds(value) for field, value in found.request.customTimeouts.ListFields()},
            urn,
        )
        for urn, found in recorded.resources.items()
    ]


def _marked(value: Any) -> Any:
    """The SDK's mark of secrets as ours."""
    if graph.is_secret(value):
        return Secret(_marked(value["value"]))
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value


def _seconds(text: str) -> float:
    return float(text[:-1]) * UNITS[text[-1]]


@cache
def shipped() -> tuple[Resource, ...]:
    """Everything that the shipped environment makes."""
    return tuple(of_graph(graph.record(dev(), preview=False)))


@cache
def others() -> tuple[tuple[Resource, ...], ...]:
    """What environments of other kinds make: every component, a platform that comes back, two sites, other clusters."""
    lost = platforms.tree("apps")
    lost["platform"]["backups"] |= {"archive": 2, "restore": 1, "store": platforms.STORE}
    graphs = (
        platforms.recorded("full"),
        platforms.recorded("extras"),
        graph.record(lost, preview=False, **platforms.TEXTS),
        graph.record(machines_only(two_sites()), preview=False),
        graph.record(existing(), preview=False, kubeconfig=graph.KUBECONFIG),
    )
    return tuple(tuple(of_graph(recorded)) for recorded in graphs)
