"""Records what the program registers: types, inputs, options, dependencies, secrecy."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2

import config
from infra import Infra, InfraArgs, rules
from outputs import StackOutputs

# The SDK's mark of secret values.
SECRET = "4dabf18193072939515e22adb298388d"
STACK = "test"


@dataclass
class Resource:
    """One registration."""

    type: str
    name: str
    inputs: dict[str, Any]
    request: resource_pb2.RegisterResourceRequest


@dataclass
class Graph:
    """Every registration of one run."""

    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    key_is_secret: bool = False

    def of(self, *types: str) -> dict[str, Resource]:
        """Resources of some types, by name."""
        return {r.name: r for r in self.resources.values() if r.type in types}

    def one(self, type_: str, name: str) -> Resource:
        """A resource by type and name."""
        return self.of(type_)[name]


class _Answers(mocks.Mocks):
    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {"id": f"id-of-{args.args['name']}"}, []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        out = dict(args.inputs)
        if args.typ == "pulumi-python:dynamic/infra:Lease":
            known = {"status": "ACTIVE", "start_date": "2026-11-21 00:00", "end_date": "2026-11-28 00:00"}
            out.update(known, reservation_id=f"reservation-{args.name}", flavor_id=f"flavor-{args.name}")
        if args.typ == "tls:index/privateKey:PrivateKey":
            private = {SECRET: "1b47061264138c4ac30d75fd1eb44270", "value": f"private-{args.name}"}
            out["privateKeyOpenssh"] = out["privateKeyPem"] = private
            out["publicKeyOpenssh"] = f"ssh-ed25519 {args.name}\n"
        if args.typ == "openstack:networking/floatingIp:FloatingIp":
            out["address"] = "129.114.0.1"
        if args.typ == "openstack:compute/volumeAttach:VolumeAttach":
            out["device"] = "/dev/vdb"
        return f"{args.name}-id", out


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph) -> None:
        super().__init__(_Answers())
        self.graph = graph

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  the SDK's name
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        inputs = rpc.deserialize_properties(request.object, keep_unknowns=True)
        self.graph.resources[answer.urn] = Resource(request.type, request.name, inputs, request)
        return answer


def run(build: Callable[[], None], *, preview: bool = False) -> Graph:
    """Run a program under the SDK's mocks; the collector is off, as in `__main__.py`."""
    graph = Graph()
    # The SDK wants a current loop, and other tests of this process close theirs.
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(_Answers(), project="leasehold", stack=STACK, preview=preview, monitor=_Monitor(graph))
    gc.disable()
    try:
        pulumi.runtime.test(build)()  # type: ignore[no-untyped-call]
    finally:
        gc.enable()
    return graph


def record(tree: Mapping[str, Any], *, key: str | None = None, preview: bool = False) -> Graph:
    """The graph of an environment."""
    environment, problems = config.validate(tree, [rules.check])
    assert environment is not None, [str(problem) for problem in problems]
    infra = environment.infra

    def build() -> None:
        private_key = pulumi.Output.secret(key) if key else None
        outputs = StackOutputs.of(Infra("infra", InfraArgs(infra, STACK, private_key)))
        outputs.export()
        values = {item.name: getattr(outputs, item.name) for item in fields(outputs)}
        pulumi.Output.all(**values).apply(known.update)
        marked: pulumi.Output[bool] = pulumi.Output.from_input(outputs.ssh_private_key.is_secret())
        marked.apply(secret.append)

    known: dict[str, Any] = {}
    secret: list[bool] = []
    graph = run(build, preview=preview)
    graph.outputs, graph.key_is_secret = known, secret == [True]
    return graph


def unwrapped(value: Any) -> Any:
    """A value without the SDK's secret marks."""
    if isinstance(value, dict):
        if SECRET in value:
            return unwrapped(value["value"])
        return {key: unwrapped(item) for key, item in value.items()}
    return [unwrapped(item) for item in value] if isinstance(value, list) else value


def is_secret(value: Any) -> bool:
    """Whether a value arrived marked as a secret."""
    return isinstance(value, dict) and SECRET in value
