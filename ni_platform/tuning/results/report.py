"""The report of a sweep: best trials, counts and plots, in its folder and in MLflow."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ni_platform.experiment import OnEvent
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tuning.files.journal import read_trials
from ni_platform.tuning.results import plots
from ni_platform.tuning.results.finding import find_sweep
from ni_platform.tuning.results.page import Plot, report_page
from ni_platform.tuning.results.parallel_plot import MAX_AXES, parallel_figure
from ni_platform.tuning.results.parameters import (
    EVALUATOR,
    FEWEST_TRIALS,
    MOST_TRIALS,
    ParameterAxis,
    importances,
    parameter_axes,
)
from ni_platform.tuning.results.promotion import FILE_NAME as PROMOTION_FILE
from ni_platform.tuning.results.summary import SweepSummary, summarize, trial_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTIFACTS = "report"
PAGE = "index.html"
TABLE = "trials.csv"


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """A report and where it stands."""

    summary: SweepSummary
    importances: dict[str, float] | None
    """Share of each parameter; None with too few completed trials."""
    folder: Path
    """`index.html`, `trials.csv` and the plots."""
    run_id: str
    """The sweep's run, which has them as artifacts `report/`."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return self.summary.to_json() | {
            "importances": self.importances,
            "page": str(self.folder / PAGE),
            "run_id": self.run_id,
        }


def report_sweep(
    name: str,
    *,
    storage: str | Path | None = None,
    output: str | Path | None = None,
    on_event: OnEvent = lambda event: None,
) -> SweepReport:
    """Write the report of a sweep, running or over, from its journal.

    It is kept in the folder `report` of the sweep, logged to the sweep's run as `report/`, and
    copied to `output` if that is given. An earlier report is replaced.

    Raises:
        ConfigError: There is no such sweep.
        TrackingError: The sweep's run cannot be reached; the report lies in the folder then.

    """
    sweep_folder = find_sweep(name, storage)
    sweep, run_id = sweep_folder.read()
    on_event("reading the journal")
    summary = summarize(sweep, read_trials(sweep_folder.journal))
    folder = sweep_folder.path / ARTIFACTS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    on_event("drawing the plots")
    axes = parameter_axes(summary.best)
    found = importances(summary.best, axes, lower_is_better=sweep.lower_is_better)
    drawn, notes = _draw(summary, axes, found, folder)
    trial_table(summary).to_csv(folder / TABLE, index=False)
    promoted = sweep_folder.path / PROMOTION_FILE
    promotion = json.loads(promoted.read_text(encoding="utf-8")) if promoted.exists() else None
    (folder / PAGE).write_text(
        report_page(summary, drawn, notes, folder, promotion), encoding="utf-8"
    )
    if output is not None:
        shutil.copytree(folder, output, dirs_exist_ok=True)
    on_event("recording the report")
    RunRecord.existing(run_id).log_artifacts(folder, ARTIFACTS)
    return SweepReport(summary=summary, importances=found, folder=folder, run_id=run_id)


def _draw(
    summary: SweepSummary,
    axes: list[ParameterAxis],
    found: dict[str, float] | None,
    folder: Path,
) -> tuple[list[Plot], list[str]]:
    """Save the plots that there are values for, and say in words which there are not."""
    drawn: list[Plot] = []
    notes: list[str] = []

    def add(figure: Figure, plot: Plot) -> None:
        figure.savefig(folder / plot.file, dpi=130)
        drawn.append(plot)

    if summary.trials:
        add(plots.history_figure(summary), _history(summary))
    if not summary.best:
        return drawn, notes
    if any(trial.epochs for trial in summary.best):
        add(plots.curves_figure(summary), _CURVES)
    if not axes:
        return drawn, ["The trials have no sampled parameters."]
    if found is None:
        notes.append(
            f"Parameter importances are estimated from {FEWEST_TRIALS} completed trials on; there "
            f"are {summary.counts['complete']}."
        )
    else:
        add(plots.importances_figure(found), _importances(summary, found))
        axes = sorted(axes, key=lambda axis: -found.get(axis.name, 0.0))
    add(parallel_figure(summary, axes), _parallel(len(axes)))
    add(plots.slices_figure(summary, axes[: plots.MAX_PANELS]), _SLICES)
    return drawn, notes


def _history(summary: SweepSummary) -> Plot:
    best = summary.best[0] if summary.best else None
    ending = "no trial has one." if best is None else f"the best is that of trial {best.number}."
    return Plot(
        file="history.png",
        heading="Optimization history",
        alt=f"Objective of {len(summary.trials)} trials by their number, and the best so far; "
        f"{ending}",
        caption="A point per trial; the line is the best value up to that trial.",
    )


def _importances(summary: SweepSummary, found: dict[str, float]) -> Plot:
    most = ", ".join(f"{name} {share:.0%}" for name, share in list(found.items())[:3])
    sampled = min(summary.counts["complete"], MOST_TRIALS)
    return Plot(
        file="importances.png",
        heading="Parameter importances",
        alt=f"Bars of importance by parameter; the largest: {most}.",
        caption=f"{EVALUATOR}, on {sampled:,} trials. It says what mattered in the range that was "
        "searched.",
    )


def _parallel(axes: int) -> Plot:
    left_out = f" The {MAX_AXES} first of {axes} parameters." if axes > MAX_AXES else ""
    return Plot(
        file="parallel.png",
        heading="Parallel coordinates",
        alt="A line per trial through its parameters to its objective; the best are coloured.",
        caption="The ten best trials in colour, the darkest first; others grey. Numbers that were "
        "drawn by order of magnitude are on a log scale; a trial without a parameter passes below "
        f"its axis.{left_out}",
    )


_CURVES = Plot(
    file="curves.png",
    heading="Learning curves",
    alt="Objective after each epoch: the best trials over the spread of all.",
    caption="The spread at an epoch is that of the trials that got so far.",
)
_SLICES = Plot(
    file="slices.png",
    heading="Objective by parameter",
    alt="Objective against each parameter, a panel each; the ten best trials are marked.",
    caption="Blue: complete, grey: stopped by the scheduler, orange: the ten best trials.",
)
