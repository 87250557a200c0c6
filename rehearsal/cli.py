"""The commands of a rehearsal. Exit codes: 0 done, 1 a resource failed, 2 bad input, 3 changes where none were
expected, 130 interrupted.
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

import config
from rehearsal import demo, mirrors, policy, recover, report
from rehearsal.arguments import key_values, parser
from rehearsal.cloud import Cloud, CloudError, plan
from rehearsal.engine import Engine, EngineError, Summary, Terminal, totals
from rehearsal.engine.dynamic import Dynamic
from rehearsal.engine.program import encryption_salt
from rehearsal.engine.references import TYPE as REFERENCE
from rehearsal.engine.references import StackReferences
from rehearsal.environment import EnvironmentFile, Unreadable
from rehearsal.kubernetes import mirror as artifacts
from rehearsal.paths import PROJECT, Root
from rehearsal.protocol import Provider
from rehearsal.providers import INVOKES, RESOURCES
from rehearsal.pulumi_cli import NoCli, PulumiCli

DONE, FAILED, BAD_INPUT = 0, 1, 2
PREFIX = f"{config.PROJECT}:"
PROVIDERS: Mapping[str, Provider] = {**RESOURCES, "pulumi-python:": Dynamic()}


@dataclass(frozen=True)
class Rehearsal:
    """One stack of one rehearsal, and the commands on it. Each returns an exit code."""

    root: Root
    stack: str
    config_file: Path
    use_cli: bool
    console: Console
    extra: dict[str, Any] = field(default_factory=dict)
    """Configuration beside the environment file, by full key."""

    @cached_property
    def file(self) -> EnvironmentFile:
        """The environment file."""
        return EnvironmentFile.read(self.config_file)

    @cached_property
    def cloud(self) -> Cloud:
        """The local cloud of this root."""
        return Cloud(self.root, self.progress)

    @cached_property
    def progress(self) -> Callable[[str], None]:
        """Prints a step, with the seconds since the first."""
        begin = time.monotonic()

        def progress(text: str) -> None:
            self.console.print(f"[dim]{time.monotonic() - begin:6.1f} s  {text}[/]")

        return progress

    @property
    def given(self) -> dict[str, Any]:
        """Configuration of ours beside the environment file, without the namespace of its keys."""
        return {key.removeprefix(PREFIX): value for key, value in self.extra.items() if key.startswith(PREFIX)}

    @property
    def report_path(self) -> Path:
        """Where the report of the last run is kept."""
        return self.root.stacks / f"{self.stack}.report.json"

    def engine(self) -> Engine:
        """Our own engine on this stack."""
        known = passphrase(self.root)
        others = StackReferences(self.root.stacks, config.PROJECT, known)
        return Engine(
            self.root,
            self.stack,
            self.config_file,
            PROJECT,
            {**PROVIDERS, REFERENCE: others},
            INVOKES,
            known,
            Terminal(self.console),
            self.extra,
        )

    def cli(self) -> PulumiCli:
        """The real engine on this stack."""
        passphrase(self.root)  # made now, if there is none: the CLI reads its file
        return PulumiCli(self.root, self.stack, self.config_file, self.extra)

    # -- commands ----------------------------------------------------------------------------------------------

    def cloud_command(self, action: str) -> int:
        """Start, end, empty or show the local cloud."""
        if action == "up":
            self.cloud.up(plan(self.file.config))
        elif action == "down":
            self.cloud.down()
        elif action == "reset":
            self.cloud.reset()
        if action in ("up", "status"):
            report.Report(self.stack, "own", tuple(self.cloud.status())).show(self.console)
        return DONE

    def up(self, options: argparse.Namespace) -> int:
        """Deploy."""
        if not self.prepare():
            return BAD_INPUT
        if self.use_cli:
            begin = time.monotonic()
            words = [*flags("--replace", options.replace), *flags("--target", options.target)]
            words += ["--expect-no-changes"] if options.expect_no_changes else []
            code = self.cli().run("up", "--yes", "--parallel", str(options.parallel), *words)
            report.of_cli(self.stack, self.parts(), time.monotonic() - begin).save(self.report_path)
            return code
        summary = self.engine().up(
            parallel=options.parallel,
            replace=options.replace,
            target=options.target,
            expect_no_changes=options.expect_no_changes,
        )
        report.of_run(self.stack, self.parts(), summary).save(self.report_path)
        return self.conclude(summary, "up")

    def rehearse(self, options: argparse.Namespace) -> int:
        """Deploy, then show what others get and what was real."""
        code = self.up(options)
        if code == DONE:
            self.outputs(as_json=False, show_secrets=False)
        if found := report.Report.load(self.report_path):
            found.show(self.console)
        return code

    def preview(self, options: argparse.Namespace) -> int:
        """Show what would change."""
        # What is printed as JSON must be JSON alone.
        if not self.prepare(quiet=options.json):
            return BAD_INPUT
        if self.use_cli:
            words = [*flags("--replace", options.replace), *flags("--target", options.target)]
            words += ["--json"] if options.json else ["--diff"]
            return self.cli().run("preview", *words, *([] if options.refresh else ["--refresh=false"]))
        engine = self.engine() if not options.json else self.quiet().engine()
        planned = engine.preview(refresh=options.refresh, replace=options.replace, target=options.target)
        if options.json:
            print(json.dumps(planned.to_json(), indent=1))
            return planned.exit_code
        return self.conclude(planned, "preview")

    def policy(self, _options: argparse.Namespace) -> int:
        """Let every rule judge what the environment's program asks for: on paper, or by the CLI's preview."""
        if self.use_cli:
            words = ("--policy-pack", str(PROJECT / "policy"), "--refresh=false")
            return self.cli().run("preview", *words) if self.prepare() else BAD_INPUT
        expected = {**artifacts.expected(self.file.tree), **self.given}
        if self.refused(self.file.problems(expected)):
            return BAD_INPUT
        isolate({})
        extra = {**{PREFIX + key: value for key, value in expected.items()}, **self.extra}
        known = passphrase(self.root) if encryption_salt(self.config_file) else secrets.token_urlsafe(32)
        asked = policy.asked_for(self.file, self.stack, providers=PROVIDERS, passphrase=known, extra=extra)
        judgement = policy.judge(asked)
        print("\n".join(judgement.lines))
        return FAILED if judgement.found else DONE

    def destroy(self, options: argparse.Namespace) -> int:
        """Remove everything; a rehearsal's data are throw-away, so protection is taken off first."""
        if self.file.needs_cloud:
            self.start_cloud()
        if self.use_cli:
            words = ["destroy", "--yes", "--continue-on-error"]
            return self.cli().run(*words) if options.keep_protected else self.cli().destroy([])
        engine = self.engine()
        if not options.keep_protected and (found := engine.unprotect()):
            self.console.print(f"[dim]unprotected {len(found)} resources (for real: pulumi state unprotect --all)[/]")
        swept = self.file.needs_cloud and not options.keep_protected
        if swept:
            # What the state does not know may use what it knows, which the site would keep for as long.
            recover.sweep(self.file, self.stack, engine.ids(), self.progress, data=True)
        summary = recover.destroy(engine, self.progress)
        if summary.failures:
            failed = {failure.urn for failure in summary.failures}
            kept = [urn for urn in engine.remaining() if urn not in failed]
            recover.say_left([f"{urn}: kept, since something that needs it could not be removed" for urn in kept])
        if summary.failures or not swept:
            return self.conclude(summary, "destroy")
        left = recover.sweep(self.file, self.stack, engine.ids(), self.progress, data=True)
        return self.conclude(summary, "destroy") or recover.say_left(left)

    def recover(self, options: argparse.Namespace) -> int:
        """Settle what was interrupted, take up what is there by its mark, deploy, and remove what is there twice."""
        if not self.prepare():
            return BAD_INPUT
        if self.use_cli:
            return recover.by_cli(self.cli(), self.file, self.stack)
        engine = self.engine()
        summary = engine.up(parallel=options.parallel, refresh=True, adopt=True)
        report.of_run(self.stack, self.parts(), summary).save(self.report_path)
        code = self.conclude(summary, "recover")
        if code != DONE or not self.file.needs_cloud:
            return code
        return recover.say_left(recover.sweep(self.file, self.stack, engine.ids(), self.progress))

    def refresh(self) -> int:
        """Record what is there."""
        if self.file.needs_cloud:
            self.start_cloud()
        if self.use_cli:
            return self.cli().run("refresh", "--yes")
        return self.conclude(self.engine().refresh(), "refresh")

    def outputs(self, *, as_json: bool, show_secrets: bool) -> int:
        """Print the stack outputs."""
        if self.use_cli:
            options = (["--json"] if as_json else []) + (["--show-secrets"] if show_secrets else [])
            return self.cli().outputs(options)
        found = self.engine().outputs(show_secrets)
        if as_json:
            print(json.dumps(found, indent=1))
            return DONE
        for name, value in found.items():
            self.console.print(f"[bold]{name}[/]")
            self.console.print(render(value), markup=False, highlight=False, soft_wrap=True)
        return DONE

    def demo(self, picture: Path | None) -> int:
        """Tell the story of a model on the deployed stack; `picture` gets it as SVG."""
        isolate(self.cloud.environment() if self.file.needs_cloud else {})
        console = demo.recorder() if picture else self.console
        with demo.beginning(self.engine().outputs(show_secrets=True), console) as story:
            demo.tell(story)
        if picture:
            demo.save(console, picture)
        return DONE

    def report(self, *, as_json: bool) -> int:
        """Print what was real and what stood in, at the last `up`."""
        found = report.Report.load(self.report_path)
        if found is None:
            self.console.print(f"stack {self.stack} was not deployed here yet; run: make rehearse ENV={self.stack}")
            return BAD_INPUT
        if as_json:
            print(json.dumps(found.to_json(), indent=1))
        else:
            found.show(self.console)
        return DONE

    # -- steps -------------------------------------------------------------------------------------------------

    def prepare(self, *, quiet: bool = False) -> bool:
        """Refuse what can be refused without a cloud, then start the cloud; True when the program may run.

        With a cloud that runs already, the program says everything at once, the site's own objections included.
        """
        problems = list(self.file.duplicates())
        if not self.file.needs_cloud:
            isolate({})
        elif not self.cloud.running():
            problems = self.file.problems({**mirrors.expected(self.file.tree), **self.given})
        if self.refused(problems):
            return False
        (self.quiet() if quiet else self).start()
        return True

    def refused(self, problems: Sequence[config.Problem]) -> bool:
        """Tell what is wrong with the environment, each with its line; whether anything is."""
        if problems:
            print_problems([self.file.located(problem) for problem in sorted(set(problems))])
        return bool(problems)

    def start(self) -> None:
        """Start what the environment file needs: the cloud, and mirrors of what its machines download and pull."""
        # Machines that exist already may be those of a rehearsal; others cannot reach a mirror on this computer.
        if not (self.file.needs_cloud or self.cloud.running()):
            return
        with mirrors.made(self.file.tree, self.given, self.root.cloud, self.progress) as found:
            if self.file.needs_cloud:
                self.start_cloud()
            self.extra.update({PREFIX + key: value for key, value in found.config(self.cloud).items()})

    def start_cloud(self) -> None:
        """Make the cloud run with what the environment file names, and point the program to it."""
        self.cloud.up(plan(self.file.config))
        isolate(self.cloud.environment())

    def quiet(self) -> "Rehearsal":
        """The same, printing to standard error."""
        return replace(self, console=Console(stderr=True, highlight=False))

    def parts(self) -> list[Any]:
        """Parts of the cloud, where one is needed."""
        return [*(self.cloud.status() if self.file.needs_cloud else []), *mirrors.parts(self.file.tree)]

    def conclude(self, summary: Summary, command: str) -> int:
        """Say how it ended."""
        self.console.print(f"[bold]{command}[/]: {totals(summary)}")
        for failure in summary.failures:
            print(f"error: {failure.urn}: {failure.cause}", file=sys.stderr)
        if summary.failures:
            print(f"nothing is lost: mend the cause, then run `{command}` again", file=sys.stderr)
        if command in ("up", "preview") and not summary.changed and summary.exit_code == DONE:
            self.console.print("nothing changed" if command == "up" else "nothing would change")
        return summary.exit_code


