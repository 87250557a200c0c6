"""What the stack is for, told in a terminal: a model that goes to production, and those that must not.

Works on a deployed stack through what a person has: the stack outputs, Git, kubectl and HTTPS.
"""

import json
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.table import Table

from rehearsal.outside import services
from rehearsal.outside.repository import NO_BASE, NO_DOCKERFILE, GitError, Repository, example
from rehearsal.outside.services import Services
from rehearsal.outside.waiting import until
from rehearsal.outside.workflows import OVER, Status, Workflows, output, steps

SERVED_SECONDS = 120
ASK_SECONDS = 10
WIDTH = 120
"""Letters of a line in a picture."""


class DemoError(Exception):
    """The story did not go as it is told."""


@dataclass
class Story:
    """One telling."""

    services: Services
    repository: Repository
    workflows: Workflows
    console: Console
    began: float = field(default_factory=time.monotonic)

    def chapter(self, title: str, text: str) -> None:
        """A headline, and what is to be seen."""
        self.console.print(f"\n[bold]{time.monotonic() - self.began:4.0f} s  {title}[/]\n        [dim]{text}[/]")

    def follow(self, name: str) -> Status:
        """A workflow to its end, a line for each step that ended."""
        told: set[str] = set()

        def tell(status: Status) -> None:
            for step in steps(status):
                if step.get("type") == "Pod" and step["phase"] in OVER and step["id"] not in told:
                    told.add(step["id"])
                    sign = "[green]done[/]  " if step["phase"] == "Succeeded" else "[red]failed[/]"
                    said = (str(step.get("message", "")).strip().splitlines() or [""])[-1]
                    self.console.print(
                        f"{time.monotonic() - self.began:4.0f} s    {sign}  {step['displayName']}  {said}"
                    )

        return self.workflows.wait(name, seen=tell)

    def run(self, template: str, expected: str = "Succeeded", **parameters: str) -> Status:
        """A workflow that must end in a way. Raises DemoError where it does not."""
        status = self.follow(self.workflows.start(template, **parameters))
        if status["phase"] != expected:
            raise DemoError(f"{template} ended as {status['phase']}, not as {expected}: {status.get('message', '')}")
        return status

    @property
    def environments(self) -> list[str]:
        """Their names, in the order of promotion."""
        settings = json.loads(self.services.outputs["delivery"])
        return [entry["name"] for entry in settings["manifests"]["environments"]]

    # -- what everybody can see --------------------------------------------------------------------------------

    def serves(self, environment: str, version: str) -> bool:
        """Whether it says that it serves a version; empty: nothing."""
        return self.services.version(environment) == version

    def aliases(self) -> Mapping[str, str]:
        """MLflow's aliases of the model: name to version."""
        wanted = json.loads(self.services.outputs["delivery"])["mlflow"]["model"]
        url = f"{self.services.url('mlflow')}/api/2.0/mlflow/registered-models/get"
        reply = self.services.session("mlflow").get(url, params={"name": wanted}, timeout=ASK_SECONDS)
        reply.raise_for_status()
        return {entry["alias"]: entry["version"] for entry in reply.json()["registered_model"].get("aliases", [])}

    def recorded(self, environment: str) -> dict[str, Any]:
        """What Git says of an environment; empty before its first release."""
        try:
            return dict(self.repository.said(f"environments/{environment}/release.json")["release"] or {})
        except GitError:
            return {}  # no such file yet; a Git server that does not answer is a failed workflow before

    def table(self) -> None:
        """Each environment as it says itself, as MLflow's alias has it and as Git has it. Raises DemoError."""
        aliases, table = self.aliases(), Table(box=None, pad_edge=False)
        for column in ("        environment", "serves", "alias", "in Git", "image"):
            table.add_column(column)
        for name in self.environments:
            said = self.recorded(name)
            wanted, alias = str(said.get("version", "")), aliases.get(name, "")
            until(f"{name} to serve {wanted or 'nothing'}", partial(self.serves, name, wanted), SERVED_SECONDS)
            shown = [version or "-" for version in (wanted, alias, wanted)]
            table.add_row(f"        {name}", *shown, said.get("digest", "-")[:19])
            if alias != wanted:
                raise DemoError(f"{name}: serves {shown[0]}, as Git says, and its alias is {shown[1]}")
        self.console.print(table)

    def verdict(self, run: str) -> None:
        """What the gate found of a run. Raises DemoError where it found nothing."""
        verdicts = self.repository.said(f"evidence/{run}.json")["decision"]["verdicts"]
        failed = [entry for entry in verdicts if entry["outcome"] == "failed"]
        for entry in failed:
            self.console.print(f"        [red]{entry['test']}[/]: {entry['reason']}")
        if not failed:
            raise DemoError(f"the gate has nothing against {run}")


@contextmanager
def beginning(outputs: Mapping[str, Any], console: Console) -> Iterator[Story]:
    """A story of the stack with these outputs, secrets included."""
    with tempfile.TemporaryDirectory() as folder, services.of(outputs, Path(folder)) as known:
        repository = example(known, Path(folder) / "model")
        yield Story(known, repository, Workflows(known.kubectl), console)


def recorder() -> Console:
    """A console that remembers what it shows."""
    return Console(highlight=False, record=True, width=WIDTH)


def save(console: Console, picture: Path) -> None:
    """What a console remembers, as rich's SVG of a terminal without the fonts that it would fetch from elsewhere."""
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(picture), title="make demo", code_format=plain)


def tell(story: Story) -> None:
    """The story."""
    last = story.environments[-1]
    story.chapter("A commit", f"pushed to {story.services.url('git')}/model.git; one workflow does the rest")
    good = story.run("pipeline", revision="main", who="ada", why="the first model")
    release = json.loads(output(good, "release"))
    story.table()

    story.chapter("A person approves", f"the tested image {release['digest'][:19]} goes to {last}; nothing is built")
    words = {"digest": release["digest"], "run": release["run"]}
    story.run("promote-model", **words, who="grace", why="looks good")
    story.table()

    story.chapter("Builds that fail", "no Dockerfile; a base image that is not there: the workflow says why")
    training = json.loads(output(good, "training"))
    for branch, cause in ((NO_DOCKERFILE, "failed to read dockerfile"), (NO_BASE, "models/nobody:1")):
        asked = json.dumps(training | {"revision": story.repository.commits[branch]})
        ended = story.run("build-container-image", "Failed", training=asked)
        if not any(cause in str(step.get("message", "")).lower() for step in steps(ended)):
            raise DemoError(f"the build of {branch} does not name its cause, {cause}")

    for branch, part in (("bad-arch", "answers"), ("bad-size", "memory"), ("slow", "seconds")):
        story.chapter(f"A model that is {branch}", f"trained and built like any other; the gate measures its {part}")
        bad = story.run("pipeline", "Failed", revision=branch, who="ada", why="a mistake")
        story.verdict(json.loads(output(bad, "release"))["run"])
        story.table()
    story.chapter("The end", f"{last} never served anything that had not passed")
