"""An environment file as it is rehearsed: read once, unchanged, with the mistakes that YAML hides."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import config
from apps import rules as apps_rules
from cluster import rules as cluster_rules
from config import PROJECT, Problem, yaml_text
from infra import rules
from mlops import rules as platform_rules


class Unreadable(Exception):  # noqa: N818  a state of the file
    """The file cannot be used at all. The text says why."""


class _Loader(yaml.SafeLoader):
    """Reads YAML and remembers keys that are given twice: YAML takes the last one without a word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.twice: list[tuple[str, int]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; note the second place of every key."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                self.twice.append((str(key.value), key.start_mark.line + 1))
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _lines(node: yaml.Node | None, path: str = "") -> Iterator[tuple[str, int]]:
    """Where everything below a node is."""
    if isinstance(node, yaml.MappingNode):
        parts = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        parts = [(str(index), value, value) for index, value in enumerate(node.value)]
    else:
        parts = []
    for name, place, value in parts:
        at = f"{path}.{name}" if path else name
        yield at, place.start_mark.line + 1
        yield from _lines(value, at)


@dataclass(frozen=True)
class EnvironmentFile:
    """One Pulumi.<stack>.yaml."""

    path: Path
    config: dict[str, Any]
    """The `config` mapping, as written."""
    twice: tuple[tuple[str, int], ...] = ()
    """Keys given twice, with the line of the second."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line of everything in the file, by its keys joined by dots."""

    @classmethod
    def read(cls, path: Path) -> "EnvironmentFile":
        """Read a file; raises Unreadable."""
        try:
            with yaml_text.only_yaml():
                loader = _Loader(path.read_text())
                root = loader.get_single_node()
                data = None if root is None else loader.construct_document(root)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}; name another with --config-file or --stack") from error
        except yaml_text.NotYaml as error:
            raise Unreadable(f"{path} is not YAML: {error}") from error
        found = data.get("config") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise Unreadable(f"{path} has no `config` mapping; Pulumi.dev.yaml shows one")
        try:
            json.dumps(found, default=str, skipkeys=True)
        except (ValueError, RecursionError):
            raise Unreadable(f"{path}: an alias (*) stands inside of what it names (&); write it out") from None
        tree = {str(key): value for key, value in found.items()}
        return cls(path, tree, tuple(loader.twice), dict(_lines(root)))

    @property
    def tree(self) -> dict[str, Any]:
        """The program's part, without the namespace of its keys."""
        prefix = f"{PROJECT}:"
        return {key.removeprefix(prefix): value for key, value in self.config.items() if key.startswith(prefix)}

    @property
    def needs_cloud(self) -> bool:
        """Whether anything is to be made at an OpenStack site."""
        infra, cluster = self.tree.get("infra"), self.tree.get("cluster")
        if infra is None and isinstance(cluster, dict) and cluster.get("kind") == "existing":
            return False
        return not (isinstance(infra, dict) and infra.get("kind") == "hosts")

    def problems(self, extra: Mapping[str, Any] | None = None) -> list[Problem]:
        """What is wrong with it, as far as that can be said without a cloud.

        `extra` is configuration beside the file, without the namespace of its keys.
        """
        tree = {**self.tree, **(extra or {})}
        known = {name: value for name, value in tree.items() if name in config.Environment.model_fields}
        checks = [rules.check, cluster_rules.check, platform_rules.check, apps_rules.check]
        return [*self.duplicates(), *config.validate(known, checks)[1]]

    def located(self, problem: Problem) -> str:
        """A problem in one line, with the line of the file where it is, or where what lacks it is."""
        at = f"config.{PROJECT}:{problem.key}"
        while at and at not in self.lines:
            at = at.rpartition(".")[0]
        line = self.lines.get(at)
        return f"{problem} (line {line})" if line and at != "config" else str(problem)

    def duplicates(self) -> Iterator[Problem]:
        """Keys given twice; the real CLI refuses such a file too."""
        for key, line in self.twice:
            yield Problem(key, f"(line {line})", "given twice", "keep one")
