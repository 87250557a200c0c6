"""The policy's rules over what an environment's program asks for. The program runs on paper: no cloud, no login."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import infra.preflight
from config import Environment, Problem, Rule
from leasehold_policy import RULES, UNKNOWN, Finding, Resource, Secret
from leasehold_policy import Rule as Demand
from leasehold_policy.waivers import judged
from rehearsal import paper
from rehearsal.engine import Engine, EngineError, Silent, values
from rehearsal.engine import state as recorded
from rehearsal.engine.references import TYPE as REFERENCE
from rehearsal.engine.run import seconds
from rehearsal.environment import EnvironmentFile
from rehearsal.paths import PROJECT, Root
from rehearsal.protocol import Provider, Unknown


@dataclass(frozen=True)
class Judgement:
    """What the rules say about the resources of an environment."""

    resources: tuple[Resource, ...]
    found: tuple[tuple[Demand, Finding], ...]
    waived: int
    """Findings that a waiver excuses."""

    @property
    def lines(self) -> list[str]:
        """For people: one line for each finding, then the sums."""
        lines = [
            f"{rule.subject}.{rule.id}: {finding.resource.type} {finding.resource.name}: {finding.detail}. "
            f"{rule.demand} Remedy: {rule.remedy}."
            for rule, finding in self.found
        ]
        sums = f"{len(RULES)} rules, {len(self.resources)} resources: {len(self.found)} findings, {self.waived} waived"
        return [*lines, sums]


def judge(resources: tuple[Resource, ...]) -> Judgement:
    """Ask every rule."""
    found, waived = [], 0
    for rule in RULES:
        findings = list(rule.check(resources))
        left = judged(rule, findings)
        waived += len(findings) - len(left)
        found += [(rule, finding) for finding in left]
    return Judgement(resources, tuple(found), waived)


def asked_for(
    file: EnvironmentFile, stack: str, *, providers: Mapping[str, Provider], passphrase: str, extra: Mapping[str, Any]
) -> tuple[Resource, ...]:
    """Everything that the program asks for, by our engine on a state that is thrown away. Raises EngineError."""
    with TemporaryDirectory(prefix="leasehold-policy-") as folder, _no_site_asked():
        root = Root(Path(folder))
        served = {**paper.providers(providers), REFERENCE: paper.Paper()}
        engine = Engine(root, stack, file.path, PROJECT, served, paper.INVOKES, passphrase, Silent(), extra)
        summary = engine.up()
        if summary.failures:
            raise EngineError("; ".join(f"{failure.urn}: {failure.cause}" for failure in summary.failures))
        return tuple(resource(item) for item in engine.resources())


@contextmanager
def _no_site_asked() -> Iterator[None]:
    """Leave out the program's questions to the sites: rules judge what is asked for, whatever a site has."""

    def nothing(stack: str) -> Rule:  # noqa: ARG001  the name that callers may use
        return _accepts

    before = infra.preflight.for_stack
    infra.preflight.for_stack = nothing
    try:
        yield
    finally:
        infra.preflight.for_stack = before


def _accepts(_environment: Environment) -> Iterator[Problem]:
    return iter(())


def resource(item: recorded.Resource) -> Resource:
    """A resource of the engine as rules see it."""
    timeouts = {verb: seconds(limit) for verb, limit in item.timeouts.items()}
    inputs = {key: _marked(value) for key, value in item.inputs.items()}
    return Resource(item.type, item.name, inputs, item.protect, timeouts, item.urn)


def _marked(value: Any) -> Any:
    """A value of the engine with the rules' marks."""
    if isinstance(value, values.Secret):
        return Secret(_marked(value.value))
    if isinstance(value, Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    return [_marked(item) for item in value] if isinstance(value, list) else value
