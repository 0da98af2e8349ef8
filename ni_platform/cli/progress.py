"""Progress bars: drawn on a terminal, a line per epoch in a log."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ni_platform.cli.output import progress_console

if TYPE_CHECKING:
    from ni_platform.training.events import Event


class _Bars:
    """A block of progress bars on standard error."""

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

    def _update(self, name: str, done: float, total: float, note: str = "") -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, note=note)
        self._bars.update(self._tasks[name], completed=done, total=total, note=note)

    def _log(self, text: str) -> None:
        progress_console.print(text, highlight=False, markup=False)


class TrainingProgress(_Bars):
    """Follows a run: one bar per stage, one line per epoch and per step of the journey."""

    def __init__(self) -> None:
        super().__init__()
        self._epochs: dict[str, int] = {}

    def __call__(self, event: Event | str) -> None:
        """Show one event."""
        from ni_platform.training.events import EpochDone, StageStarted, StepDone

        if isinstance(event, str):
            self._log(f"· {event}")
        elif isinstance(event, StageStarted):
            self._log(
                f"· stage {event.stage}: {event.contents} contents, {event.epochs} epochs, "
                f"{event.workers} worker(s) on {event.device} in {event.precision}"
            )
            self._update(event.stage, event.epoch * event.steps, event.epochs * event.steps)
            self._epochs[event.stage] = event.epochs
        elif isinstance(event, StepDone):
            self._update(
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
            self._log(f"  {event.stage:<10} epoch {event.epoch}/{event.epochs}: {figures}{kept}")


class EventLog(_Bars):
    """A line for each thing that is done."""

    def __call__(self, event: str) -> None:
        """Show one."""
        self._log(f"· {event}")


class ScoringProgress(_Bars):
    """Counts scored contents."""

    def __init__(self) -> None:
        super().__init__()
        self._done = 0

    def __call__(self, scored: int, total: int) -> None:
        """Count contents that were scored just now."""
        self._done += scored
        self._update("scoring", self._done, total)


class CheckProgress(_Bars):
    """Follows data checks: one bar per suite."""

    def __call__(self, suite: str, done: int, total: int) -> None:
        """Show how far a suite is."""
        self._update(suite, done, total)


class DrawingProgress(_Bars):
    """Counts planted A/B tests."""

    def __call__(self, done: int, total: int) -> None:
        """Show how many are drawn."""
        self._update("drawing", done, total)


class CountingProgress(_Bars):
    """Counts files."""

    def __call__(self, done: int, total: int) -> None:
        """Show how many are done."""
        self._update("files", done, total)


class ExtractionProgress(_Bars):
    """Follows attributes: one bar per column."""

    def __call__(self, column: str, done: int, total: int) -> None:
        """Show how many pictures or texts of a column are done."""
        self._update(column, done, total)
