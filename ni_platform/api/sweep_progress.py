"""The progress of a sweep: a table on a terminal, a bar below a cell, lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ni_platform.api.notebook import in_notebook
from ni_platform.api.progress import TrainingProgress, progress_console

if TYPE_CHECKING:
    from ni_platform.training.events import Event
    from ni_platform.tuning.config import SweepConfig
    from ni_platform.tuning.engine.keeper import SweepProgress
    from ni_platform.tuning.files.trial_log import TrialRecord

_SECONDS_BETWEEN_LINES = 30.0
_ROWS = 12


class SweepDisplay:
    """Follows a sweep: bars while encoders are trained, then a table of trials."""

    def __init__(self, config: SweepConfig) -> None:
        self._config = config
        self._bars: TrainingProgress | None = TrainingProgress()
        self._live: Live | None = None
        self._began: tuple[float, int] | None = None
        self._told = 0.0
        self._best: int | None = None

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for display in (self._bars, self._live):
            if display is not None:
                display.__exit__(kind, error, trace)

    def __call__(self, event: Event | SweepProgress | str) -> None:
        """Show one event."""
        from ni_platform.tuning.engine.keeper import SweepProgress

        if isinstance(event, SweepProgress):
            self._show(event)
        elif self._bars is not None:
            self._bars(event)
        else:
            progress_console.print(f"· {event}", highlight=False, markup=False)

    def _show(self, progress: SweepProgress) -> None:
        if self._began is None:
            self._began = time.monotonic(), progress.ended
        if self._bars is not None and in_notebook():
            self._bars.update("trials", progress.ended, progress.trials, self._summary(progress))
            return
        if self._bars is not None:
            self._bars.__exit__(None, None, None)
            self._bars = None
            if progress_console.is_terminal:
                self._live = Live(console=progress_console, auto_refresh=False)
                self._live.__enter__()
        if self._live is not None:
            self._live.update(self._drawn(progress), refresh=True)
            return
        best = progress.best.number if progress.best else None
        over = progress.ended >= progress.trials
        if best != self._best or over or time.monotonic() - self._told > _SECONDS_BETWEEN_LINES:
            self._best, self._told = best, time.monotonic()
            progress_console.print(f"· {self._summary(progress)}", highlight=False, markup=False)

    def _summary(self, progress: SweepProgress) -> str:
        counts = progress.counts
        text = f"{progress.ended}/{progress.trials} trials"
        named = [f"{counts[s]} {s}" for s in ("pruned", "failed") if counts[s]]
        text += f" ({', '.join(named)})" if named else ""
        if progress.best is not None:
            text += f", best {self._config.objective} {_value(progress.best)}"
            text += f" of trial {progress.best.number}"
        if self._began is not None and progress.ended > self._began[1]:
            seconds = (time.monotonic() - self._began[0]) / (progress.ended - self._began[1])
            text += f", {3600 / seconds:,.0f} trials/h"
            text += f", {_duration(seconds * (progress.trials - progress.ended))} left"
        return text

    def _drawn(self, progress: SweepProgress) -> Group:
        table = Table(box=None, pad_edge=False)
        for column in ("trial", "status", "epoch", self._config.objective):
            table.add_column(column, justify="left" if column == "status" else "right")
        for trial in (*progress.running, *progress.last)[:_ROWS]:
            style = {"running": "bold", "failed": "red"}.get(trial.status, "dim")
            table.add_row(
                str(trial.number), trial.status, str(len(trial.epochs)), _value(trial), style=style
            )
        bar = ProgressBar(total=progress.trials, completed=progress.ended, width=60)
        return Group(Text(self._summary(progress)), bar, table)


def _value(trial: TrialRecord) -> str:
    return "–" if trial.value is None else f"{trial.value:.4f}"


def _duration(seconds: float) -> str:
    minutes = int(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
