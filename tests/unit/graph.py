"""Records what the program registers: types, inputs, options, dependencies, secrecy."""

import asyncio
import gc
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2

import apps.rules
import cluster.rules
import config
import infra.rules
import mlops.rules
from apps import Apps, AppsArgs
from cluster import Cluster, ClusterArgs
from infra import Infra, InfraArgs
from mlops import Platform, PlatformArgs
from outputs import StackOutputs
from tests.environments import PROJECT, complete

# The SDK's mark of secret values.
SECRET = "4dabf18193072939515e22adb298388d"
STACK = "test"
RULES = [infra.rules.check, cluster.rules.check, mlops.rules.check, apps.rules.check]
KUBECONFIG_FILE = PROJECT / "tests" / "data" / "kubeconfig.yaml"
KUBECONFIG = KUBECONFIG_FILE.read_text()


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
    secret_outputs: set[str] = field(default_factory=set)

    def of(self, *types: str) -> dict[str, Resource]:
        """Resources of some types, by name."""
        return {r.name: r for r in self.resources.values() if r.type in types}

    def one(self, type_: str, name: str) -> Resource:
        """A resource by type and name."""
        return self.of(type_)[name]


def _secret(value: str) -> dict[str, str]:
    return {SECRET: "1b47061264138c4ac30d75fd1eb44270", "value": value}


def stdout(name: str) -> str:
    """What a command on a machine prints."""
    if name.endswith("-k3s") or name == "kubespray":
        return json.dumps({"kubeconfig": KUBECONFIG, "token": "K10ca::server:x", "agent_token": "K10ca::node:y"})
    if name.endswith("-prepare"):  # the machine's own address in the VPN
        return f"100.64.0.{9 + zlib.crc32(name.encode()) % 240}\n"
    return ""


class Answers(mocks.Mocks):
    """What a cloud and a cluster would say."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {"id": f"id-of-{args.args['name']}"}, []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        out = dict(args.inputs)
        if args.typ == "pulumi-python:dynamic/infra:Lease":
            known = {"status": "ACTIVE", "start_date": "2026-11-21 00:00", "end_date": "2026-11-28 00:00"}
            out.update(known, reservation_id=f"reservation-{args.name}", flavor_id=f"flavor-{args.name}")
        if args.typ == "tls:index/privateKey:PrivateKey":
            out["privateKeyOpenssh"] = out["privateKeyPem"] = _secret(f"private-{args.name}")
            out["publicKeyOpenssh"] = f"ssh-ed25519 {args.name}\n"
        if args.typ == "tls:index/selfSignedCert:SelfSignedCert":
            out["certPem"] = f"certificate of {args.name}"
        if args.typ == "openstack:networking/floatingIp:FloatingIp":
            out["address"] = "129.114.0.1"
        if args.typ == "openstack:compute/volumeAttach:VolumeAttach":
            out["device"] = "/dev/vdb"
        if args.typ == "random:index/randomPassword:RandomPassword":
            out["result"] = _secret(f"password-{args.name}")
            out["bcryptHash"] = _secret(f"hash-{args.name}")
        if args.typ == "pulumi:pulumi:StackReference":
            out.update(outputs={"kubeconfig": _secret(KUBECONFIG)}, secretOutputNames=["kubeconfig"])
        if args.typ == "random:index/randomId:RandomId":
            out["hex"] = "0123456789abcdef"
        if args.typ == "command:remote:Command":
            out["stdout"] = _secret(stdout(args.name))
        return f"{args.name}-id", out


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph) -> None:
        super().__init__(Answers())
        self.graph = graph

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  the SDK's name
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type == "pulumi:pulumi:Stack":  # registered by the SDK, in some runs only
            return answer
        inputs = rpc.deserialize_properties(request.object, keep_unknowns=True)
        self.graph.resources[answer.urn] = Resource(request.type, request.name, inputs, request)
        return answer


def run(build: Callable[[], None], *, preview: bool = False) -> Graph:
    """Run a program under the SDK's mocks; the collector is off, as in `__main__.py`."""
    graph = Graph()
    # The SDK wants a current loop, and other tests of this process close theirs.
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(Answers(), project="leasehold", stack=STACK, preview=preview, monitor=_Monitor(graph))
    gc.disable()
    try:
        pulumi.runtime.test(build)()  # type: ignore[no-untyped-call]
    finally:
        gc.enable()
    return graph


def record(tree: Mapping[str, Any], *, preview: bool = False, **texts: str) -> Graph:
    """The graph of an environment; `texts` are the secrets that it needs."""
    environment, problems = config.validate(complete(tree), RULES)
    assert environment is not None, [str(problem) for problem in problems]

    def build() -> None:
        # Secrets are outputs, and outputs are made inside a run.
        given = {name: pulumi.Output.secret(text) for name, text in texts.items()}
        settings = config.Settings(environment, STACK, config.Secrets(**given))
        wanted = InfraArgs.of(settings)
        machines = Infra("infra", wanted) if wanted else None
        asked = ClusterArgs.of(settings, machines)
        kubernetes = Cluster("cluster", asked) if asked else None
        offered = PlatformArgs.of(settings, machines, kubernetes)
        platform = Platform("platform", offered) if offered else None
        wished = AppsArgs.of(settings, kubernetes, platform)
        outputs = StackOutputs.of(machines, kubernetes, platform, Apps("apps", wished) if wished else None)
        outputs.export()
        values = {item.name: getattr(outputs, item.name) for item in fields(outputs)}
        pulumi.Output.all(**values).apply(known.update)
        for name, value in values.items():
            marked: pulumi.Output[bool] = pulumi.Output.from_input(pulumi.Output.from_input(value).is_secret())
            marked.apply(partial(secret.__setitem__, name))

    known: dict[str, Any] = {}
    secret: dict[str, bool] = {}
    graph = run(build, preview=preview)
    graph.outputs, graph.secret_outputs = known, {name for name, marked in secret.items() if marked}
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


def of_space(recorded: Graph, type_: str, space: str) -> dict[str, Mapping[str, Any]]:
    """Objects of a namespace, by their names in the cluster."""
    items = [unwrapped(resource.inputs) for resource in recorded.of(type_).values()]
    return {item["metadata"]["name"]: item for item in items if item["metadata"].get("namespace") == space}
