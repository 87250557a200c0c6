"""One mistake at a time at every place of an environment: each gives one line, with its key, value, rule and remedy.

tests/invalid_environments.yaml has those that somebody thought of, contradictions and references above all.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import annotated_types
from pydantic.fields import FieldInfo

import config
from config.problems import model_at
from tests.environments import DELETE, changed, complete, dev
from tests.unit.graph import RULES
from tests.unit.platforms import CHANGES, STORE

BOUNDS = (
    (annotated_types.Ge, "ge", -1, "greater than or equal to"),
    (annotated_types.Gt, "gt", -1, "greater than"),
    (annotated_types.Le, "le", 1, "less than or equal to"),
    (annotated_types.Lt, "lt", 1, "less than"),
)
"""Kind of a bound, its name, on which side of it is outside, and its words."""
TYPES: dict[Any, tuple[Any, str, str]] = {
    int: ("many", "many", "input should be a valid integer, unable to parse string as an integer"),
    float: ("many", "many", "input should be a valid number, unable to parse string as a number"),
    bool: ("perhaps", "perhaps", "input should be a valid boolean, unable to interpret input"),
    str: (["a"], '["a"]', "input should be a valid string"),
}
"""Type of a field to a value of another, how that is shown, and what is said of it."""


@dataclass(frozen=True)
class Mistake:
    """A change of an environment, and the line that it must give."""

    path: str
    value: Any
    line: str


@cache
def valid() -> dict[str, Any]:
    """An environment in which nearly every section is given."""
    sections = {
        "cluster.vpn": {"tag": "tag:edge"},
        "cluster.snapshots.s3": STORE,
        "cluster.readers": {"guest": {"namespaces": ["default"]}},
        "platform.argo.repositories": {"one": {"url": "https://git.example.org/one"}},
        "apps.source": {"url": "https://github.com/you/your-model"},
        "edge": {"hub": "organization/leasehold/hub", "namespaces": ["models"]},
        "charts": {"mirror": "/srv/charts"},
        "images": {"mirror": "https://registry.example.org"},
    }
    return changed(complete(dev()), {**CHANGES["full"], **sections})


def places(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type[config.Model]]]:
    """Every section of a tree, with its model."""
    model = model_at(valid(), path)
    if model is not None and issubclass(model, config.Model):
        yield path, model
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from places(value, (*path, key))


def mistakes() -> Iterator[Mistake]:
    """A strange key, a missing one, another type, and both sides of every bound."""
    for path, model in places(valid()):
        if path:
            yield Mistake(".".join((*path, "qqqq")), 1, f"{'.'.join(path)}.qqqq = 1: unknown key; remove it")
        for name, field in model.model_fields.items():
            if name != "kind":
                yield from of_field(path, name, field)


def of_field(path: tuple[str, ...], name: str, field: FieldInfo) -> Iterator[Mistake]:
    key = ".".join((*path, name))
    described = field.description and field.description != "see its section"
    remedy = f"{'give' if path else 'say'} {field.description}" if described else f"see {config.REFERENCE}"
    remedy = " ".join(remedy.split())
    if field.is_required():
        yield Mistake(key, DELETE, f"{key} = (missing): required; {remedy}")
    kinds = [kind for kind in TYPES if field.annotation in (kind, kind | None)]
    for kind in kinds:
        value, shown, rule = TYPES[kind]
        yield Mistake(key, value, f"{key} = {shown}: {rule}; {remedy}")
    for bound, attribute, side, words in BOUNDS:
        for limit in (getattr(one, attribute) for one in field.metadata if isinstance(one, bound)):
            value = limit + (side if attribute in ("ge", "le") else 0)
            yield Mistake(key, value, f"{key} = {value}: input should be {words} {limit}; {remedy}")


def lines(mistake: Mistake) -> list[str]:
    """What is said of an environment with a mistake."""
    return [str(problem) for problem in config.validate(changed(valid(), {mistake.path: mistake.value}), RULES)[1]]


def test_the_environment_without_a_mistake_is_accepted() -> None:
    """Else the mistake would not be the only one."""
    assert config.validate(valid(), RULES)[1] == []


def test_there_is_a_mistake_of_every_section() -> None:
    """A new section is covered without a line here, if the environment above has it."""
    assert len(list(mistakes())) > 200


def test_every_mistake_gives_exactly_its_line() -> None:
    """Neither hidden by others, nor followed by others: what follows from a mistake is no second one."""
    wrong = {mistake.line: said for mistake in mistakes() if (said := lines(mistake)) != [mistake.line]}
    assert wrong == {}


def test_every_two_mistakes_give_both_lines() -> None:
    """One run, one list: of neighbours in the list above, which often are in one section."""
    for one, other in itertools.pairwise(mistakes()):
        if one.path.startswith(other.path) or other.path.startswith(one.path):
            continue
        both = changed(valid(), {one.path: one.value, other.path: other.value})
        said = {str(problem) for problem in config.validate(both, RULES)[1]}
        assert said == {one.line, other.line}
