"""A toy cloud and tiny programs, shared by the tests of the engine."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rehearsal.engine import Engine, Silent, Step, Summary
from rehearsal.engine.dynamic import Dynamic
from rehearsal.engine.state import State
from rehearsal.paths import Root
from rehearsal.protocol import Call, Diff, Props, Provider, ProviderError, Result

PASSPHRASE = "correct horse"
SALT = "v1:abdnTEkSvlo=:v1:e463UZw661fo4rkg:/DTZNxnIBYIsmJr4ozCndLa3e90ygQ=="
PRELUDE = """
import pulumi
from pulumi import ResourceOptions as O

class Toy(pulumi.CustomResource):
    out: pulumi.Output[str]
    def __init__(self, name, opts=None, **props):
        super().__init__("toy:index:Toy", name, {"out": None, **props}, opts)

class Group(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("toy:index:Group", name, None, opts)
"""


def urn(name: str, types: str = "toy:index:Toy") -> str:
    """URN of a toy of the project `p`, stack `dev`."""
    return f"urn:pulumi:dev::p::{types}::{name}"


class Toys:
    """A provider of objects in memory. `fixed` cannot change in place; `slow` seconds are slept; `broken` fails."""

    def __init__(self) -> None:
        """Start empty."""
        self.objects: dict[str, Props] = {}
        self.log: list[str] = []
        self.count = 0
        self.delete_first = False

    def check(self, _call: Call, news: Props) -> Props:
        """Refuse `bad`."""
        if news.get("bad"):
            raise ProviderError(f"bad is {news['bad']}")
        return news

    def diff(self, _call: Call, olds: Result, news: Props) -> Diff:
        """Compare inputs."""
        old = olds.inputs or {}
        changed = tuple(key for key in sorted({*old, *news}) if old.get(key) != news.get(key))
        replaces = tuple(key for key in changed if key == "fixed")
        return Diff(changed, replaces, self.delete_first)

    def create(self, call: Call, news: Props) -> Result:
        """Make one, marked with its URN."""
        name = call.urn.rpartition("::")[2]
        self.log.append(f"create {name}")
        time.sleep(news.get("slow", 0))
        if news.get("broken"):
            raise ProviderError(f"broken: {news['broken']}")
        self.count += 1
        id_ = f"{name}-{self.count}"
        self.objects[id_] = {**news, "urn": call.urn}
        return Result(id_, {**news, "out": f"out of {id_}"})

    def read(self, _call: Call, olds: Result) -> Result | None:
        """Look it up."""
        if olds.id not in self.objects:
            return None
        inputs = {key: value for key, value in self.objects[olds.id].items() if key != "urn"}
        return Result(olds.id, {**inputs, "out": f"out of {olds.id}"}, inputs)

    def update(self, call: Call, olds: Result, news: Props) -> Result:
        """Change it."""
        self.log.append(f"update {call.urn.rpartition('::')[2]}")
        self.objects[olds.id] = {**news, "urn": call.urn}
        return Result(olds.id, {**news, "out": olds.outputs["out"]})

    def delete(self, call: Call, olds: Result) -> None:
        """Remove it."""
        self.log.append(f"delete {call.urn.rpartition('::')[2]}")
        self.objects.pop(olds.id, None)

    def find(self, call: Call, _news: Props) -> str | None:
        """Find by the mark."""
        found = [id_ for id_, item in self.objects.items() if item["urn"] == call.urn and id_ not in call.known]
        return found[0] if found else None


class World:
    """One project folder, one toy cloud, and engines on them."""

    def __init__(self, folder: Path) -> None:
        """Write the project's files."""
        self.folder, self.toys, self.config = folder, Toys(), folder / "Pulumi.dev.yaml"
        (folder / "Pulumi.yaml").write_text("name: p\nruntime: python\n")
        self.config.write_text(f"encryptionsalt: {SALT}\nconfig: {{}}\n")
        self.root, self.stack = Root(folder / ".rehearsal"), "dev"
        self.display: Any = Silent()
        self.providers: dict[str, Provider] = {"toy:index:Toy": self.toys, "pulumi-python:dynamic:Resource": Dynamic()}

    def program(self, text: str) -> "World":
        """Write `__main__.py` after the prelude."""
        (self.folder / "__main__.py").write_text(PRELUDE + text)
        return self

    def engine(self, passphrase: str = PASSPHRASE, extra: Props | None = None) -> Engine:
        """Make an engine, as a new command would."""
        invokes = {"toy:index:double": lambda _call, args: {"result": 2 * args["value"]}}
        return Engine(
            self.root, self.stack, self.config, self.folder, self.providers, invokes, passphrase, self.display, extra
        )

    def up(self, text: str | None = None, **options: Any) -> Summary:
        """Run `up` on a program."""
        if text is not None:
            self.program(text)
        self.toys.log.clear()
        return self.engine().up(**options)

    @property
    def path(self) -> Path:
        """The state file."""
        return self.root.stacks / f"{self.stack}.json"

    def state(self) -> State:
        """Read the state."""
        return State(self.path, PASSPHRASE, SALT, readonly=True)

    def names(self) -> list[str]:
        """Names of the objects that exist, without their numbers."""
        return sorted(id_.rpartition("-")[0] for id_ in self.toys.objects)


def ops(summary: Summary) -> Mapping[str, str]:
    """Operation by name, toys only."""
    return {step.name: step.op for step in summary.steps if step.type != "pulumi:pulumi:Stack"}


def step(steps: Sequence[Step], name: str) -> Step:
    """The step of one resource."""
    return next(item for item in steps if item.name == name)
