"""The rules as Pulumi's own CLI runs them: a pack, a process of its own, asked over gRPC as the real engine asks."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from leasehold_policy import RULES, Resource, Rule, Secret
from tests.environments import PROJECT
from tests.unit import graph
from tests.unit.policies import cases, shipped

PACK = PROJECT / "policy"
PYTHON = Path(os.environ.get("LEASEHOLD_POLICY_PYTHON", PACK / ".venv/bin/python"))
NOT_KNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The engine's mark of a text that is not known yet."""
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.subject}.{rule.id}")


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """The running pack, as the engine sees it."""
    if not PYTHON.exists():
        pytest.skip("the pack's environment is not installed: make policy-setup")
    words = [str(PYTHON), "-m", "pulumi.policy", "127.0.0.1:0", str(PACK)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as pack:
        assert pack.stdout is not None
        with grpc.insecure_channel(f"127.0.0.1:{pack.stdout.readline().strip()}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
        pack.terminate()


def wire(value: Any) -> Any:
    """A value as the engine sends it."""
    if isinstance(value, Secret):
        return {graph.SECRET: "1b47061264138c4ac30d75fd1eb44270", "value": wire(value.value)}
    if isinstance(value, dict):
        return {key: wire(item) for key, item in value.items()}
    return [wire(item) for item in value] if isinstance(value, list) else value


def asked(kind: Any, resource: Resource) -> Any:
    """A resource as the engine sends it."""
    properties = struct_pb2.Struct()
    properties.update(wire(dict(resource.inputs)))
    limits = {verb: resource.timeouts.get(verb, 0) for verb in ("create", "update", "delete")}
    timeouts = analyzer_pb2.AnalyzerResourceOptions.CustomTimeouts(**limits)
    options = analyzer_pb2.AnalyzerResourceOptions(protect=resource.protect, customTimeouts=timeouts)
    urn = f"urn:pulumi:test::leasehold::{resource.type}::{resource.name}"
    return kind(type=resource.type, properties=properties, urn=urn, name=resource.name, options=options)


def violations(engine: Any, stack: Sequence[Resource], singles: Sequence[Resource] | None = None) -> set[str]:
    """Names of the policies that object to a stack, or to one of its resources, or of some of them."""
    alone = stack if singles is None else singles
    answers = [engine.Analyze(asked(analyzer_pb2.AnalyzeRequest, resource)) for resource in alone]
    resources = [asked(analyzer_pb2.AnalyzerResource, resource) for resource in stack]
    answers.append(engine.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=resources)))
    found = [item for answer in answers for item in answer.diagnostics]
    assert not [item.message for item in found if item.message.startswith("can't run")]
    return {item.policyName for item in found}


def test_the_pack_is_pinned_beside_the_program() -> None:
    """Two versions of the SDK would see two programs; and nothing is installed that has no hash."""
    wanted = (PACK / "requirements.in").read_text()
    assert "pulumi==3.272.0\n" in wanted
    assert '"pulumi==3.272.0"' in (PROJECT / "pyproject.toml").read_text()
    lock = (PACK / "requirements.lock").read_text()
    assert lock.count("--hash=sha256:") >= lock.count("==")
    assert all(line.split(" ")[0] in lock for line in wanted.splitlines() if "==" in line)
    project = yaml.safe_load((PACK / "PulumiPolicy.yaml").read_text())
    assert project["runtime"] == {"name": "python", "options": {"virtualenv": ".venv"}}


def test_the_pack_has_every_rule_and_blocks_a_deployment(engine: Any) -> None:
    """An advice would scroll by."""
    info = engine.GetAnalyzerInfo(empty_pb2.Empty())
    assert {policy.name: policy.description for policy in info.policies} == {rule.id: rule.demand for rule in RULES}
    assert {policy.enforcementLevel for policy in info.policies} == {analyzer_pb2.MANDATORY}


@every_rule
def test_a_case_is_judged_alike_in_the_pack(engine: Any, rule: Rule) -> None:
    """What the SDK does with inputs on the way, such as opening secrets, changes no judgement."""
    given = cases()[rule.subject, rule.id]
    assert [stack for stack in given.fails if rule.id not in violations(engine, stack)] == []
    assert [stack for stack in given.passes if rule.id in violations(engine, stack)] == []


def test_the_shipped_program_passes_in_the_pack(engine: Any) -> None:
    """The same resources, the same waivers, the same silence. Alone one of each type: all take minutes."""
    assert violations(engine, shipped(), list({r.type: r for r in shipped()}.values())) == set()


def test_the_pack_is_silent_about_what_is_not_known_yet(engine: Any) -> None:
    """The first preview of a stack knows few values."""
    unknown = Resource("openstack:networking/secGroupRule:SecGroupRule", "x", {"remoteIpPrefix": NOT_KNOWN})
    assert "ssh-from-the-world" not in violations(engine, [unknown])
