"""What is wrong with an environment: all of it in one pass, each thing as key, value, rule and remedy."""

import copy
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import pulumi
from pydantic import BaseModel, ValidationError

from config.environment import Environment

REFERENCE = "docs/configuration.md"
Path = tuple[int | str, ...]
"""Where something stands in the tree."""


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
    "bucket": "unknown",
    "end": "2999-01-01 00:00",
    "endpoint": "https://192.0.2.1",
    "host_key": "ssh-ed25519 AAAA",
    "image": "unknown",
    "namespaces": ["unknown"],
    "private_cidr": "0.0.0.0/0",
    "region": "unknown",
    "role": "agent",
    "size_gb": 1,
    "tag": "tag:unknown",
}
"""What stands in for a required value that is wrong, while the rest of the environment is checked."""

Rule = Callable[[Environment], Iterator[Problem]]


def shown(value: object) -> str:
    """Render a value on one line, shortened. Key material, and who logs in by a URL, is withheld."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if "PRIVATE KEY" in text or "key-data" in text:
        return "[withheld]"
    text = re.sub(r"://[^/@\s]*@", "://[withheld]@", text)
    return text if len(text) <= 60 else text[:57] + "..."


def validate(raw: Mapping[str, Any], rules: Sequence[Rule] = ()) -> tuple[Environment | None, list[Problem]]:
    """Check a raw tree and every rule in one pass.

    What is wrong is left out and the rest is checked again, so that one mistake does not hide the others.
    Returns the environment only when nothing is wrong.
    """
    problems: list[Problem] = []
    damaged: set[Path] = set()
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


def _follows_from(damaged: set[Path], problem: Problem) -> bool:
    """Whether a rule is broken only because of a value that was wrong by itself."""
    key = tuple(problem.key.split("."))
    for path in damaged:
        steps = tuple(str(step) for step in path)
        itself, reference = key[: len(steps)] == steps, steps[-1] == problem.value
        counted = steps[: len(key)] == key and (len(steps) == len(key) + 1 or steps[-1] == "role")
        if itself or reference or counted:
            return True
    return False


def _repair(tree: Any, path: Path) -> bool:
    """Put something harmless where something wrong stands; False where nothing fits."""
    parent, name = lookup(tree, path[:-1]), path[-1] if path else ""
    if isinstance(parent, dict) and name in PLACEHOLDERS:
        parent[name] = copy.deepcopy(PLACEHOLDERS[str(name)])
    elif isinstance(parent, dict):
        parent.pop(name, None)
    elif isinstance(parent, list):
        parent[:] = [value for index, value in enumerate(parent) if index != name]
    else:
        return parent is None
    return True


def _problem(tree: Any, path: Path, error: Any) -> Problem:
    key = ".".join(str(step) for step in path)
    parent, name = path[:-1], str(path[-1]) if path else ""
    model = model_at(tree, parent)
    # An element of a map or a list is described by the field that holds the map or the list.
    depth = next(depth for depth in range(len(parent), -1, -1) if depth == 0 or model_at(tree, path[:depth]))
    description = _description(model_at(tree, path[:depth]), str(path[depth])) if path else None
    described = description is not None and description != "see its section"
    remedy = f"{'give' if parent else 'say'} {description}" if described else f"see {REFERENCE}"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, list(model.model_fields) if model else [], n=1)
        return Problem(key, shown(error["input"]), "unknown key", f"did you mean {near[0]}?" if near else "remove it")
    if error["type"] == "missing":
        return Problem(key, "(missing)", "required", remedy)
    if error["type"].startswith("union_tag"):
        *kinds, last = _kinds(_annotation(tree, path))
        value = lookup(tree, (*path, "kind"))
        return Problem(f"{key}.kind", shown(value), f"one of {', '.join(kinds)} and {last}", remedy)
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(key, shown(error["input"]), message[:1].lower() + message[1:], remedy)


def _description(model: type[BaseModel] | None, name: str) -> str | None:
    field = model.model_fields.get(name) if model else None
    return field.description if field else None


# -- the tree beside its models: what the annotations say about a path ---------------------------------------------


def lookup(tree: Any, path: Sequence[int | str]) -> Any:
    """The value at a path, or None."""
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def model_at(tree: Any, path: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that describes what stands at a path of the tree."""
    model = _chosen(_annotation(tree, path), lookup(tree, path))
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _annotation(tree: Any, path: Sequence[int | str]) -> Any:
    """The type that stands at a path; None where no model knows it."""
    annotation: Any = Environment
    for depth, step in enumerate(path):
        annotation = _within(_chosen(annotation, lookup(tree, path[:depth])), step)
    return annotation


def _within(annotation: Any, step: int | str) -> Any:
    """The type one step further down: a field, a map's values, or a list's elements."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(step))
        return field.annotation if field else None
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return arguments[1]
    return arguments[0] if get_origin(annotation) is tuple else None


def _alternatives(annotation: Any) -> list[Any]:
    """A type without its wrappers: the members of a union, but for None."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (dict, tuple, Literal) or not get_args(annotation):
        return [] if annotation in (None, type(None)) else [annotation]
    return [found for member in get_args(annotation) for found in _alternatives(member)]


def _kinds(annotation: Any) -> dict[str, Any]:
    """The members of a union of models by the kind that selects them; empty for anything else."""
    members = _alternatives(annotation)
    if len(members) < 2 or not all("kind" in getattr(member, "model_fields", ()) for member in members):
        return {}
    return {kind: member for member in members for kind in get_args(member.model_fields["kind"].annotation)}


def _chosen(annotation: Any, value: Any) -> Any:
    """The member of a union that a value selects by its kind."""
    kinds = _kinds(annotation)
    if kinds:
        kind = value.get("kind") if isinstance(value, dict) else None
        return kinds.get(kind) if isinstance(kind, str) else None
    members = _alternatives(annotation)
    return members[0] if members else None


def _location(tree: Any, location: Path) -> Path:
    """Pydantic's location without the tags of unions and the `[key]` marks, which are in no file."""
    path: Path = ()
    tag = False
    for step in location:
        if step == "[key]" or tag:
            tag = False
            continue
        path = (*path, step)
        tag = bool(_kinds(_annotation(tree, path)))
    return path
