"""Progress bars: drawn in a terminal and below a notebook's cell, a line per epoch in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from markupsafe import Markup, escape
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ni_platform.api.notebook import in_notebook

if TYPE_CHECKING:
    from ni_platform.training.events import Event

# A log has no width of its own; 80 columns would fold the tables.
progress_console = Console(stderr=True, width=None if sys.stderr.isatty() else 110)

_SECONDS_BETWEEN_DRAWINGS = 0.25


class Bars(Protocol):
    """A block of progress bars, and lines of what was done."""

    def start(self) -> None:
        """Show it."""

    def stop(self) -> None:
        """Show how it ended."""

    def update(self, name: str, done: float, total: float, note: str) -> None:
        """Show how far the bar `name` is."""

    def log(self, text: str) -> None:
        """Add a line."""


class TerminalBars:
    """Bars on standard error; in a log only the lines."""

    def __init__(self) -> None:
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=progress_console,
            disable=not progress_console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def start(self) -> None:
        """Draw from now on."""
        self._bars.start()

    def stop(self) -> None:
        """Leave what is drawn."""
        self._bars.stop()

    def update(self, name: str, done: float, total: float, note: str) -> None:
        """Show how far the bar `name` is."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
        self._bars.update(self._tasks[name], completed=done, total=total, note=note)

    def log(self, text: str) -> None:
        """Add a line."""
        progress_console.print(text, highlight=False, markup=False)


class NotebookBars:
    """The same below a cell: one output, which is replaced a few times a second.

    It is plain HTML, so that it needs no widgets and stands in the saved notebook as it ended.
    """

    def __init__(self) -> None:
        self._bars: dict[str, tuple[float, float, str]] = {}
        self._lines: list[str] = []
        self._output: Any = None
        self._drawn = 0.0

    def start(self) -> None:
        """Begin the output."""
        from IPython.display import display

        self._output = display(self, display_id=True)

    def stop(self) -> None:
        """Draw for the last time."""
        self._output.update(self)

    def update(self, name: str, done: float, total: float, note: str) -> None:
        """Show how far the bar `name` is."""
        self._bars[name] = (done, total, note)
        self._draw()

    def log(self, text: str) -> None:
        """Add a line."""
        self._lines.append(text)
        self._draw()

    def _draw(self) -> None:
        if time.monotonic() - self._drawn > _SECONDS_BETWEEN_DRAWINGS:
            self._drawn = time.monotonic()
            self._output.update(self)

    def __repr__(self) -> str:
        return "\n".join(self._lines)

    def _repr_html_(self) -> str:
        bars = Markup("").join(
            Markup(
                '<div><progress value="{0}" max="{1}"></progress> {2} '
                "<small>{0:g}/{1:g} {3}</small></div>"
            ).format(done, total, name, note)
            for name, (done, total, note) in self._bars.items()
        )
        lines = Markup("<br>").join(escape(line) for line in self._lines)
        return bars + Markup('<div style="font-size:85%;opacity:.8">{}</div>').format(lines)


class _Followed:
    """What follows a piece of work: a context manager around its bars."""

    def __init__(self) -> None:
        self._bars: Bars = NotebookBars() if in_notebook() else TerminalBars()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def update(self, name: str, done: float, total: float, note: str = "") -> None:
        """Show how far the bar `name` is."""
        self._bars.update(name, done, total, note)

    def log(self, text: str) -> None:
        """Add a line."""
        self._bars.log(text)


class TrainingProgress(_Followed):
    """Follows a run: one bar per stage, one line per epoch and per step of the journey."""

    def __init__(self) -> None:
        super().__init__()
        self._epochs: dict[str, int] = {}

    def __call__(self, event: Event | str) -> None:
        """Show one event."""
        from ni_platform.training.events import EpochDone, StageStarted, StepDone

        if isinstance(event, str):
            self.log(f"· {event}")
        elif isinstance(event, StageStarted):
            self.log(
                f"· stage {event.stage}: {event.contents} contents, {event.epochs} epochs, "
                f"{event.workers} worker(s) on {event.device} in {event.precision}"
            )
            self.update(event.stage, event.epoch * event.steps, event.epochs * event.steps)
            self._epochs[event.stage] = event.epochs
        elif isinstance(event, StepDone):
            self.update(
                event.stage,
                event.epoch * event.steps + event.step,
                self._epochs[event.stage] * event.steps,
                f"loss {event.loss:.4g}, {event.samples_per_second:.0f} contents/s",
            )
        elif isinstance(event, EpochDone):
            figures = ", ".join(
                f"{name} {event.metrics[name]:.4f}"
                for name in (
                    "train_loss",
                    "loss",
                    "pairwise_accuracy",
                    "pairwise_within",
                )
                if event.metrics.get(name) == event.metrics.get(name, float("nan"))
            )
            kept = " *" if event.improved else ""
            self.log(f"  {event.stage:<10} epoch {event.epoch}/{event.epochs}: {figures}{kept}")


class EventLog(_Followed):
    """A line for each thing that is done."""

    def __call__(self, event: str) -> None:
        """Show one."""
        self.log(f"· {event}")


class ScoringProgress(_Followed):
    """Counts scored contents."""

    def __init__(self) -> None:
        super().__init__()
        self._done = 0

    def __call__(self, scored: int, total: int) -> None:
        """Count contents that were scored just now."""
        self._done += scored
        self.update("scoring", self._done, total)


class CheckProgress(_Followed):
    """Follows data checks: one bar per suite."""

    def __call__(self, suite: str, done: int, total: int) -> None:
        """Show how far a suite is."""
        self.update(suite, done, total)


class DrawingProgress(_Followed):
    """Counts planted A/B tests."""

    def __call__(self, done: int, total: int) -> None:
        """Show how many are drawn."""
        self.update("drawing", done, total)


class CountingProgress(_Followed):
    """Counts files."""

    def __call__(self, done: int, total: int) -> None:
        """Show how many are done."""
        self.update("files", done, total)


class ExtractionProgress(_Followed):
    """Follows attributes: one bar per column."""

    def __call__(self, column: str, done: int, total: int) -> None:
        """Show how many pictures or texts of a column are done."""
        self.update(column, done, total)


def say(text: str) -> None:
    """Tell what a person should know beside a result."""
    progress_console.print(f"note: {text}", highlight=False, markup=False)
