"""What a person sees of a run: running steps with their seconds, then one block of lines per change."""

import threading
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from rehearsal.engine.model import Step, Summary, name_of, type_of

SIGNS = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "replace": ("+-", "magenta"),
    "delete": ("-", "red"),
    "delete-replaced": ("--", "red"),
    "read": ("<", "cyan"),
}
_ROWS = 12


class Display(Protocol):
    """Events of a run; they come from several threads. Texts hold no secrets."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and leave the terminal as it was."""

    def started(self, op: str, urn: str) -> None:
        """Say that work on a resource begins."""

    def finished(self, step: Step) -> None:
        """Show a step that is done, or that a preview would do."""

    def failed(self, urn: str, cause: str) -> None:
        """Show that a resource failed."""

    def notice(self, text: str) -> None:
        """Show one line beside the steps."""


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def started(self, op: str, urn: str) -> None:
        """Ignore it."""

    def finished(self, step: Step) -> None:
        """Ignore it."""

    def failed(self, urn: str, cause: str) -> None:
        """Ignore it."""

    def notice(self, text: str) -> None:
        """Ignore it."""


class Terminal:
    """Lines on a console; on a terminal also a live list of what is running."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to the console, standard output by default."""
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._running: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Start the live list when there is a terminal."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, get_renderable=self._table, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the live list."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self) -> Text:
        with self._lock:
            rows = list(self._running.items())
        now = time.monotonic()
        lines = [f"   {op} {name_of(urn)} ({now - since:.0f}s)" for urn, (op, since) in rows[:_ROWS]]
        if len(rows) > _ROWS:
            lines.append(f"   and {len(rows) - _ROWS} more")
        return Text("\n".join(lines), style="dim")

    def started(self, op: str, urn: str) -> None:
        """Add it to the live list."""
        with self._lock:
            self._running[urn] = (op, time.monotonic())

    def finished(self, step: Step) -> None:
        """Print the change, each differing property and the reasons; nothing for what stays the same."""
        self._ended(step.urn)
        if step.op not in SIGNS:
            return
        sign, colour = SIGNS[step.op]
        took = f" [dim]({step.seconds:.1f}s)[/]" if step.seconds >= 0.1 else ""
        lines = [f"[{colour}]{sign:>2} {step.op:<7}[/] {escape(step.type)} [bold]{escape(step.name)}[/]{took}"]
        for change in step.changes:
            lines.append(f"       [dim]{escape(change.path)}:[/] {escape(change.old)} => {escape(change.new)}")
        lines.extend(f"       [dim]because[/] {escape(reason)}" for reason in step.reasons)
        self.console.print("\n".join(lines))

    def failed(self, urn: str, cause: str) -> None:
        """Print the failure."""
        self._ended(urn)
        self.console.print(
            f"[bold red] ! failed [/] {escape(type_of(urn))} [bold]{escape(name_of(urn))}[/]: {escape(cause)}"
        )

    def notice(self, text: str) -> None:
        """Print the line."""
        self.console.print(f"[dim] * {escape(text)}[/]")

    def _ended(self, urn: str) -> None:
        with self._lock:
            self._running.pop(urn, None)


def totals(summary: Summary) -> str:
    """One line: `3 create, 1 replace, 12 same in 41s`."""
    counts = ", ".join(f"{count} {op}" for op, count in sorted(summary.counts.items()))
    return f"{counts or 'nothing to do'} in {summary.seconds:.0f}s"
