"""The rules of the policy: what each refuses and accepts, what the shipped program does of them, and what is waived."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from leasehold_policy import RULES, UNKNOWN, WAIVERS, Resource, Rule, Secret
from leasehold_policy.waivers import judged
from tests.environments import PROJECT
from tests.unit.policies import Cases, cases, others, shipped

BY_ID = {rule.id: rule for rule in RULES}
JUNK: tuple[Any, ...] = ("junk", 7, None, [], ["junk"], [{}], {}, UNKNOWN)
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.subject}.{rule.id}")


def wrong(rule: Rule, given: Cases) -> list[str]:
    """The cases that a rule judges otherwise than they say."""
    missed = [f"accepts {stack}" for stack in given.fails if not list(rule.check(stack))]
    return missed + [f"refuses {stack}" for stack in given.passes if list(rule.check(stack))]


def changed(value: Any, news: Any) -> Iterator[Any]:
    """The value with each of its parts in turn replaced."""
    yield news
    if isinstance(value, Secret):
        yield from (Secret(item) for item in changed(value.value, news))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from ({**value, key: other} for other in changed(item, news))
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in changed(item, news))


def variants(stack: tuple[Resource, ...], news: Any) -> Iterator[tuple[Resource, ...]]:
    """The stack with each part of its inputs in turn replaced."""
    for at, resource in enumerate(stack):
        for inputs in changed(dict(resource.inputs), news):
            if isinstance(inputs, dict):
                yield (*stack[:at], replace(resource, inputs=inputs), *stack[at + 1 :])


def test_there_are_forty_rules_or_more_and_each_has_its_own_name_and_cases() -> None:
    """A rule without a case that it refuses might accept everything."""
    assert len(RULES) == len(BY_ID) >= 40
    assert {(rule.subject, rule.id) for rule in RULES} == set(cases())
    assert all(given.fails and given.passes for given in cases().values())


@every_rule
def test_a_rule_refuses_and_accepts_what_its_cases_say(rule: Rule) -> None:
    """The cases are the rule in examples."""
    assert wrong(rule, cases()[rule.subject, rule.id]) == []


@every_rule
def test_a_rule_that_sleeps_or_cries_is_noticed_by_its_cases(rule: Rule) -> None:
    """Whatever a rule is replaced by, one that always accepts or one that always refuses, its cases object."""
    given = cases()[rule.subject, rule.id]
    asleep = replace(rule, check=lambda _: ())
    crying = replace(rule, check=lambda stack: iter([stack]))  # type: ignore[arg-type, return-value]
    assert len(wrong(asleep, given)) == len(given.fails)
    assert len(wrong(crying, given)) == len(given.passes)


@every_rule
def test_what_is_not_known_yet_is_no_fault(rule: Rule) -> None:
    """A preview knows little before the first deployment: a rule that objects there would never let one happen."""
    for stack in cases()[rule.subject, rule.id].passes:
        for variant in variants(stack, UNKNOWN):
            assert list(rule.check(variant)) == [], variant


@every_rule
def test_no_input_stops_a_rule(rule: Rule) -> None:
    """A rule that raises takes the judgement of all others along."""
    given = cases()[rule.subject, rule.id]
    for stack in (*given.fails, *given.passes):
        for junk in JUNK:
            for variant in variants(stack, junk):
                list(rule.check(variant))


@every_rule
def test_a_rule_is_written_for_people(rule: Rule) -> None:
    """They read the demand and the remedy, and see what they may do next."""
    assert re.fullmatch(r"[A-Z].*\.", rule.demand), rule.demand
    assert len(rule.remedy) > 5
    assert not rule.remedy.endswith(".")


@every_rule
def test_the_shipped_program_does_what_a_rule_demands(rule: Rule) -> None:
    """In the shipped environment, and in those with every component, two sites, or a cluster that exists."""
    for resources in (shipped(), *others()):
        found = judged(rule, list(rule.check(resources)))
        assert [f"{finding.resource.name}: {finding.detail}" for finding in found] == []


def test_every_waiver_is_used() -> None:
    """A waiver that outlives its reason hides the next fault."""
    used = {
        (rule.id, waiver.rule, name)
        for resources in (shipped(), *others())
        for rule in RULES
        for finding in rule.check(resources)
        for waiver in WAIVERS
        for name in waiver.resources
        if waiver.rule == rule.id and waiver.covers(rule.id, finding.resource.name, name)
    }
    assert {(waiver.rule, waiver.rule, name) for waiver in WAIVERS for name in waiver.resources} == used
    assert all(len(waiver.reason) > 20 for waiver in WAIVERS)


def test_the_product_does_not_know_its_policy() -> None:
    """It is judged by the rules, not made of them."""
    parts = ("__main__.py", "outputs.py", "versions.py", "config", "infra", "cluster", "platform", "apps")
    files = [
        file
        for part in parts
        for file in ([PROJECT / part] if part.endswith(".py") else (PROJECT / part).rglob("*.py"))
    ]
    assert not [file for file in files if "leasehold_policy" in file.read_text()]
