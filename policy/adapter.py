"""Rules as policies of pulumi-policy, and its resources as ours."""

from collections.abc import Mapping
from typing import Any

from pulumi_policy import (
    Policy,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
    proxy,
)
from pulumi_policy.secret import Secret as TheirSecret

from leasehold_policy import RULES, UNKNOWN, Resource, Rule, Secret
from leasehold_policy.waivers import judged

NOT_KNOWN = frozenset(value for name, value in vars(proxy).items() if name.startswith("UNKNOWN_"))
"""What stands for a value that is not known yet."""
UNDER = "__target"
"""Key at which the SDK's maps and lists have what they wrap."""


def policies() -> list[Policy]:
    """One policy for each rule."""
    return [_stack(rule) if rule.whole else _single(rule) for rule in RULES]


def _single(rule: Rule) -> Policy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for finding in judged(rule, list(rule.check([resource(args)]))):
            report(_message(rule, finding.detail), None)

    return ResourceValidationPolicy(rule.id, rule.demand, validate, remediation_steps=rule.remedy, tags=[rule.subject])


def _stack(rule: Rule) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for finding in judged(rule, list(rule.check([resource(item) for item in args.resources]))):
            report(_message(rule, f"{finding.resource.name}: {finding.detail}"), finding.resource.urn)

    return StackValidationPolicy(rule.id, rule.demand, validate, remediation_steps=rule.remedy, tags=[rule.subject])


def _message(rule: Rule, detail: str) -> str:
    return f"{detail}. {rule.demand} Remedy: {rule.remedy}."


def resource(given: ResourceValidationArgs | PolicyResource) -> Resource:
    """A resource of the SDK as rules see it."""
    limits = given.opts.custom_timeouts
    timeouts = {"create": limits.create_seconds, "update": limits.update_seconds, "delete": limits.delete_seconds}
    return Resource(
        given.resource_type,
        given.name,
        plain(given.props),
        given.opts.protect,
        {verb: seconds for verb, seconds in timeouts.items() if seconds},
        given.urn,
    )


def plain(value: Any) -> Any:
    """A value of the SDK with our marks."""
    if isinstance(value, TheirSecret):
        return Secret(plain(value.value))
    if isinstance(value, Mapping):
        inside = value if isinstance(value, dict) else value[UNDER]
        return {key: plain(item) for key, item in inside.items()}
    if isinstance(value, str):
        return UNKNOWN if value in NOT_KNOWN else value
    if hasattr(value, "__getitem__"):
        inside = value if isinstance(value, list) else value[UNDER]
        return [plain(item) for item in inside]
    return value