def render(value: Any) -> str:
    """An output for people: text as it is, everything else as indented JSON."""
    return value.rstrip("\n") if isinstance(value, str) else json.dumps(value, indent=1)


def flags(name: str, values: Sequence[str]) -> list[str]:
    """Repeat an option for every value."""
    return [word for value in values for word in (name, value)]


def print_problems(lines: Sequence[str]) -> None:
    """Bad input, one line each."""
    print(f"error: {len(lines)} problem(s) in the environment (keys: docs/configuration.md):", file=sys.stderr)
    for line in lines:
        print(f"  {line}", file=sys.stderr)


def isolate(environment: dict[str, str]) -> None:
    """Point openstacksdk at the rehearsed cloud only: a login of the user's own must never be used here."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        del os.environ[name]
    os.environ.update(environment)


def passphrase(root: Root) -> str:
    """The passphrase of the states in this root: Pulumi's variables, else one made once, in a file of the owner's."""
    given = os.environ.get("PULUMI_CONFIG_PASSPHRASE")
    if given:
        return given
    file = Path(os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE") or root.path / "passphrase")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(secrets.token_urlsafe(32))
    return file.read_text().strip()


def run(rehearsal: Rehearsal, options: argparse.Namespace) -> int:
    """Do one command."""
    match options.command:
        case "cloud":
            return rehearsal.cloud_command(options.action)
        case "outputs":
            return rehearsal.outputs(as_json=options.json, show_secrets=options.show_secrets)
        case "report":
            return rehearsal.report(as_json=options.json)
        case "refresh":
            return rehearsal.refresh()
        case "demo":
            return rehearsal.demo(options.picture)
        case _:
            code: int = getattr(rehearsal, options.command)(options)
            return code


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, do the command, say what went wrong in a sentence."""
    options = parser().parse_args(words)
    stack = getattr(options, "stack", "dev")
    folder = getattr(options, "root", None)
    rehearsal = Rehearsal(
        root=Root(folder.resolve()) if folder else Root.default(),
        stack=stack,
        config_file=getattr(options, "config_file", PROJECT / f"Pulumi.{stack}.yaml").resolve(),
        use_cli=getattr(options, "engine", "own") == "pulumi",
        console=Console(highlight=False, soft_wrap=True),
    )
    try:
        rehearsal.extra.update(key_values(getattr(options, "config", [])))
        return run(rehearsal, options)
    except KeyboardInterrupt:
        print("interrupted; run it again to go on", file=sys.stderr)
        return 130
    except (Unreadable, NoCli) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except (EngineError, CloudError, demo.DemoError, TimeoutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(error, "exit_code", FAILED)
    except Exception as error:
        # The program refused its input: config.BadEnvironment, which another import of config may have defined.
        if getattr(error, "exit_code", None) == BAD_INPUT:
            print(f"error: {error}", file=sys.stderr)
            return BAD_INPUT
        raise
