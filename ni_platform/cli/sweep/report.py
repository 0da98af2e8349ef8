"""`ni sweep report`: what a sweep found."""

from __future__ import annotations

from typing import Any

import click

from ni_platform.cli.output import console, json_option, print_json, table
from ni_platform.cli.sweep.options import storage_option

BEST_TRIALS = 10


@click.command("report")
@click.argument("name")
@storage_option
@click.option("--output", metavar="DIR", help="Write index.html, trials.csv and plots into DIR.")
@json_option
def command(name: str, storage: str | None, output: str | None, as_json: bool) -> None:
    """Report on sweep NAME, running or over: best trials, failures, plots.

    Written as one HTML page with tables and plots into the sweep's folder and its MLflow run.
    """
    from ni_platform.tracking.store import open_store
    from ni_platform.tuning.results.report import record_report, report_sweep

    report = report_sweep(name, storage=storage, output=output)
    record_report(open_store(), report)
    print_summary(report.summary)
    if report.importances:
        most = list(report.importances.items())[:5]
        text = ", ".join(f"{parameter} {share:.0%}" for parameter, share in most)
        console.print(f"Importances: {text}", highlight=False)
    page = report.folder / "index.html" if output is None else f"{output}/index.html"
    console.print(f"Report: {page}\nRun:    {report.run_id}, artifacts report/", highlight=False)
    if report.summary.best:
        console.print(f"Next:   ni sweep promote {name} --model MODEL", highlight=False)
    if as_json:
        print_json(report.to_json())


def print_summary(summary: Any) -> None:
    """Print counts, the best trials with their parameters, and why trials failed."""
    from ni_platform.tuning.results.page import best_rows, duration, figure_text

    counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items() if count)
    speed = summary.trials_per_hour
    pace = f", {speed:,.0f} trials an hour" if speed == speed else ""
    console.print(
        f"[bold]{summary.sweep.name}[/bold]: {len(summary.trials):,} of "
        f"{summary.sweep.trials:,} trials ({counts or 'none yet'}) in "
        f"{duration(summary.seconds)}{pace}",
        highlight=False,
    )
    if summary.best:
        heads, rows = best_rows(summary.best[:BEST_TRIALS])
        # Parameters stand below one another: a sweep has more of them than a terminal columns.
        first = heads.index("time") + 1
        table(
            f"Best trials by validation {summary.sweep.objective}",
            (*heads[:first], "parameters"),
            [
                (
                    *row[:first],
                    ", ".join(
                        f"{name} {figure_text(value)}"
                        for name, value in zip(heads[first:], row[first:])
                        if value is not None
                    ),
                )
                for row in rows
            ],
        )
    if summary.failures:
        table(
            "Failed trials",
            ("trials", "reason (of the first)"),
            [(str(group.trials), group.reason) for group in summary.failures],
        )
