"""The report of a sweep: best trials, counts and plots, in its folder and in MLflow."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ni_platform.fitting import OnEvent
from ni_platform.tracking.run_record import RunRecord
from ni_platform.tracking.store import Store
from ni_platform.tuning.files.trial_log import read_study, read_trials
from ni_platform.tuning.results import plots
from ni_platform.tuning.results.finding import find_sweep
from ni_platform.tuning.results.page import Plot, figure_text, report_page
from ni_platform.tuning.results.summary import SweepSummary, summarize, trial_table
from ni_platform.tuning.results.winner_promotion import FILE_NAME as PROMOTION_FILE

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.study import Study

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
    """The sweep's run, which `record_report` gives them to as artifacts `report/`."""

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
    """Write the report of a sweep, running or over, from its log.

    It is kept in the folder `report` of the sweep, and copied to `output` if that is given. An
    earlier report is replaced. `record_report` adds it to the sweep's run.

    Raises:
        ConfigError: There is no such sweep.

    """
    sweep_folder = find_sweep(name, storage)
    sweep, run_id = sweep_folder.read()
    on_event("reading the log")
    study = read_study(sweep_folder.log)
    summary = summarize(sweep, read_trials(sweep_folder.log))
    folder = sweep_folder.path / ARTIFACTS
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    on_event("drawing the plots")
    found = None if study is None else plots.importances(study)
    drawn, notes = ([], []) if study is None else _draw(summary, study, found, folder)
    trial_table(summary).to_csv(folder / TABLE, index=False)
    promoted = sweep_folder.path / PROMOTION_FILE
    promotion = json.loads(promoted.read_text(encoding="utf-8")) if promoted.exists() else None
    (folder / PAGE).write_text(
        report_page(summary, drawn, notes, folder, promotion), encoding="utf-8"
    )
    if output is not None:
        shutil.copytree(folder, output, dirs_exist_ok=True)
    return SweepReport(summary=summary, importances=found, folder=folder, run_id=run_id)


def record_report(store: Store, report: SweepReport) -> None:
    """Add a report to its sweep's run, as the artifacts `report/`, and describe the run by it.

    Raises:
        TrackingError: The run cannot be reached; the report lies in its folder all the same.
    """
    record = RunRecord.existing(store, report.run_id)
    record.log_artifacts(report.folder, ARTIFACTS)
    record.describe(_note(report))


def _note(report: SweepReport) -> str:
    """The run's description in Markdown: how far, the best trial, what matters, what next."""
    summary, shares = report.summary, report.importances or {}
    sweep = summary.sweep
    counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items() if count)
    lines = [
        f"Sweep **{sweep.name}**: **{sweep.space}** of **{sweep.experiment.name}**, "
        f"{len(summary.trials):,} of {sweep.trials:,} trials ({counts})."
    ]
    if summary.best:
        best = summary.best[0]
        better = "lower" if sweep.lower_is_better else "higher"
        lines += [
            f"Best is trial {best.number}: validation {sweep.objective} {best.value:.4g} ({better} "
            "is better), which looks better than it is, being the best of many.",
            "",
            "| parameter | best trial | share of importance |",
            "| --- | --- | --- |",
            *(
                f"| {name} | {figure_text(value)} | {_share(shares.get(name))} |"
                for name, value in best.parameters.items()
            ),
        ]
    lines += [
        "",
        "**Next**",
        "- `report/index.html`: history, importances, parallel coordinates, learning curves",
        f"- `ni sweep promote {sweep.name} --model NAME`: train the winner again, judge it on test",
    ]
    return "\n".join(lines)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _draw(
    summary: SweepSummary, study: Study, shares: dict[str, float] | None, folder: Path
) -> tuple[list[Plot], list[str]]:
    """Save the plots that there are values for, and say in words which there are not."""
    drawn: list[Plot] = []
    complete = [t for t in summary.best if t.status == "complete" and math.isfinite(t.value or 0)]
    if not complete:
        return drawn, ["There are plots as soon as a trial is complete."]
    better = "lower" if summary.sweep.lower_is_better else "higher"
    objective = f"validation {summary.sweep.objective.replace('_', ' ')}, {better} is better"

    def add(figure: Figure, plot: Plot) -> None:
        figure.savefig(folder / plot.file, dpi=130, bbox_inches="tight")
        drawn.append(plot)

    add(plots.history_figure(study, objective), _history(complete[0].number, len(complete)))
    add(plots.curves_figure(study, [t.number for t in complete], objective), _CURVES)
    if not any(trial.parameters for trial in complete):
        return drawn, ["The trials have no sampled parameters."]
    notes = []
    if shares is None:
        notes.append(
            "Parameter importances are estimated from "
            f"{plots.FEWEST_FOR_IMPORTANCES} completed trials on; there are {len(complete)}."
        )
    else:
        add(plots.importances_figure(study), _importances(shares, len(complete)))
    add(plots.parallel_figure(study, shares or {}, objective), _PARALLEL)
    add(plots.slices_figure(study, shares or {}, objective), _SLICES)
    return drawn, notes


_MANY = (
    f"Of more than 20 completed trials without the worst twentieth; at most {plots.MAX_TRIALS:,} "
    f"trials, drawn at random, and the {plots.MAX_PARAMETERS} most important parameters."
)


def _history(best: int, complete: int) -> Plot:
    return Plot(
        file="history.png",
        heading="Optimization history",
        alt=f"Objective of {complete} completed trials by their number, and the best so far; the "
        f"best is that of trial {best}.",
        caption="A point per completed trial; the line is the best value up to that trial. Of more "
        "than 20 trials, the worst twentieth may lie out of sight.",
    )


def _importances(shares: dict[str, float], complete: int) -> Plot:
    most = ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:3])
    sampled = min(complete, plots.MOST_FOR_IMPORTANCES)
    return Plot(
        file="importances.png",
        heading="Parameter importances",
        alt=f"Bars of importance by parameter; the largest: {most}.",
        caption=f"{plots.EVALUATOR}, on {sampled:,} trials. It says what mattered in the range "
        "that was searched.",
    )


_CURVES = Plot(
    file="curves.png",
    heading="Learning curves",
    alt="Objective after each epoch, at the best epoch so far, of the best completed trials.",
    caption=f"The best completed trials, at most {plots.MAX_CURVES}; the objective is that of the "
    "best epoch so far.",
)
_PARALLEL = Plot(
    file="parallel.png",
    heading="Parallel coordinates",
    alt="A line per completed trial through its objective and its parameters; the better, the "
    "darker.",
    caption=f"The better a trial, the darker its line. {_MANY}",
)
_SLICES = Plot(
    file="slices.png",
    heading="Objective by parameter",
    alt="Objective of completed trials against each parameter, a panel each.",
    caption=f"The later a trial, the darker its point. {_MANY}",
)
